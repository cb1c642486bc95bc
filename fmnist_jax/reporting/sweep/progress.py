"""Progress over a whole sweep, whose runs may be trained by several threads."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tqdm import tqdm

from fmnist_jax.reporting.console import EpochReport, log
from fmnist_jax.reporting.units import duration


class SweepProgress:
    """Counts the images trained on: a bar on a terminal, a line now and then elsewhere.

    To be called from any thread.
    """

    def __init__(self, num_images: Mapping[str, int], every_seconds: float):
        """Begins.

        Args:
          num_images: by the names of the runs that are to be trained, examples of all
            their epochs together.
          every_seconds: between two lines where there is no terminal.
        """
        self._num_images = num_images
        self._total = sum(num_images.values())
        self._done = dict.fromkeys(num_images, 0.0)
        self._every_seconds = every_seconds
        self._ended = 0
        self._started = self._last_line = time.monotonic()
        self._lock = threading.Lock()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self._total, unit='image', unit_scale=True, leave=False
            )

    def of(self, names: Sequence[str]) -> Callable[..., 'EpochShare']:
        """Makes, for each epoch of runs trained together, what is told how it goes.

        It takes what `console.ProgressReport` does.
        """

        def make(
            epoch: int, num_epochs: int, steps: int, done: int, every_seconds: float
        ) -> EpochShare:
            del epoch, num_epochs, steps, every_seconds  # Of the runs one by one.
            return EpochShare(self, names, done)

        return make

    def add(self, names: Sequence[str], num_images: int) -> None:
        """Runs were trained on so many more images, all together."""
        with self._lock:
            for name in names:
                # Of one that has diverged no more is counted.
                done = self._done[name] + num_images / len(names)
                self._done[name] = min(done, self._num_images[name])
            self._show()

    def end_run(self, name: str, text: str) -> None:
        """A run has ended, maybe early; the text says how."""
        with self._lock:
            self._done[name] = self._num_images[name]
            self._ended += 1
            log(f'{self._ended}/{len(self._done)} {name} {text}')

    def _show(self) -> None:
        now, done = time.monotonic(), sum(self._done.values())
        if self._bar is not None:
            self._bar.set_description(
                f'{self._ended}/{len(self._done)} runs', refresh=False
            )
            self._bar.update(done - self._bar.n)
        elif now - self._last_line >= self._every_seconds:
            left = (now - self._started) * (self._total - done) / max(done, 1)
            log(
                f'{100 * done / self._total:.0f} % of the sweep, {self._ended} of '
                f'{len(self._done)} runs done, about {duration(left)} left'
            )
            self._last_line = now

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()


class EpochShare(EpochReport):
    """An epoch's part in the progress of a sweep; as `console.ProgressReport`."""

    def __init__(self, progress: SweepProgress, names: Sequence[str], done: int):
        """Begins at so many of the epoch's steps."""
        self._progress = progress
        self._names = names
        self._done = done

    def update(self, done: int, loss: float, accuracy: float, batch_size: int) -> None:
        """After `done` of the epoch's steps, of `batch_size` images each."""
        del loss, accuracy
        self._progress.add(self._names, (done - self._done) * batch_size)
        self._done = done

    def close(self) -> None:
        """Nothing is left to take away."""
