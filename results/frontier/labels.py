"""Names of a figure's points, where they cover neither points nor each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from fmnist_jax.reporting.figures import style

# From a point to its name, in typographic points.
_GAPS = (6, 12, 20, 30, 42)
# Half of a marker's width, likewise.
_MARKER = 3.5


def name_points(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """Writes the names of points, the best first, each where it covers least.

    Args:
      axes: complete but for these: what changes its size later would move points.
      points: with `name`, `x`, `accuracy` and `std`, at (x, 1 - accuracy).
    """
    # What knows how wide a text is.
    FigureCanvasAgg(axes.figure)
    axes.figure.draw_without_rendering()
    taken = [_extent(axes, point) for point in points]
    for point in sorted(points, key=lambda point: -point['accuracy']):
        taken.append(_place(axes, point, taken))


def _place(axes: Axes, point: Mapping[str, Any], taken: Sequence[Bbox]) -> Bbox:
    """Writes a point's name; the box that it is in, in pixels."""
    label = axes.annotate(
        style.shorten(point['name'], 50),
        (point['x'], 1 - point['accuracy']),
        xytext=(0, 0),
        textcoords='offset points',
        fontsize=6,
        color='#444444',
        arrowprops={'arrowstyle': '-', 'color': '#aaaaaa', 'linewidth': 0.5},
    )
    # Else it would change the size of the axes, and so where points are.
    label.set_in_layout(False)
    best = min(_ways(), key=lambda way: _cost(label, way, axes, taken))
    box = _try(label, best)
    if best[0] == _GAPS[0]:
        label.arrow_patch.set_visible(False)
    return box


def _ways() -> Iterator[tuple[float, float, float]]:
    """Distances, and directions to the right and up: the nearest first."""
    for gap in _GAPS:
        for right, up in ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            yield gap, right, up
        yield gap, 0, 1
        yield gap, 0, -1


def _cost(
    label: Annotation,
    way: tuple[float, float, float],
    axes: Axes,
    taken: Sequence[Bbox],
) -> float:
    """The area that is covered, and all that would be outside; in pixels."""
    box = _try(label, way)
    inside = Bbox.intersection(box, axes.bbox)
    area = box.width * box.height
    outside = area - (inside.width * inside.height if inside else 0)
    covered = (Bbox.intersection(box, other) for other in taken)
    return 10 * outside + sum(both.width * both.height for both in covered if both)


def _try(label: Annotation, way: tuple[float, float, float]) -> Bbox:
    gap, right, up = way
    label.set_position((gap * right, gap * up * (0.7 if right else 1)))
    label.set_horizontalalignment({1: 'left', 0: 'center', -1: 'right'}[right])
    label.set_verticalalignment({1: 'bottom', 0: 'center', -1: 'top'}[up])
    renderer = label.figure.canvas.get_renderer()
    label.update_positions(renderer)
    # Without the line to the point.
    return Text.get_window_extent(label, renderer)


def _extent(axes: Axes, point: Mapping[str, Any]) -> Bbox:
    """The box of a point's marker and its error bar, in pixels."""
    error, std = 1 - point['accuracy'], point['std'] or 0
    ends = axes.transData.transform(
        [(point['x'], error - std), (point['x'], error + std)]
    )
    pad = _MARKER * axes.figure.dpi / 72
    return Bbox.from_extents(
        ends[:, 0].min() - pad,
        ends[:, 1].min() - pad,
        ends[:, 0].max() + pad,
        ends[:, 1].max() + pad,
    )
