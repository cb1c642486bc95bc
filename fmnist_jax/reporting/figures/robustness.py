"""Accuracy under corruptions, and what these make of an image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_jax.reporting.figures import style

_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
# Grey levels and pixels between two images of the sheet.
_PAPER, _GAP = 255, 2


def robustness_figure(
    result: Mapping[str, Any],
    examples: Mapping[str, Sequence[UInt8[np.ndarray, 'h w c']]],
) -> Figure:
    """Accuracy against severity, a line a corruption; beside it an image under each.

    Args:
      result: `severities`, `clean_accuracy`, `mean_corruption_accuracy`, and in
        `corruptions` by name the `accuracy` at each severity.
      examples: by corruption an image as it is, and at each severity.
    """
    with style.settings():
        figure = style.new_figure(11, 4.6)
        curves, sheet = figure.subplots(1, 2, width_ratios=(1, 1.05))
        _draw_curves(curves, result)
        _draw_sheet(sheet, result, examples)
    return figure


def _draw_curves(axes: Axes, result: Mapping[str, Any]) -> None:
    severities, clean = result['severities'], result['clean_accuracy']
    for number, (name, row) in enumerate(result['corruptions'].items()):
        axes.plot(
            [0, *severities],
            [clean, *row['accuracy']],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            color=style.COLORS[number % len(style.COLORS)],
            label=_in_words(name),
        )
    axes.axhline(clean, color='#555555', linestyle='--', linewidth=1)
    axes.set(xlabel='severity', ylabel='accuracy')
    axes.set_xticks([0, *severities], ['clean', *map(str, severities)])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    mean = result['mean_corruption_accuracy']
    axes.set_title(
        f'Clean {100 * clean:.2f} %, mean under corruption {100 * mean:.2f} %',
        fontsize=10,
    )
    axes.legend(loc='lower left')


def _draw_sheet(
    axes: Axes,
    result: Mapping[str, Any],
    examples: Mapping[str, Sequence[UInt8[np.ndarray, 'h w c']]],
) -> None:
    """A row for each corruption, a column for each severity, the first without."""
    tiles = np.array([examples[name] for name in result['corruptions']])
    tiles = np.broadcast_to(tiles, (*tiles.shape[:-1], 3))
    spaces = ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0))
    tiles = np.pad(tiles, spaces, constant_values=_PAPER)
    rows, columns, height, width, _ = tiles.shape
    sheet = tiles.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    axes.imshow(sheet, interpolation='nearest')
    axes.set_xticks(
        (np.arange(columns) + 0.5) * width - 0.5 - _GAP / 2,
        ['clean', *map(str, result['severities'])],
    )
    axes.set_yticks(
        (np.arange(rows) + 0.5) * height - 0.5 - _GAP / 2,
        [_in_words(name) for name in result['corruptions']],
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _in_words(name: str) -> str:
    return name.replace('_', ' ')
