"""Traces of a few training steps, for TensorBoard and Perfetto."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.training.state import TrainState

# The first calls are slower than those that follow.
_CALLS_BEFORE = 2
# At least so many steps, to see what repeats; traces grow by megabytes a second.
_STEPS = 10


class Profiler:
    """Traces a few calls early in a run, of ten steps or more; leaves it in `folder`.

    `plugins/profile/TIME/` is what TensorBoard's profile plugin reads, and the
    `perfetto_trace.json.gz` in it what https://ui.perfetto.dev opens.
    """

    def __init__(self, folder: epath.Path | None, log: Callable[[str], None]):
        """Traces into `folder`; None for not at all."""
        self._folder = folder
        self._log = log
        self._calls = 0
        self._steps = 0
        self._local: tempfile.TemporaryDirectory | None = None

    def before_call(self, num_steps: int, state: TrainState) -> float:
        """To be told of each call: its number of updates, the state it goes on from.

        Returns:
          The seconds this took, which are not training.
        """
        if self._folder is None:
            return 0.0
        self._calls += 1
        if self._calls <= _CALLS_BEFORE:
            return 0.0
        jax.block_until_ready(state)
        started = time.perf_counter()
        if self._steps >= _STEPS:
            self.close()
        elif self._local is None:
            # Written on the local disk first: work folders may be in a bucket.
            self._local = tempfile.TemporaryDirectory()
            jax.profiler.start_trace(self._local.name, create_perfetto_trace=True)
        self._steps += num_steps
        return time.perf_counter() - started

    def close(self) -> None:
        """Ends the trace and writes it, if there is one; the devices have finished."""
        if self._folder is None:
            return
        if self._local is None:
            self._log(f'no profile: there were no more than {_CALLS_BEFORE} calls')
        else:
            jax.profiler.stop_trace()
            self._write(Path(self._local.name), self._folder)
            self._local.cleanup()
        self._folder = None

    def _write(self, local: Path, folder: epath.Path) -> None:
        for path in local.rglob('*'):
            if path.is_file():
                target = folder / path.relative_to(local).as_posix()
                workdir_lib.write_bytes(target, path.read_bytes())
        self._log(
            f'profile of {self._steps} steps: {folder} (tensorboard --logdir={folder}, '
            'or open its perfetto_trace.json.gz in https://ui.perfetto.dev)'
        )
