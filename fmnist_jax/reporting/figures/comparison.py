"""Curves of several groups of runs in one figure."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from fmnist_jax.reporting.figures import style

# Not the last, yellow: as a line on white it is hardly seen.
_COLORS = style.COLORS[:-1]
# Matplotlib's lengths of dashes and gaps, in line widths.
_DASHES = ((), (3.7, 1.6), (6.4, 1.6, 1, 1.6), (1, 1.65))
_WIDTH = 1.8
# Of more epochs, the line tells where they are; its dashes show between no markers.
_MOST_MARKERS = 8
# Of the worst loss or error to the best, on an axis that is linear.
LARGEST_LINEAR_RATIO = 4


@dataclasses.dataclass(frozen=True)
class Curve:
    """What one run came to, epoch by epoch."""

    x: Float[np.ndarray, ' epochs']
    y: Float[np.ndarray, ' epochs']


@dataclasses.dataclass(frozen=True)
class Look:
    """How a group is drawn: a colour, and dashes when colours come round again.

    Attributes:
      color: as CSS has it.
      dashes: lengths of dashes and gaps in points; none for a solid line.
      width: of the line, in points.
    """

    color: str
    dashes: tuple[float, ...]
    width: float = _WIDTH

    @classmethod
    def of(cls, number: int) -> 'Look':
        """That of the group of a number from 0; 28 are told apart."""
        turn, color = divmod(number, len(_COLORS))
        dashes = _DASHES[turn % len(_DASHES)]
        return cls(_COLORS[color], tuple(_WIDTH * length for length in dashes))


def curves_figure(
    groups: Sequence[Sequence[Curve]], xlabel: str, ylabel: str
) -> Figure:
    """One line a group, the mean over its runs, and thin ones for several runs.

    The mean goes as far as all of a group's runs have come. In SVG, a group's lines
    have the ids `groupNUMBER` and `groupNUMBER-RUN`. Where the worst loss, or
    error, is many times the best, its axis is logarithmic, so that one bad run does not
    squeeze the others into a corner.

    Args:
      groups: the runs of each.
      xlabel: of the horizontal axis.
      ylabel: `accuracy` (fractions, shown in per cent) or `loss`.
    """
    is_accuracy = ylabel == 'accuracy'
    values = np.concatenate([curve.y for curves in groups for curve in curves])
    badness = 1 - values if is_accuracy else values
    # What is 0 has no logarithm: it is drawn beside the lowest that is not.
    least = min(badness[badness > 0], default=1.0)
    is_log = max(badness) > LARGEST_LINEAR_RATIO * least
    with style.settings():
        figure = style.new_figure(5, 3.4)
        axes = figure.subplots()
        # The first, and best, on top.
        for number, curves in reversed(list(enumerate(groups))):
            shown = curves
            if is_log:
                shown = [_as_badness(curve, is_accuracy, least) for curve in curves]
            _draw(axes, shown, Look.of(number), f'group{number}')
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if xlabel == 'epoch':
            axes.set_xlim(0.5, axes.dataLim.xmax + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if is_log:
            _scale_by_logarithm(axes, is_accuracy, max(badness) / least)
        elif is_accuracy:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def _as_badness(curve: Curve, is_accuracy: bool, least: float) -> Curve:
    badness = 1 - curve.y if is_accuracy else curve.y
    return Curve(curve.x, np.maximum(badness, least))


def _scale_by_logarithm(axes: Axes, is_accuracy: bool, ratio: float) -> None:
    axes.set_yscale('log')
    steps = (1, 2, 5) if ratio > 50 else (1, 1.5, 2, 3, 5, 7)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_minor_locator(NullLocator())
    if is_accuracy:
        axes.invert_yaxis()
        axes.yaxis.set_major_formatter(lambda error, _: f'{100 * (1 - error):g}%')
    else:
        axes.yaxis.set_major_formatter(lambda loss, _: f'{loss:g}')


def _draw(axes: Axes, curves: Sequence[Curve], look: Look, gid: str) -> None:
    length = min(len(curve.x) for curve in curves)
    mean = Curve(
        np.mean([curve.x[:length] for curve in curves], axis=0),
        np.mean([curve.y[:length] for curve in curves], axis=0),
    )
    _line(axes, mean, look, gid, width=look.width)
    if len(curves) > 1:
        for number, curve in enumerate(curves):
            _line(axes, curve, look, f'{gid}-{number}', width=0.6, alpha=0.6)


def _line(
    axes: Axes, curve: Curve, look: Look, gid: str, *, width: float, alpha: float = 1
) -> None:
    thin = width < look.width
    has_markers = len(curve.x) == 1 if thin else len(curve.x) <= _MOST_MARKERS
    axes.plot(
        curve.x,
        curve.y,
        color=look.color,
        # Matplotlib multiplies dashes by the line width.
        linestyle=(0, tuple(d / _WIDTH for d in look.dashes)) if look.dashes else '-',
        linewidth=width,
        alpha=alpha,
        marker='o' if has_markers else None,
        markersize=2.5 if thin else 4,
        gid=gid,
    )
