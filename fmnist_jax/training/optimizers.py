"""Optimizers and learning-rate schedules whose numbers are array inputs.

Hyper-parameters are arrays, not constants, so that runs that differ only in numbers
share one compiled step. To add an optimizer or a schedule, write a function and add a
line to `OPTIMIZERS` or `SCHEDULES`.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, DTypeLike, Float, Int32

from fmnist_jax.errors import unknown_name

Number = Float[Array | np.ndarray, '']


@flax.struct.dataclass
class Hyperparameters:
    """The numbers of a training run, all arrays without dimensions.

    All floats but the seed (uint32), in the dtype of the parameters. A tree: its leaves
    may be whatever a tree is mapped to.

    Attributes:
      seed: of everything random.
      learning_rate: the schedule's peak.
      momentum: of sgd; 0 for none.
      b1: adam's decay of the mean of gradients.
      b2: adam's decay of the mean of squared gradients.
      eps: adam's addition to the denominator.
      total_steps: updates in the whole run, which schedules count on.
    """

    seed: Any
    learning_rate: Any
    momentum: Any
    b1: Any
    b2: Any
    eps: Any
    total_steps: Any

    @classmethod
    def create(
        cls, config: Any, seed: int, total_steps: int, dtype: DTypeLike
    ) -> 'Hyperparameters':
        """From `config.optimizer`, with numbers of this floating-point type."""

        def number(value: float | int) -> np.ndarray:
            return np.asarray(value, dtype)

        return cls(
            seed=np.asarray(seed, np.uint32),
            learning_rate=number(config.learning_rate),
            momentum=number(config.momentum),
            b1=number(config.b1),
            b2=number(config.b2),
            eps=number(config.eps),
            total_steps=number(total_steps),
        )


def _sgd(learning_rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=h.momentum)


def _adam(learning_rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    return optax.adam(learning_rate, b1=h.b1, b2=h.b2, eps=h.eps)


OPTIMIZERS = MappingProxyType({'sgd': _sgd, 'adam': _adam})


def _constant(progress: Number) -> Number:
    return jnp.ones_like(progress)


def _cosine(progress: Number) -> Number:
    # Loshchilov & Hutter (2017), https://arxiv.org/abs/1608.03983, without restarts.
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))


# Each gives the fraction of the peak learning rate at a fraction of the run in [0, 1).
SCHEDULES: MappingProxyType[str, Callable] = MappingProxyType(
    {'constant': _constant, 'cosine': _cosine}
)
# Schedules that do not depend on the length of the run, so that it can be extended.
OPEN_ENDED = frozenset({'constant'})


def learning_rate(schedule: str, step: Int32[Array, ''], h: Hyperparameters) -> Number:
    """The learning rate of the update after `step` completed updates."""
    if schedule not in SCHEDULES:
        raise unknown_name('optimizer.schedule', schedule, SCHEDULES)
    progress = step.astype(h.total_steps.dtype) / h.total_steps
    return h.learning_rate * SCHEDULES[schedule](progress)


def make_optimizer(
    name: str, learning_rate: Number, h: Hyperparameters
) -> optax.GradientTransformation:
    """An optimizer for one step; its state's structure depends on `name` alone.

    Raises:
      UserError: there is no optimizer of this name.
    """
    if name not in OPTIMIZERS:
        raise unknown_name('optimizer.name', name, OPTIMIZERS)
    return OPTIMIZERS[name](learning_rate, h)
