"""The cells of a heat map of a sweep: colours, numbers and marks."""

import dataclasses
import statistics
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from fmnist_jax.reporting.figures.confusion import ink_on
from fmnist_jax.reporting.sweep.points import GridPoint

# Where no run has finished.
_NOTHING = '#e6e6e6'
_HATCH = '////'
# In points.
_FRAME_WIDTH = 2.2
# A mean so many times further below the best than the median is has the lowest colour,
# so that one bad point does not make all others look alike.
_FAR_BELOW = 4
# Between the lowest and the highest colour, if all means are equal.
_LEAST_RANGE = 0.001


@dataclasses.dataclass(frozen=True)
class Scale:
    """From a mean accuracy to a colour.

    Attributes:
      colors: lighter is higher, also in print and for the colour-blind.
      norm: of accuracies, fractions.
      is_cut: whether some means are below the lowest colour's.
    """

    colors: Colormap
    norm: Normalize
    is_cut: bool

    @classmethod
    def of(cls, means: Sequence[float]) -> 'Scale':
        """That of these means; there may be none."""
        high, low = max(means, default=1.0), min(means, default=0.0)
        median = statistics.median(means) if means else low
        floor = high - _FAR_BELOW * (high - median)
        is_cut = low < floor < high
        low = min(floor if is_cut else low, high - _LEAST_RANGE)
        colors = mpl.colormaps['viridis'].with_extremes(bad=_NOTHING)
        return cls(colors, Normalize(low, high), is_cut)


def draw_cells(
    axes: Axes,
    cells: Sequence[Sequence[GridPoint]],
    scale: Scale,
    winner: GridPoint | None,
    font_size: float | int | None,
) -> AxesImage:
    """Draws one heat map.

    Args:
      axes: to draw in.
      cells: by row and column.
      scale: of the colours.
      winner: what to frame, if it is among them.
      font_size: of the numbers, in points; None for none.
    """
    means = np.array([[_mean(point) for point in row] for row in cells])
    picture = axes.imshow(means, cmap=scale.colors, norm=scale.norm, aspect='auto')
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for (row, column), mean in np.ndenumerate(means):
        point = cells[row][column]
        color = scale.colors(scale.norm(mean))
        ink = ink_on(np.array(color))
        if point.num_diverged:
            axes.add_patch(_square(column, row, ink, linewidth=0, hatch=_HATCH))
        if font_size is not None:
            axes.text(
                column,
                row,
                '\n'.join(words(point)),
                color=ink,
                size=font_size,
                weight='bold' if point is winner else 'normal',
                ha='center',
                va='center',
                # So that no hatch runs through it.
                bbox={'facecolor': color, 'edgecolor': 'none', 'pad': 1},
            )
        if point is winner:
            axes.add_patch(_frame(column, row))
    return picture


def words(point: GridPoint) -> list[str]:
    """What stands in a cell, line by line; numbers in per cent."""
    if point.mean is None:
        return ['diverged' if point.num_diverged else 'unfinished']
    lines = [f'{100 * point.mean:.2f}']
    if point.std is not None:
        lines.append(f'± {100 * point.std:.2f}')
    if point.num_diverged:
        lines += [f'{point.num_diverged} of {len(point.outcomes)}', 'diverged']
    return lines


def legend(points: Sequence[GridPoint], winner: GridPoint | None) -> list[Artist]:
    """What the marks mean, as far as there are any."""
    handles = []
    if winner is not None and winner in points:
        handles.append(
            Patch(fill=False, linewidth=_FRAME_WIDTH, label='winner, by validation')
        )
    if any(point.num_diverged for point in points):
        handles.append(
            Patch(fill=False, linewidth=0, hatch=_HATCH, label='seeds that diverged')
        )
    if any(point.mean is None for point in points):
        handles.append(Patch(color=_NOTHING, label='no seed has finished'))
    return handles


def _mean(point: GridPoint) -> float:
    return np.nan if point.mean is None else point.mean


def _square(column: int, row: int, color: str, **looks) -> Rectangle:
    place = (column - 0.5, row - 0.5)
    return Rectangle(place, 1, 1, fill=False, edgecolor=color, **looks)


def _frame(column: int, row: int) -> Rectangle:
    """Black within white, of which one is seen on any colour."""
    frame = _square(
        column, row, 'black', linewidth=_FRAME_WIDTH, zorder=4, clip_on=False
    )
    frame.set_path_effects([withStroke(linewidth=2 * _FRAME_WIDTH, foreground='white')])
    return frame
