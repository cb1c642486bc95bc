"""How a range test is read: what is smoothed, when it stops, what it suggests."""

import dataclasses
import math
from collections.abc import Sequence
from types import MappingProxyType

# The share of a test's points over which losses are averaged, and the fewest points.
_WINDOW = 1 / 40
_LEAST_WINDOW = 2.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a test is read.

    Attributes:
      criterion: the loss that the suggestion is read from.
      margin: how far that loss may be above its lowest at the suggestion, as a share.
      headroom: the suggestion is at most the rate of the lowest loss divided by this.
      stop: a smoothed training loss of more than so many times its lowest has diverged.
    """

    criterion: str
    margin: float
    headroom: float
    stop: float

    @property
    def rule(self) -> str:
        """How the suggestion is found, in words."""
        text = (
            f'the lowest learning rate at which the smoothed {self.criterion} loss is '
            f'within {100 * self.margin:g} % of its lowest'
        )
        if self.headroom > 1:
            text += f', but at most 1/{self.headroom:g} of the rate where it is lowest'
        return text

    @property
    def divergence(self) -> str:
        """When a test stops, in words."""
        return (
            f'the smoothed training loss is over {self.stop:g} times its lowest, or '
            'the loss, a gradient or a parameter is not finite'
        )


# By how long a rate stays the same. The numbers were chosen by what they suggest for
# keras_tinyvgg with Adam and tinyvgg with SGD, as in configs/seeds, over several seeds,
# beside what runs at constant rates came to: the first learns best at 1e-3 to 2e-3, the
# second at 0.05 to 0.12, and from 0.15 on it diverges. There the loss falls up to the
# brink, and a network that has learned something bears more than a new one: hence the
# headroom, which epochs need less.
READINGS: MappingProxyType[str, Reading] = MappingProxyType(
    {
        'step': Reading('training', margin=0.25, headroom=3.0, stop=2.0),
        'epoch': Reading('validation', margin=0.05, headroom=1.0, stop=4.0),
    }
)


def window(num_points: int) -> float:
    """Over how many points of a test losses are averaged."""
    return max(_LEAST_WINDOW, num_points * _WINDOW)


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What a test comes to.

    Attributes:
      learning_rate: two digits of it; None if there is none to suggest.
      lowest_at: the rate at which the smoothed loss was lowest; None likewise.
      note: what a reader should know besides, or why there is none.
    """

    learning_rate: float | None
    lowest_at: float | None
    note: str | None


def suggest(
    rates: Sequence[float],
    smoothed: Sequence[float],
    reading: Reading,
    *,
    diverged: bool,
) -> Suggestion:
    """Finds the suggestion by the rule of the reading.

    Args:
      rates: of the whole test.
      smoothed: losses at these rates, up to where the test ended.
      reading: of the rule.
      diverged: whether it ended because the loss diverged.
    """
    # A loss that is as low at once, where the average is over few, never fell.
    start = max(1, round(len(rates) * _WINDOW))
    lowest = min(smoothed, default=math.inf)
    bound = (1 + reading.margin) * lowest
    index = next((i for i, loss in enumerate(smoothed) if loss <= bound), 0)
    if index < start:
        return Suggestion(None, None, _why_none(reading, diverged))
    lowest_index = smoothed.index(lowest)
    note = None
    if lowest_index >= len(rates) - start:
        note = 'the loss was still falling at --max: a higher --max may show more'
    rate = min(rates[index], rates[lowest_index] / reading.headroom)
    if rate < rates[0]:
        note = 'the suggestion is below --min, where nothing was tried: start lower'
    return Suggestion(float(f'{rate:.1e}'), rates[lowest_index], note)


def _why_none(reading: Reading, diverged: bool) -> str:
    share = math.floor(100 * reading.margin / (1 + reading.margin))
    advice = 'start lower with --min'
    if not diverged:
        advice += ', end higher with --max, or take longer with --duration'
    return (
        f'no suggestion: the smoothed {reading.criterion} loss never fell by {share} % '
        f'of where it began; {advice}'
    )
