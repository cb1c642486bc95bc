"""What is compiled and placed once, for runs that differ only in numbers."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.state import EpochSums, TrainState

# Seconds that calls are timed for, after one that is not.
_TRIAL_SECONDS = 1.0


class Program:
    """The compiled calls of an experiment, and its splits on the devices.

    For one run at a time, or for several that are mapped over: then their states,
    hyper-parameters, orders and progress are one tree, with a first dimension over
    the runs.

    Attributes:
      train: the training split.
      validation: the validation split.
      predict: see `inference.make_predict`.
      compile_seconds: what compiling has taken.
    """

    def __init__(self, experiment: Experiment, num_mapped: int | None = None):
        """Places the splits.

        Args:
          experiment: of any of the runs.
          num_mapped: how many runs are mapped over; None for one at a time.
        """
        data, dataset = experiment.config.data, experiment.dataset
        self._experiment = experiment
        self._is_mapped = num_mapped is not None
        self._calls: dict[int, Callable] = {}
        self.train = experiment.place(*dataset.split(data.train_split))
        self._inputs = experiment.inputs(self.train)
        self.validation = experiment.place(*dataset.split(data.validation_split))
        self.predict = experiment.make_predict()
        self.compile_seconds = 0.0

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """The runs' trees of arrays as the call takes them, on the devices."""
        return self._experiment.group.replicate(self._stacked(trees))

    def _stacked(self, trees: Sequence[PyTree]) -> PyTree:
        if not self._is_mapped:
            return trees[0]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))

    def unstack(self, tree: PyTree) -> list[PyTree]:
        """Each run's tree, on the devices."""
        if not self._is_mapped:
            return [tree]
        host = jax.device_get(tree)
        count = len(jax.tree.leaves(host)[0])
        runs = [jax.tree.map(lambda x, i=i: x[i], host) for i in range(count)]
        return [self._experiment.group.replicate(run) for run in runs]

    def begin_epoch(self, state: TrainState, num_runs: int) -> TrainState:
        """The state with sums of nothing yet."""
        zeros = EpochSums.zeros(self._experiment.functions.precision.param)
        return state.replace(sums=self.stack([zeros] * num_runs))

    def inputs(self, experiments: Sequence[Experiment], epoch: int) -> tuple:
        """What the calls of an epoch take besides the state.

        Args:
          experiments: of the runs.
          epoch: from 0.
        """
        group = self._experiment.group
        first_step = epoch * self._experiment.steps_per_epoch
        orders = [experiment.epoch_order(epoch) for experiment in experiments]
        return (
            self.stack([experiment.hyperparameters for experiment in experiments]),
            self._inputs,
            group.replicate(np.int32(first_step)),
            group.shard(self._stacked_orders(orders)),
        )

    def _stacked_orders(self, orders: Sequence[Array]) -> Any:
        if not self._is_mapped:
            return orders[0]
        return np.stack(jax.device_get(orders), axis=1)

    def call(
        self, num_steps: int, state: TrainState, inputs: tuple
    ) -> tuple[Callable, float]:
        """The call of so many steps, and the seconds it took to compile, if now."""
        if num_steps in self._calls:
            return self._calls[num_steps], 0.0
        started = time.perf_counter()
        call = self._experiment.train_call(num_steps, is_mapped=self._is_mapped)
        self._calls[num_steps] = call.lower(state, *inputs).compile()
        seconds = time.perf_counter() - started
        self.compile_seconds += seconds
        return self._calls[num_steps], seconds


def time_calls(
    program: Program,
    experiments: Sequence[Experiment],
    ready: threading.Barrier | None = None,
) -> float:
    """Seconds an update of the program takes, of all the runs that it is mapped over.

    Args:
      program: is compiled if it is not.
      experiments: of the runs, which are begun, and dropped.
      ready: waited for between compiling and timing; broken if that fails.
    """
    try:
        call, state, inputs, num_steps = _warm_up(program, experiments)
    except BaseException:
        # Those that wait would wait for ever.
        if ready:
            ready.abort()
        raise
    if ready:
        ready.wait()
    started, steps = time.perf_counter(), 0
    # Beyond the epoch's end, the last batch again.
    while steps == 0 or time.perf_counter() - started < _TRIAL_SECONDS:
        state, _ = jax.block_until_ready(call(state, *inputs))
        steps += num_steps
    return (time.perf_counter() - started) / steps


def _warm_up(
    program: Program, experiments: Sequence[Experiment]
) -> tuple[Callable, TrainState, tuple, int]:
    """A call that has been made once, what it takes, and its number of updates."""
    num_steps = experiments[0].steps_per_call
    state = program.stack([experiment.create_state() for experiment in experiments])
    inputs = program.inputs(experiments, epoch=0)
    state = program.begin_epoch(state, len(experiments))
    call, _ = program.call(num_steps, state, inputs)
    state, _ = jax.block_until_ready(call(state, *inputs))
    return call, state, inputs, num_steps
