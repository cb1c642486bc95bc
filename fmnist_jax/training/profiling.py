"""Traces of a few training steps, for TensorBoard and Perfetto."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.training.state import TrainState

# The first calls are slower than those that follow.
_CALLS_BEFORE = 2
# Enough steps to see what repeats; a trace of a second is already tens of megabytes.
_STEPS = 10


class Profiler:
    """Traces about ten steps early in a run; what it leaves is in `folder`.

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

    def before_call(self, num_steps: int, state: TrainState) -> None:
        """To be told of each call: its number of updates, the state it goes on from."""
        if self._folder is None:
            return
        self._calls += 1
        if self._local is not None:
            if self._steps >= _STEPS:
                self.close(state)
            else:
                self._steps += num_steps
        elif self._calls > _CALLS_BEFORE:
            jax.block_until_ready(state)
            # Written on the local disk first: work folders may be in a bucket.
            self._local = tempfile.TemporaryDirectory()
            self._steps = num_steps
            jax.profiler.start_trace(self._local.name, create_perfetto_trace=True)

    def close(self, state: TrainState) -> None:
        """Ends the trace if one is under way, and writes it."""
        if self._local is None or self._folder is None:
            return
        jax.block_until_ready(state)
        jax.profiler.stop_trace()
        root = Path(self._local.name)
        for path in root.rglob('*'):
            if path.is_file():
                target = self._folder / path.relative_to(root).as_posix()
                workdir_lib.write_bytes(target, path.read_bytes())
        self._local.cleanup()
        self._local = None
        self._log(
            f'profile of {self._steps} steps: {self._folder} (tensorboard --logdir='
            f'{self._folder}, or open its perfetto_trace.json.gz in ui.perfetto.dev)'
        )
        self._folder = None
