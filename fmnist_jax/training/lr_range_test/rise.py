"""How the learning rate rises over a range test."""

import dataclasses
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError

# Far beyond what anyone trains with, and within float32, as their ratio is.
_LEAST_RATE = 1e-12
_LARGEST_RATE = 1e6
_LEAST_POINTS = MappingProxyType({'step': 10, 'epoch': 3})
_MOST_POINTS = 1_000_000
# First rate, last rate and duration, by how long a rate stays the same.
_DEFAULTS = MappingProxyType(
    {'step': (1e-5, 10.0, '1 epoch'), 'epoch': (1e-4, 1.0, '50 epochs')}
)


@dataclasses.dataclass(frozen=True)
class Rise:
    """An exponential rise of the learning rate.

    Attributes:
      per: `step` or `epoch`, for which a rate stays the same.
      min: the first rate.
      max: the last rate.
      duration: of the whole test, in steps, epochs or examples.
    """

    per: str
    min: float
    max: float
    duration: str

    @classmethod
    def create(
        cls,
        per: str = 'step',
        lowest: float | None = None,
        highest: float | None = None,
        duration: str | None = None,
    ) -> 'Rise':
        """A rise with defaults for what is None.

        Raises:
          UserError: the rates are out of range, or do not rise.
        """
        defaults = _DEFAULTS[per]
        rates = {
            'min': defaults[0] if lowest is None else lowest,
            'max': defaults[1] if highest is None else highest,
        }
        for name, rate in rates.items():
            if not _LEAST_RATE <= rate <= _LARGEST_RATE:
                raise UserError(
                    f'--{name} must be from {_LEAST_RATE:g} to {_LARGEST_RATE:g}, not '
                    f'{rate:g}'
                )
        rise = cls(per, **rates, duration=defaults[2] if duration is None else duration)
        if rise.min >= rise.max:
            raise UserError(f'--min {rise.min:g} must be below --max {rise.max:g}')
        return rise

    def check_duration(self, config: ConfigDict) -> None:
        """Checks what is written as the duration.

        Args:
          config: valid.

        Raises:
          UserError: it is no duration.
        """
        trial = config.copy_and_resolve_references()
        trial.optimizer.decay_every = self.duration
        try:
            config_lib.validate(trial)
        except UserError as error:
            message = str(error).replace('optimizer.decay_every', '--duration')
            raise UserError(message) from error

    def num_points(self, steps_per_epoch: int, batch_size: int) -> int:
        """How many rates there are.

        Raises:
          UserError: they are too few, or the last would be for a part of an epoch.
        """
        steps = config_lib.to_steps(self.duration, steps_per_epoch, batch_size)
        points = steps if self.per == 'step' else steps / steps_per_epoch
        least, kind = _LEAST_POINTS[self.per], f'{self.per}s'
        is_whole = self.per == 'step' or points % 1 == 0
        if not (least <= points <= _MOST_POINTS and is_whole):
            raise UserError(
                f'--duration {self.duration!r} is {points:g} {kind}; with --per='
                f'{self.per} a test takes from {least} to {_MOST_POINTS:,} '
                f'{"whole " if self.per == "epoch" else ""}{kind}'
            )
        return int(points)

    def rates(self, num_points: int) -> Float[np.ndarray, ' points']:
        """The rate of each point."""
        return np.geomspace(self.min, self.max, num_points)

    def applied_to(self, config: ConfigDict) -> ConfigDict:
        """The config with a schedule of this rise; its `decay_every` is still to set.

        Args:
          config: valid.
        """
        config = config.copy_and_resolve_references()
        config.optimizer.learning_rate = self.min
        config.optimizer.warmup = '0 steps'
        config.optimizer.schedule = 'constant'
        if self.per == 'step':
            config.optimizer.schedule = 'exponential'
            config.optimizer.decay_rate = self.max / self.min
        config.optimizer.decay_every = '1 epoch'
        return config
