"""Checks of a config by what the modules that train know: names, durations, rates."""

import jax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.models import create_model
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.optimizers import DECAYED, OPTIMIZERS
from fmnist_jax.training.schedules import SCHEDULES, WITH_WARMUP


def check_names(config: ConfigDict) -> None:
    """Checks what needs no data, so that mistakes are told at once.

    Raises:
      UserError: an optimizer, a schedule or a model does not exist, or does not fit.
    """
    for field, name, valid in (
        ('optimizer.name', config.optimizer.name, OPTIMIZERS),
        ('optimizer.schedule', config.optimizer.schedule, SCHEDULES),
        ('optimizer.weight_decay_on', config.optimizer.weight_decay_on, DECAYED),
    ):
        if name not in valid:
            raise unknown_name(field, name, valid)
    if config.optimizer.schedule in WITH_WARMUP and config_lib.to_steps(
        config.optimizer.warmup, steps_per_epoch=1, batch_size=1
    ):
        raise UserError(
            f'optimizer.warmup must be 0 steps with optimizer.schedule '
            f'{config.optimizer.schedule!r}, which has a rise of its own'
        )
    if config.batch_size % config.gradient_accumulation:
        raise UserError(
            f'gradient_accumulation {config.gradient_accumulation} must divide '
            f'batch_size {config.batch_size} evenly'
        )
    if 'num_classes' in config.model or 'axis_name' in config.model:
        raise UserError(
            'config.model must not set num_classes or axis_name: they follow from the '
            'data and the devices'
        )
    # Whether the model exists is known before the data say how many classes it has.
    create_model(num_classes=2, **config.model)


def check_durations(config: ConfigDict, h: Hyperparameters) -> None:
    """Checks durations against the length of the run.

    Raises:
      UserError: the warm-up is as long as the run, or a decay shorter than a step.
    """
    if h.warmup_steps >= h.total_steps:
        raise UserError(
            f'optimizer.warmup {config.optimizer.warmup!r} is {h.warmup_steps:.0f} '
            f'steps, and the whole run has {h.total_steps:.0f}; shorten it, or raise '
            'num_epochs'
        )
    if h.decay_steps < 1:
        raise UserError(
            f'optimizer.decay_every {config.optimizer.decay_every!r} is less than a '
            'step'
        )


def check_dropout_rate(name: str, dropout_rate: PyTree) -> None:
    """Checks a model's rates.

    Args:
      name: the model's.
      dropout_rate: a tree of numbers.

    Raises:
      UserError: one is no number of at least 0 and below 1.
    """
    for rate in jax.tree.leaves(dropout_rate):
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise UserError(
                f'dropout_rate of model {name!r} must be numbers of at least 0 and '
                f'below 1, not {rate!r}'
            )
