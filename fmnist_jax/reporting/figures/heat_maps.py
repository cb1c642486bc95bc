"""Heat maps of a grid of two axes or more, a panel for each value of further ones."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_jax.grid import Axis, canonical
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.heat_cells import Scale, draw_cells, legend, words
from fmnist_jax.reporting.sweep.labels import describe, value_labels
from fmnist_jax.reporting.sweep.points import GridPoint, rank

# Of more combinations of the further axes, those with the best points are shown.
MAX_PANELS = 12
# With more rows, columns or cells in all, numbers are too small to read.
_MAX_NUMBERED, _MAX_NUMBERED_CELLS = 16, 300
# With more values, not each is named.
_MAX_TICKS = 40
# Characters that stand below a column without being turned.
_MAX_UPRIGHT = 8
# Inches: of panels beside each other at most; a cell with numbers, their lines, and one
# without; a character beside the cells; an entry of the legend.
_MAX_WIDTH, _CELL_WIDTH, _LINE, _SMALL_CELL, _CHARACTER = 16.0, 0.75, 0.16, 0.22, 0.08
_LEGEND_ENTRY = 2.1


@dataclasses.dataclass(frozen=True)
class _Panel:
    """A heat map: what is the same in all of it, and its cells by row and column."""

    title: str
    cells: list[list[GridPoint]]

    @property
    def points(self) -> list[GridPoint]:
        return [point for row in self.cells for point in row]


def heat_maps_figure(
    axes: Sequence[Axis], points: Sequence[GridPoint], winner: GridPoint | None
) -> Figure:
    """Mean validation accuracy, with numbers where they can be read.

    Args:
      axes: of several values each: rows, columns, and those of which each combination
        of values has a panel.
      points: every one of the grid.
      winner: among them; None for none.
    """
    panels = _panels(axes, points)
    shown = _best(panels, points)
    cells = [point for panel in shown for point in panel.points]
    size = max(len(axis.values) for axis in axes[:2])
    is_numbered = size <= _MAX_NUMBERED and len(cells) <= _MAX_NUMBERED_CELLS
    scale = Scale.of([point.mean for point in cells if point.mean is not None])
    figure, grid = _new_sheet(axes, shown, is_numbered=is_numbered)
    for number, (panel, place) in enumerate(zip(shown, grid.flat, strict=False)):
        font_size = 8 if is_numbered else None
        picture = draw_cells(place, panel.cells, scale, winner, font_size)
        place.set_title(panel.title, fontsize=8)
        is_lowest = number + grid.shape[1] >= len(shown)
        _name_values(place, axes, x=is_lowest, y=number % grid.shape[1] == 0)
    for empty in list(grid.flat)[len(shown) :]:
        empty.set_axis_off()
    if len(shown) == 1:
        grid[0, 0].set_ylabel(axes[0].field)
    else:
        # A panel may be lower than the name is long.
        figure.supylabel(axes[0].field, fontsize=10)
    if any(point.mean is not None for point in cells):
        extend = 'min' if scale.is_cut else 'neither'
        bar = figure.colorbar(picture, ax=grid, extend=extend, aspect=30)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
        bar.outline.set_visible(False)
    _add_legend(figure, legend(cells, winner))
    if len(shown) < len(panels):
        figure.suptitle(
            f'of {len(panels)} panels, the {len(shown)} with the best points'
        )
    return figure


def _panels(axes: Sequence[Axis], points: Sequence[GridPoint]) -> list[_Panel]:
    """The panels, in the order of the further axes' values."""
    fields = [axis.field for axis in axes]
    by_values = {
        canonical([point.overrides[field] for field in fields]): point
        for point in points
    }
    rows, columns, *others = axes
    return [
        _Panel(
            '\n'.join(
                describe({axis.field: value}, others)
                for axis, value in zip(others, values, strict=True)
            ),
            [
                [
                    by_values[canonical([row, column, *values])]
                    for column in columns.values
                ]
                for row in rows.values
            ],
        )
        for values in itertools.product(*(axis.values for axis in others))
    ]


def _best(panels: Sequence[_Panel], points: Sequence[GridPoint]) -> list[_Panel]:
    """Those there is room for, with the best points, in their order."""
    places = {id(point): place for place, point in enumerate(rank(points))}
    chosen = sorted(
        range(len(panels)),
        key=lambda i: min(places[id(point)] for point in panels[i].points),
    )
    return [panels[i] for i in sorted(chosen[:MAX_PANELS])]


def _new_sheet(
    axes: Sequence[Axis], panels: Sequence[_Panel], *, is_numbered: bool
) -> tuple[Figure, np.ndarray]:
    """A figure with room for the panels, and their places by row and column."""
    rows, columns = (len(axis.values) for axis in axes[:2])
    cell_width = cell_height = max(_SMALL_CELL, 4 / max(rows, columns))
    if is_numbered:
        lines = max(len(words(point)) for panel in panels for point in panel.points)
        cell_width, cell_height = _CELL_WIDTH, (lines + 1) * _LINE
    width, height = columns * cell_width, rows * cell_height
    beside = len(panels) if len(panels) <= 4 else math.ceil(math.sqrt(len(panels)))
    beside = min(beside, max(1, int(_MAX_WIDTH / (width + 0.2))))
    below = math.ceil(len(panels) / beside)
    row_label, column_label = (_longest(axis) * _CHARACTER for axis in axes[:2])
    title = 0.2 + len(axes[2:]) * _LINE
    figure = style.new_figure(
        max(4.5, beside * (width + 0.2) + row_label + 1.5),
        below * (height + title) + column_label + 1.4,
    )
    return figure, figure.subplots(below, beside, squeeze=False)


def _add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    if handles:
        figure.legend(
            handles=handles,
            loc='outside lower center',
            fontsize=9,
            ncols=int(figure.get_figwidth() / _LEGEND_ENTRY),
        )


def _longest(axis: Axis) -> int:
    """Characters of the longest label."""
    return max(map(len, value_labels(axis).values()))


def _name_values(place: Axes, axes: Sequence[Axis], *, x: bool, y: bool) -> None:
    """Names columns (x) and rows (y), where no panel below or on the left does."""
    for axis, ticks, is_named in ((axes[1], place.xaxis, x), (axes[0], place.yaxis, y)):
        labels = list(value_labels(axis).values())
        step = math.ceil(len(labels) / _MAX_TICKS)
        ticks.set_ticks(range(0, len(labels), step), labels[::step])
        ticks.set_tick_params(length=0, labelsize=8 if step == 1 else 6)
        if not is_named:
            ticks.set_ticklabels([])
    if x:
        place.set_xlabel(axes[1].field)
    if _longest(axes[1]) > _MAX_UPRIGHT:
        for label in place.get_xticklabels():
            label.set(rotation=45, ha='right', rotation_mode='anchor')
