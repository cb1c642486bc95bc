"""Variants of one experiment that differ in augmentation, trained turn by turn."""

import collections
import dataclasses
import math
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import machine
from configs import tinyvgg
from fmnist_jax.data.augmentation import OPERATIONS, make_augmentation
from fmnist_jax.errors import unknown_name
from fmnist_jax.reporting.console import log, table
from fmnist_jax.training import provenance
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.state import EpochSums

# What others are compared with.
NONE = 'none'
# As the training loop does, so many calls are handed over before a result is awaited.
_CALLS_AHEAD = 2


class Training:
    """An experiment in training, on data that it shares with others."""

    def __init__(self, experiment: Experiment, examples: Any, order: Any):
        """Compiles.

        Args:
          experiment: what is trained.
          examples: the training split, placed.
          order: of an epoch, placed.
        """
        self._experiment = experiment
        self._shared, self._order = experiment.inputs(examples), order
        self._state = experiment.create_state()
        call = experiment.train_call(experiment.steps_per_call)
        self._call = call.lower(self._state, *self._inputs()).compile()
        self._calls = 1

    def calibrate(self, seconds: float) -> None:
        """Chooses how many calls a turn has, to last about so long."""
        images = self.turn()
        experiment = self._experiment
        steps = seconds * images / experiment.config.batch_size
        most = experiment.steps_per_epoch // experiment.steps_per_call
        self._calls = min(most, math.ceil(steps / experiment.steps_per_call))

    def turn(self) -> float:
        """Trains from the beginning of an epoch; images a second."""
        zeros = EpochSums.zeros(self._experiment.functions.precision.param)
        sums = self._experiment.group.replicate(zeros)
        state, inputs = self._state.replace(sums=sums), self._inputs()
        pending: collections.deque = collections.deque()
        jax.block_until_ready((state, inputs))
        started = time.perf_counter()
        for _ in range(self._calls):
            state, progress = self._call(state, *inputs)
            pending.append(progress)
            if len(pending) > _CALLS_AHEAD:
                jax.device_get(pending.popleft())
        jax.block_until_ready(state)
        seconds = time.perf_counter() - started
        self._state = state
        steps = self._calls * self._experiment.steps_per_call
        return steps * self._experiment.config.batch_size / seconds

    def _inputs(self) -> tuple:
        """What a call takes after the state, at the beginning of an epoch."""
        experiment = self._experiment
        first = experiment.group.replicate(np.int32(self._state.step))
        return experiment.hyperparameters, self._shared, first, self._order


def check_operations(names: Sequence[str] | None) -> list[str]:
    """The names of operations, of all of them for None.

    Raises:
      UserError: there is none of that name.
    """
    for name in names or ():
        if name not in OPERATIONS:
            raise unknown_name('augmentation', name, OPERATIONS)
    return list(OPERATIONS if names is None else dict.fromkeys(names))


def measure(
    batch_sizes: Sequence[int], operations: Sequence[str], rounds: int, seconds: float
) -> dict[str, Any]:
    """Measures, tells how it goes, and prints a table.

    Args:
      batch_sizes: one after another.
      operations: each trained with by itself.
      rounds: turns of each variant.
      seconds: of a turn, about.

    Returns:
      All of it, as plain data.
    """
    workloads = []
    for batch_size in batch_sizes:
        measured = _measure_one(batch_size, operations, rounds, seconds)
        summary = summarize(measured)
        workloads.append(
            {'batch_size': batch_size, 'rounds': measured, 'summary': summary}
        )
        rows = [
            (name, f'{x["images_per_second"]:,.0f}', f'{x["ratio"]:.2f}')
            for name, x in summary.items()
        ]
        header = (f'batch of {batch_size}', 'images/s', 'ratio')
        log(f'\n{table(rows, header)}\n')
    return {
        'git_commit': provenance.git_commit(),
        'machine': {'cpu': provenance.cpu_model(), 'platform': platform.platform()},
        'versions': {'jax': jax.__version__, 'python': platform.python_version()},
        'settings': {
            'rounds': rounds,
            'seconds': seconds,
            'threads': machine.THREADS,
            'model': 'tinyvgg',
        },
        'workloads': workloads,
    }


def summarize(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each variant's median images a second, and median ratio to none in a round."""
    return {
        name: {
            'images_per_second': statistics.median(r[name] for r in rounds),
            'ratio': statistics.median(r[name] / r[NONE] for r in rounds),
        }
        for name in rounds[0]
    }


def _measure_one(
    batch_size: int, operations: Sequence[str], rounds: int, seconds: float
) -> list[dict[str, float]]:
    """Images a second of each variant, a dictionary a round."""
    config = tinyvgg.get_config()
    config.batch_size = batch_size
    configure_jax(config)
    experiment = build_experiment(config, log=log)
    split = experiment.dataset.split(config.data.train_split)
    shared = experiment.place(*split), experiment.epoch_order(0)
    trainings = {}
    for name in (NONE, *operations):
        trainings[name] = Training(_with(experiment, name), *shared)
        trainings[name].calibrate(seconds)
        log(f'batch of {batch_size}: {name} is ready')
    names, measured = list(trainings), []
    for number in range(rounds):
        first = number % len(names)
        turns = {name: trainings[name].turn() for name in names[first:] + names[:first]}
        measured.append({name: turns[name] for name in names})
    return measured


def _with(experiment: Experiment, name: str) -> Experiment:
    """The experiment with an operation, or none."""
    entries = () if name == NONE else ({'name': name},)
    augment = make_augmentation(entries, experiment.dataset.num_classes)
    functions = dataclasses.replace(experiment.functions, augment=augment)
    return dataclasses.replace(experiment, functions=functions)
