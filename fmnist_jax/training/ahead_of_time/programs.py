"""The programs that a run would call, compiled for the cores of a slice.

They are made by the same code as those that train and evaluate; only their arguments
are shapes, since the devices of a topology hold no arrays.
"""

import dataclasses
import re
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.inference import make_predict
from fmnist_jax.training.parallel import DeviceGroup

_OUT_OF_MEMORY = re.compile(
    r'\((?P<needs>[\d.]+[KMGT]?)\) exceeds available HBM \((?P<has>[\d.]+[KMGT]?)\)'
    r'|Used (?P<needs2>[\d.]+[KMGT]?) of (?P<has2>[\d.]+[KMGT]?) hbm'
)
_UNITS = MappingProxyType({'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40})
# What sets the examples of a call.
_BATCH_FLAGS = MappingProxyType({'evaluation': '--config.eval_batch_size'})


class DoesNotFitError(UserError):
    """A program needs more memory than a core has.

    Attributes:
      needs: bytes, as the compiler says; None if it does not.
      has: likewise.
    """

    exit_code = 5

    def __init__(self, what: str, needs: int | None, has: int | None):
        self.needs, self.has = needs, has
        batch = _BATCH_FLAGS.get(what, '--batch_per_core')
        sizes = ''
        if needs and has:
            sizes = f': needs {needs / 2**30:.2f} GiB of {has / 2**30:.2f} GiB per core'
        super().__init__(
            f'{what} does not fit{sizes}; give a smaller {batch}, or a smaller model'
        )


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled program.

    Attributes:
      program: what the compiler made.
      num_steps: of a call.
      examples: of a step or call, on a core.
      seconds: that compiling took.
    """

    program: jax.stages.Compiled
    num_steps: int
    examples: int
    seconds: float


def with_devices(experiment: Experiment, devices: list[jax.Device]) -> Experiment:
    """The experiment as it would be on these accelerators, to be compiled only.

    Args:
      experiment: on the CPU, whose batches divide evenly over the devices.
      devices: of a topology.
    """
    config = experiment.config
    batch = config.batch_size // config.gradient_accumulation // len(devices)
    functions = dataclasses.replace(experiment.functions, chunk=batch, in_loop=True)
    return dataclasses.replace(
        experiment, group=DeviceGroup(devices), functions=functions
    )


def compile_training(experiment: Experiment) -> Compiled:
    """The call that trains, of as many steps as it has on an accelerator.

    Raises:
      DoesNotFitError: memory is too small.
    """
    group, config = experiment.group, experiment.config
    parts = config.gradient_accumulation
    batch = config.batch_size // parts // len(group)
    order = (len(group), experiment.steps_per_epoch * parts, batch)
    num_steps = experiment.steps_per_call
    arguments = (
        experiment.abstract_state(),
        group.abstract(experiment.hyperparameters),
        experiment.abstract_inputs(_split(experiment, 'train')),
        group.abstract(np.int32(0)),
        jax.ShapeDtypeStruct(order, np.int32),
    )
    call = experiment.train_call(num_steps)
    return _compile('training', call, arguments, num_steps, batch * parts)


def compile_evaluation(experiment: Experiment) -> Compiled:
    """The call that scores a batch of the validation split.

    Raises:
      DoesNotFitError: memory is too small.
    """
    group = _RememberingGroup(experiment.group.devices)
    size = experiment.config.eval_batch_size
    make_predict(experiment.functions, group, size)
    batch = -(-size // len(group))
    state = experiment.abstract_state()
    arguments = (
        state.params,
        state.batch_stats,
        group.abstract(_split(experiment, 'validation')),
        jax.ShapeDtypeStruct((len(group), 1, batch), np.int32),
    )
    return _compile('evaluation', group.mapped, arguments, 1, batch)


class _RememberingGroup(DeviceGroup):
    """Remembers what was mapped last."""

    def map(self, function: Callable, **kwargs: Any) -> Callable:
        self.mapped = super().map(function, **kwargs)
        return self.mapped


def _split(experiment: Experiment, name: str) -> Examples:
    images, labels = experiment.dataset.split(experiment.config.data[f'{name}_split'])
    return Examples(images, labels.astype(np.int32))


def _compile(
    what: str, call: Callable, arguments: tuple, num_steps: int, examples: int
) -> Compiled:
    started = time.perf_counter()
    lowered = call.lower(*arguments)
    try:
        program = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise out_of_memory(what, str(error)) from error
    return Compiled(program, num_steps, examples, time.perf_counter() - started)


def out_of_memory(what: str, message: str) -> DoesNotFitError:
    """The error for what the compiler says where memory is too small.

    Args:
      what: was compiled.
      message: the compiler's.
    """
    match = _OUT_OF_MEMORY.search(message)
    needs = match and _bytes(match['needs'] or match['needs2'])
    has = match and _bytes(match['has'] or match['has2'])
    return DoesNotFitError(what, needs, has)


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r'([\d.]+)([KMGT]?)', text).groups()
    return round(float(number) * _UNITS[unit])
