"""The table of a sweep: a row a point of the grid, the best first."""

from collections.abc import Sequence

from fmnist_jax.grid import Axis, canonical, short_names
from fmnist_jax.reporting import console, text
from fmnist_jax.reporting.sweep.labels import value_labels
from fmnist_jax.reporting.sweep.outcomes import Outcome
from fmnist_jax.reporting.sweep.points import GridPoint, rank

_ACCURACY = 'val. acc. %'
# Of more points, the best are shown.
MAX_ROWS = 60


def to_text(axes: Sequence[Axis], points: Sequence[GridPoint]) -> str:
    """The table for a terminal; without axes, a row a seed.

    Of many points the best are shown, and how many there are.

    Args:
      axes: of the grid.
      points: of it, one at least, in any order.
    """
    if not axes:
        (point,) = points
        seeds = [(outcome.seed, _of_seed(outcome)) for outcome in point.outcomes]
        return console.table([*seeds, ('mean', accuracy(point))], ('seed', _ACCURACY))
    shorts = short_names([axis.field for axis in axes])
    header = [*shorts.values(), _ACCURACY, 'seeds']
    labels = {axis.field: value_labels(axis) for axis in axes}
    shown = rank(points)[:MAX_ROWS]
    rows = [
        [
            *(labels[field][canonical(point.overrides[field])] for field in labels),
            accuracy(point),
            len(point.accuracies),
        ]
        for point in shown
    ]
    if any(point.num_diverged for point in points):
        header.append('diverged')
        for row, point in zip(rows, shown, strict=True):
            row.append(point.num_diverged or text.MISSING)
    table = console.table(rows, header)
    if len(shown) < len(points):
        table += f'\n… and {len(points) - len(shown):,} further points'
    return table


def accuracy(point: GridPoint) -> str:
    """Mean ± sample standard deviation over the seeds that finished, in per cent."""
    if not point.accuracies:
        return text.MISSING
    return text.spread([100 * value for value in point.accuracies], 2)


def _of_seed(outcome: Outcome) -> str:
    if outcome.status != 'finished':
        return outcome.status
    return f'{100 * outcome.validation_accuracy:.2f}'
