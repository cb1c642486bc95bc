"""Learning-rate schedules: the rate of each update, from array hyper-parameters.

To add one, write a function and add a line to `SCHEDULES`; a number of its own is a
field of `Hyperparameters`, of configs/default.py and of the checks in config.py.
"""

from collections.abc import Callable
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Int32

from fmnist_jax.errors import unknown_name
from fmnist_jax.training.hyperparameters import Hyperparameters, Number

# The defaults of torch.optim.lr_scheduler.OneCycleLR: the share of the run in which
# the rate rises, and what the peak is divided by at the start and again at the end.
_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 25.0
_ONE_CYCLE_END = 1e4


def _constant(step: Number, h: Hyperparameters) -> Number:
    del h
    return jnp.ones_like(step)


def _cosine(step: Number, h: Hyperparameters) -> Number:
    # Loshchilov & Hutter (2017), https://arxiv.org/abs/1608.03983, without restarts.
    progress = step / (h.total_steps - h.warmup_steps)
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))


def _linear(step: Number, h: Hyperparameters) -> Number:
    return 1 - step / (h.total_steps - h.warmup_steps)


def _one_cycle(step: Number, h: Hyperparameters) -> Number:
    # Smith & Topin (2018), https://arxiv.org/abs/1708.07120, by halves of a cosine, as
    # optax.cosine_onecycle_schedule.
    progress = step / h.total_steps
    start = 1 / _ONE_CYCLE_START
    end = start / _ONE_CYCLE_END
    rise = _half_cosine(start, 1.0, progress / _ONE_CYCLE_RISE)
    fall = _half_cosine(1.0, end, (progress - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE))
    return jnp.where(progress < _ONE_CYCLE_RISE, rise, fall)


def _half_cosine(start: float, end: float, progress: Number) -> Number:
    return start + (end - start) * 0.5 * (1 - jnp.cos(jnp.pi * progress))


def _exponential(step: Number, h: Hyperparameters) -> Number:
    return h.decay_rate ** (step / h.decay_steps)


# Each gives the fraction of the peak learning rate, from the number of updates that
# were completed since the warm-up.
SCHEDULES: MappingProxyType[str, Callable] = MappingProxyType(
    {
        'constant': _constant,
        'cosine': _cosine,
        'linear': _linear,
        'one_cycle': _one_cycle,
        'exponential': _exponential,
    }
)
# Schedules that do not depend on the length of the run, so that it can be extended.
OPEN_ENDED = frozenset({'constant', 'exponential'})
# Schedules that begin with a rise of their own.
WITH_WARMUP = frozenset({'one_cycle'})


def learning_rate(schedule: str, step: Int32[Array, ''], h: Hyperparameters) -> Number:
    """The learning rate of the update after `step` completed updates.

    Warm-up is linear (Goyal et al., 2017, https://arxiv.org/abs/1706.02677): update k
    of its n has k / (n + 1) of the peak, which the first after it has.

    Raises:
      UserError: there is no schedule of this name.
    """
    if schedule not in SCHEDULES:
        raise unknown_name('optimizer.schedule', schedule, SCHEDULES)
    step = step.astype(h.total_steps.dtype)
    warmup = jnp.minimum((step + 1) / (h.warmup_steps + 1), 1)
    after_warmup = jnp.maximum(step - h.warmup_steps, 0)
    return h.learning_rate * warmup * SCHEDULES[schedule](after_warmup, h)
