"""Validation accuracy over the grid of a sweep: heat maps, or points along one axis."""

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from fmnist_jax.grid import Axis
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.grid_line import line_figure
from fmnist_jax.reporting.figures.heat_maps import heat_maps_figure
from fmnist_jax.reporting.sweep.labels import describe, in_order
from fmnist_jax.reporting.sweep.points import GridPoint, find_winner


def grid_figure(axes: Sequence[Axis], points: Sequence[GridPoint]) -> Figure:
    """The mean over the seeds at each point; the winner and what diverged are marked.

    Two axes are the rows and columns of a heat map, further ones make a panel of each
    combination of their values; along one axis, or over seeds alone, points are drawn.
    An axis of a single value is told in the title.

    Args:
      axes: of the grid.
      points: of it, one at least.
    """
    varying = [in_order(axis) for axis in axes if len(axis.values) > 1]
    winner = find_winner(points)
    with style.settings():
        if len(varying) > 1:
            figure = heat_maps_figure(varying, points, winner)
        elif varying:
            figure = line_figure(varying[0], points, winner)
        else:
            figure = line_figure(*_seeds(points[0]), whole=points[0])
        fixed = [axis for axis in axes if len(axis.values) == 1]
        parts = [
            _title(points, over_seeds=bool(varying)),
            describe(points[0].overrides, fixed),
            figure.get_suptitle(),
        ]
        title = '; '.join(filter(None, parts))
        lines = textwrap.wrap(title, int(12 * figure.get_figwidth()))
        figure.suptitle('\n'.join(lines), fontsize=10)
    return figure


def _seeds(point: GridPoint) -> tuple[Axis, list[GridPoint]]:
    """The seeds of a point as an axis of their own."""
    seeds = tuple(outcome.seed for outcome in point.outcomes)
    return Axis('seed', seeds), [
        GridPoint({'seed': outcome.seed}, (outcome,)) for outcome in point.outcomes
    ]


def _title(points: Sequence[GridPoint], *, over_seeds: bool) -> str:
    most = max(len(point.outcomes) for point in points)
    if most == 1 or not over_seeds:
        return 'Validation accuracy, %'
    return f'Validation accuracy, %: mean ± standard deviation of {most} seeds'
