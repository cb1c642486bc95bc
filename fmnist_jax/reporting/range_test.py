"""What a learning-rate range test says: smoothed losses, their end, a suggestion."""

import dataclasses
import math
from collections.abc import Sequence
from types import MappingProxyType

# The share of a test's points over which losses are averaged, and the fewest points.
_WINDOW = 1 / 40
_LEAST_WINDOW = 2


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a test is read.

    Attributes:
      criterion: the loss that the suggestion is read from.
      margin: that loss may be above its lowest by so much of it, where the suggestion
        is.
      stop: a smoothed training loss of so many times its lowest has diverged.
    """

    criterion: str
    margin: float
    stop: float

    @property
    def rule(self) -> str:
        """How the suggestion is found, in words."""
        return (
            f'the lowest learning rate at which the smoothed {self.criterion} loss is '
            f'within {100 * self.margin:g} % of its lowest'
        )

    @property
    def divergence(self) -> str:
        """When a test stops, in words."""
        return (
            f'the smoothed training loss is over {self.stop:g} times its lowest, or '
            'the loss, a gradient or a parameter is not finite'
        )


# By how long a rate stays the same. Margins were chosen by what they suggest for the
# networks of the five projects (configs/seeds), over several seeds: about 1e-3 for
# keras_tinyvgg with Adam, and about 0.1 for tinyvgg with SGD. The steepest descent, and
# a tenth of the rate of the lowest loss, were too low for one of the two.
READINGS: MappingProxyType[str, Reading] = MappingProxyType(
    {
        'step': Reading('training', margin=0.25, stop=2.0),
        'epoch': Reading('validation', margin=0.05, stop=4.0),
    }
)


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
        self.beta = 1 - 1 / max(_LEAST_WINDOW, num_points * _WINDOW)
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

    def has_diverged(self, stop: float) -> bool:
        """Whether the average is now over so many times its lowest."""
        return self.smoothed[-1] > stop * self.lowest


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What a test comes to.

    Attributes:
      learning_rate: two digits of it; None if there is none to suggest.
      lowest_at: the rate at which the smoothed loss was lowest.
      note: what a reader should know besides, or why there is none.
    """

    learning_rate: float | None
    lowest_at: float | None
    note: str | None


def suggest(
    rates: Sequence[float],
    smoothed: Sequence[float],
    num_points: int,
    reading: Reading,
) -> Suggestion:
    """Finds the suggestion by the rule of the reading.

    Args:
      rates: of the whole test.
      smoothed: losses at these rates, up to where the test ended.
      num_points: that `Curve` was made for.
      reading: of the rule.
    """
    # What is as low before a window has passed is where the loss began.
    start = max(1, round(num_points * _WINDOW))
    lowest = min(smoothed, default=math.inf)
    bound = (1 + reading.margin) * lowest
    index = next((i for i, loss in enumerate(smoothed) if loss <= bound), 0)
    if index < start:
        return Suggestion(None, None, _why_none(reading, len(smoothed) < num_points))
    lowest_index = smoothed.index(lowest)
    note = None
    if lowest_index >= num_points - start:
        note = 'the loss was still falling at --max: a higher --max may show more'
    return Suggestion(float(f'{rates[index]:.1e}'), rates[lowest_index], note)


def _why_none(reading: Reading, ended_early: bool) -> str:
    share = math.floor(100 * reading.margin / (1 + reading.margin))
    advice = 'start lower with --min'
    if not ended_early:
        advice += ', end higher with --max, or take longer with --duration'
    return (
        f'no suggestion: the smoothed {reading.criterion} loss never fell to {share} % '
        f'below where it began; {advice}'
    )
