"""The points of a grid: what the seeds of one config came to, and which is best."""

import dataclasses
import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_jax.grid import canonical
from fmnist_jax.reporting.sweep.outcomes import Outcome


@dataclasses.dataclass(frozen=True)
class GridPoint:
    """The runs of one config, which differ by seed; one at least.

    Attributes:
      overrides: dotted fields and their values.
      outcomes: of the seeds.
    """

    overrides: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]

    @functools.cached_property
    def accuracies(self) -> list[float]:
        """Validation accuracies, fractions, of the runs that have finished."""
        return [
            outcome.validation_accuracy
            for outcome in self.outcomes
            if outcome.status == 'finished'
        ]

    @functools.cached_property
    def mean(self) -> float | None:
        """Of the accuracies; None if no run has finished."""
        return statistics.mean(self.accuracies) if self.accuracies else None

    @functools.cached_property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1) of the accuracies; None if below two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def num_diverged(self) -> int:
        """How many of the runs have diverged."""
        return sum(outcome.status == 'diverged' for outcome in self.outcomes)

    @property
    def num_unfinished(self) -> int:
        """How many of the runs have not finished, or never will."""
        return len(self.outcomes) - len(self.accuracies)


def group(outcomes: Sequence[Outcome]) -> list[GridPoint]:
    """The points, in the order in which the outcomes come to them."""
    points: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        points.setdefault(canonical(outcome.overrides), []).append(outcome)
    return [GridPoint(some[0].overrides, tuple(some)) for some in points.values()]


def rank(points: Sequence[GridPoint]) -> list[GridPoint]:
    """The points, the best first.

    The fewer of its runs have diverged (or not finished), the better is a point: the
    mean over those left would flatter a config that not every seed survives. Of as
    many, the mean validation accuracy decides, then the order given.
    """
    return sorted(points, key=_key)


def _key(point: GridPoint) -> tuple[int, float]:
    return point.num_unfinished, -(point.mean or 0.0)


def find_winner(points: Sequence[GridPoint]) -> GridPoint | None:
    """The best point by `rank`; None if no run has finished."""
    return next((point for point in rank(points) if point.accuracies), None)


def ties(points: Sequence[GridPoint], winner: GridPoint) -> list[GridPoint]:
    """The points that are as good as the winner, and only come later."""
    return [p for p in points if p is not winner and _key(p) == _key(winner)]
