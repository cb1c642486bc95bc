"""The losses of a range test as they come, smoothed, and when it is over."""

import math

from jaxtyping import Float
from numpy import ndarray

from fmnist_jax.reporting.lr_range_test.reading import READINGS, window


class Curve:
    """Losses as they come, and their exponential moving average.

    Its bias to its start, 0, is corrected as in Adam (Kingma & Ba, 2015,
    https://arxiv.org/abs/1412.6980), as fastai's `lr_find` does.

    Attributes:
      beta: the weight of the past.
      values: as they were added.
      smoothed: the average up to each.
      lowest: of `smoothed`.
    """

    def __init__(self, num_points: int):
        """An empty curve of a test of so many points."""
        self.beta = 1 - 1 / window(num_points)
        self.values: list[float] = []
        self.smoothed: list[float] = []
        self.lowest = math.inf
        self._average = 0.0

    def add(self, value: float) -> None:
        """Takes the next point."""
        self.values.append(value)
        self._average = self.beta * self._average + (1 - self.beta) * value
        self.smoothed.append(self._average / (1 - self.beta ** len(self.values)))
        self.lowest = min(self.lowest, self.smoothed[-1])


class Measurements:
    """What was measured at each learning rate, until the loss diverges.

    Attributes:
      per: `step` or `epoch`, for which a rate stays the same.
      rates: of the whole test.
      train: loss of the training batches, each before its update.
      validation: loss after each epoch; empty in a test per step.
      accuracy: on validation, likewise.
      diverged_at: the rate at which the test stopped early; None if it did not.
    """

    def __init__(self, per: str, rates: Float[ndarray, ' points']):
        self.per = per
        self.rates: list[float] = rates.tolist()
        self.train = Curve(len(rates))
        self.validation = Curve(len(rates))
        self.accuracy: list[float] = []
        self.diverged_at: float | None = None

    @property
    def num_points(self) -> int:
        """Rates of the whole test."""
        return len(self.rates)

    def add(
        self,
        loss: float,
        validation_loss: float | None = None,
        validation_accuracy: float | None = None,
    ) -> bool:
        """Takes what was measured at the next rate; whether to go on.

        Args:
          loss: mean over the training batches; NaN if a gradient or a parameter was
            not finite. What is not finite is not kept.
          validation_loss: of a test per epoch.
          validation_accuracy: likewise, a fraction.
        """
        rate = self.rates[len(self.train.values)]
        if not math.isfinite(loss + (validation_loss or 0)):
            self.diverged_at = rate
            return False
        self.train.add(loss)
        if validation_loss is not None:
            self.validation.add(validation_loss)
            self.accuracy.append(validation_accuracy)
        stop = READINGS[self.per].stop
        if self.train.smoothed[-1] > stop * self.train.lowest:
            self.diverged_at = rate
        return self.diverged_at is None

    def last(self) -> str:
        """The latest point, in words."""
        rate = self.rates[len(self.train.values) - 1]
        text = f'learning rate {rate:.2e}, '
        if self.per == 'step':
            return text + f'smoothed loss {self.train.smoothed[-1]:.4f}'
        return (
            text + f'training loss {self.train.values[-1]:.4f}, validation loss '
            f'{self.validation.values[-1]:.4f}, accuracy {self.accuracy[-1]:.4f}'
        )
