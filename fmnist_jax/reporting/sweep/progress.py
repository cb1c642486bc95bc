"""Progress over a whole sweep, whose runs may be trained by several threads."""

import sys
import threading
import time

from tqdm import tqdm

from fmnist_jax.reporting.console import EpochReport, log
from fmnist_jax.reporting.units import duration


class SweepProgress:
    """Counts the images trained on: a bar on a terminal, a line now and then elsewhere.

    To be called from any thread.
    """

    def __init__(self, num_images: int, num_runs: int, every_seconds: float):
        """Begins.

        Args:
          num_images: to train on, those of all runs and epochs together.
          num_runs: that are to be trained.
          every_seconds: between two lines where there is no terminal.
        """
        self._num_images = num_images
        self._num_runs = num_runs
        self._every_seconds = every_seconds
        self._done = 0
        self._ended = 0
        self._started = self._last_line = time.monotonic()
        self._lock = threading.Lock()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=num_images, unit='image', unit_scale=True, leave=False
            )

    def of_epoch(
        self, epoch: int, num_epochs: int, steps: int, done: int, every_seconds: float
    ) -> 'EpochShare':
        """What is told how an epoch goes; takes what `console.ProgressReport` does."""
        del epoch, num_epochs, steps, every_seconds  # Of the runs one by one.
        return EpochShare(self, done)

    def add(self, num_images: int) -> None:
        """So many more images were trained on, or will not be."""
        with self._lock:
            self._done += num_images
            self._show()

    def end_run(self, text: str) -> None:
        """A run has ended; the text says how."""
        with self._lock:
            self._ended += 1
            log(f'{self._ended}/{self._num_runs} {text}')

    def _show(self) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_description(
                f'{self._ended}/{self._num_runs} runs', refresh=False
            )
            self._bar.update(self._done - self._bar.n)
        elif now - self._last_line >= self._every_seconds:
            elapsed = now - self._started
            left = elapsed * (self._num_images - self._done) / max(self._done, 1)
            log(
                f'{100 * self._done / self._num_images:.0f} % of the sweep, '
                f'{self._ended} of {self._num_runs} runs done, about '
                f'{duration(left)} left'
            )
            self._last_line = now

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()


class EpochShare(EpochReport):
    """An epoch's part in the progress of a sweep; as `console.ProgressReport`."""

    def __init__(self, progress: SweepProgress, done: int):
        """Begins at so many of the epoch's steps."""
        self._progress = progress
        self._done = done

    def update(self, done: int, loss: float, accuracy: float, batch_size: int) -> None:
        """After `done` of the epoch's steps, of `batch_size` images each."""
        del loss, accuracy
        self._progress.add((done - self._done) * batch_size)
        self._done = done

    def close(self) -> None:
        """Nothing is left to take away."""
