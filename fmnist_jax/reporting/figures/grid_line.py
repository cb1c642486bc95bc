"""Validation accuracy along one axis of a grid, or over seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from fmnist_jax.grid import Axis, canonical
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.comparison import LARGEST_LINEAR_RATIO
from fmnist_jax.reporting.sweep.labels import is_numeric, value_labels
from fmnist_jax.reporting.sweep.points import GridPoint

# On either side of the values, of what lies between them.
_MARGIN = 0.08
# Of the largest value to the smallest, on an axis that is linear.
_LARGEST_LINEAR_RANGE = 5
# An accuracy of 100 % has no logarithm of its error.
_LEAST_ERROR = 1e-4
# With more values, words stand upright; with still more, not each value is named.
_MAX_LEVEL, _MAX_NAMED = 8, 24
# Characters that stand below a value without being turned.
_MAX_UPRIGHT = 8


def line_figure(
    axis: Axis,
    points: Sequence[GridPoint],
    winner: GridPoint | None = None,
    whole: GridPoint | None = None,
) -> Figure:
    """Each seed, means and standard deviations, and above them what diverged.

    Where the worst error is many times the best, accuracy is drawn by the logarithm of
    the error, so that one bad value does not make all others look alike.

    Args:
      axis: of the values, in the order to draw.
      points: one for each.
      winner: among them; None for none.
      whole: what all points are seeds of, if they are.
    """
    by_value = {canonical(point.overrides[axis.field]): point for point in points}
    ordered = [by_value[canonical(value)] for value in axis.values]
    width = max(5.0, min(2 + 0.6 * len(ordered), 14.0))
    figure = style.new_figure(width, 4 + 0.05 * _longest(axis))
    axes = figure.subplots()
    x = _place_values(axes, axis)
    known = [(at, p) for at, p in zip(x, ordered, strict=True) if p.mean is not None]
    _draw_seeds(axes, known)
    if is_numeric(axis) and whole is None:
        # A mean that is not known leaves a gap.
        means = [np.nan if p.mean is None else p.mean for p in ordered]
        axes.plot(x, means, color='#999999', linewidth=1, zorder=1)
    _draw_means(axes, known)
    if whole is not None and whole.mean is not None:
        _draw_whole(axes, whole)
    for at, point in known:
        if point is winner:
            _draw_winner(axes, at, point)
    for at, point in zip(x, ordered, strict=True):
        if point.num_diverged:
            _draw_diverged(axes, at, point, is_level=len(ordered) <= _MAX_LEVEL)
    _scale_accuracy(axes, [a for _, point in known for a in point.accuracies])
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc='outside lower center', ncols=int(width / 2.3), fontsize=9)
    return figure


def _longest(axis: Axis) -> int:
    """Characters of the longest label."""
    return max(map(len, value_labels(axis).values()))


def _place_values(axes: Axes, axis: Axis) -> list[float]:
    """Where each value is: by size if all are numbers above 0, else side by side."""
    x = [float(place) for place in range(len(axis.values))]
    if is_numeric(axis) and min(axis.values) > 0:
        x = [float(value) for value in axis.values]
        if max(x) / min(x) > _LARGEST_LINEAR_RANGE:
            axes.set_xscale('log')
    low, high = min(x), max(x)
    if axes.get_xscale() == 'log':
        room = (high / low) ** _MARGIN
        axes.set_xlim(low / room, high * room)
    else:
        room = _MARGIN * (high - low or 1.0)
        axes.set_xlim(low - room, high + room)
    labels = list(value_labels(axis).values())
    step = -(-len(labels) // _MAX_NAMED)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(x[::step], labels[::step])
    if _longest(axis) > _MAX_UPRIGHT or len(labels) > _MAX_LEVEL:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha='right', rotation_mode='anchor')
    axes.set(xlabel=axis.field, ylabel='validation accuracy')
    return x


def _draw_seeds(axes: Axes, known: Sequence[tuple[float, GridPoint]]) -> None:
    seeds = [(at, a) for at, p in known if p.std is not None for a in p.accuracies]
    if seeds:
        x, y = zip(*seeds, strict=True)
        axes.plot(x, y, 'o', color=style.SKY, markersize=4, label='a seed')


def _draw_means(axes: Axes, known: Sequence[tuple[float, GridPoint]]) -> None:
    has_spread = any(point.std is not None for _, point in known)
    axes.errorbar(
        [at for at, _ in known],
        [point.mean for _, point in known],
        [point.std or 0.0 for _, point in known],
        fmt='s',
        color=style.BLUE,
        markersize=6,
        linewidth=1.5,
        capsize=4 if has_spread else 0,
        label='mean ± standard deviation' if has_spread else None,
    )


def _draw_whole(axes: Axes, whole: GridPoint) -> None:
    label = f'mean {100 * whole.mean:.2f} %'
    if whole.std is not None:
        label = f'mean ± standard deviation, {100 * whole.mean:.2f} ± '
        label += f'{100 * whole.std:.2f} %'
        low, high = whole.mean - whole.std, whole.mean + whole.std
        axes.axhspan(low, high, color=style.SKY, alpha=0.3, linewidth=0)
    axes.axhline(whole.mean, color=style.BLUE, linewidth=1.2, label=label)


def _draw_winner(axes: Axes, at: float, winner: GridPoint) -> None:
    axes.plot(
        at,
        winner.mean,
        'o',
        markerfacecolor='none',
        markeredgecolor=style.VERMILION,
        markeredgewidth=2,
        markersize=15,
        label='winner, by validation',
    )


def _draw_diverged(axes: Axes, at: float, point: GridPoint, *, is_level: bool) -> None:
    count = len(point.outcomes)
    told = (
        [f'{point.num_diverged} of {count}', 'diverged'] if count > 1 else ['diverged']
    )
    axes.axvline(at, color=style.VERMILION, linestyle='--', linewidth=1.2, zorder=1)
    axes.text(
        at,
        1.02,
        '\n'.join(told) if is_level else ' '.join(told),
        transform=axes.get_xaxis_transform(),
        rotation=0 if is_level else 90,
        ha='center',
        va='bottom',
        size=8,
    )


def _scale_accuracy(axes: Axes, accuracies: Sequence[float]) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if not accuracies:
        axes.set_ylim(0, 1)
        return
    best = max(_LEAST_ERROR, 1 - max(accuracies))
    worst = max(_LEAST_ERROR, 1 - min(accuracies))
    if worst <= LARGEST_LINEAR_RATIO * best:
        return
    axes.set_yscale(
        'function',
        functions=(
            lambda accuracy: -np.log10(np.maximum(1 - accuracy, _LEAST_ERROR)),
            lambda height: 1 - 10.0**-height,
        ),
    )
    low, high = max(0.0, 1 - 1.3 * worst), 1 - best / 1.3
    axes.set_ylim(low, high)
    steps = (1, 2, 5) if worst > 50 * best else (1, 1.5, 2, 3, 5, 7)
    ticks = 1 - LogLocator(subs=steps).tick_values(best / 1.3, 1.0)
    axes.set_yticks(ticks[(low <= ticks) & (ticks <= high)])
    axes.yaxis.set_major_formatter(lambda accuracy, _: f'{100 * accuracy:.4g}%')
