"""Whether figures of runs differ by more than chance."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from fmnist_jax.reporting.text import MISSING


def limit(values: Sequence[float]) -> float | None:
    """How far one further run may be from the mean of some: 2·s·√(1 + 1/n).

    Half the width of a prediction interval, with 2 for the quantile of Student's t. s
    is the runs' standard deviation (n - 1). None if there is no spread to go by, of
    fewer than two runs.
    """
    if len(values) < 2:
        return None
    return 2 * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))


def is_beyond(figure: float, values: Sequence[float]) -> bool:
    """Whether a figure is farther from the mean of some runs' than their `limit`."""
    farthest = limit(values)
    return farthest is not None and abs(figure - statistics.mean(values)) > farthest


def difference(
    values: Sequence[float], base: Sequence[float], digits: int = 2
) -> tuple[str, str]:
    """The difference of two means ± its standard error, and p of Welch's t-test.

    Args:
      values: of some runs.
      base: of others, that have nothing in common with them.
      digits: of the difference.

    Returns:
      Two cells; of a single run on either side, no error and no p.
    """
    mean = statistics.mean(values) - statistics.mean(base)
    if min(len(values), len(base)) < 2:
        return f'{mean:+.{digits}f}', MISSING
    error = math.sqrt(sum(statistics.variance(x) / len(x) for x in (values, base)))
    return f'{mean:+.{digits}f} ± {error:.{digits}f}', _p(
        stats.ttest_ind(values, base, equal_var=False)
    )


def paired_difference(
    values: Sequence[float], base: Sequence[float]
) -> tuple[str, str]:
    """The mean of differences ± its standard error, and p of Student's paired t-test.

    Args:
      values: of some runs.
      base: of the same number, each of which shares something with one of them.

    Returns:
      As `difference` does.
    """
    differences = [one - other for one, other in zip(values, base, strict=True)]
    mean = f'{statistics.mean(differences):+.2f}'
    if len(differences) < 2:
        return mean, MISSING
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f'{mean} ± {error:.2f}', _p(stats.ttest_rel(values, base))


def _p(result: object) -> str:
    return f'{result.pvalue:.3f}'
