"""The figure of a range test: loss against the logarithm of the learning rate."""

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_jax.reporting.figures import style

# The losses' axis ends this share of their fall above where they began, smoothed, and
# below their lowest: where they explode, they leave it.
_MARGIN = 0.1
# Letters in a line of the title.
_LINE = 95


def range_test_figure(result: Mapping[str, Any]) -> Figure:
    """Losses as they were and smoothed, the suggestion, and where the test stopped.

    Args:
      result: as `range_test.result.write_result` gives it; of one point at least.
    """
    is_per_epoch = result['per'] == 'epoch'
    with style.settings():
        figure = style.new_figure(7, 6 if is_per_epoch else 4.2)
        figure.suptitle(textwrap.fill(_title(result), _LINE), fontsize=9)
        panels = figure.subplots(
            2 if is_per_epoch else 1,
            sharex=True,
            squeeze=False,
            height_ratios=(3, 2) if is_per_epoch else None,
        )[:, 0]
        _draw_losses(panels[0], result)
        if is_per_epoch:
            _draw_accuracy(panels[1], result)
        for axes in panels:
            _mark(axes, result)
        panels[0].set_xscale('log')
        panels[0].xaxis.set_major_formatter(lambda rate, _: f'{rate:g}')
        panels[-1].set_xlabel('learning rate')
        panels[0].legend(
            loc='lower left', bbox_to_anchor=(0, 1), ncols=4, fontsize=8, borderpad=0
        )
    return figure


def _title(result: Mapping[str, Any]) -> str:
    config = result['config']
    name = f'{config["model"]["name"]}, {config["optimizer"]["name"]}'
    if result['suggestion'] is None:
        return f'{name}: {result["note"]}'
    return f'{name}: suggestion {result["suggestion"]:g}, {result["rule"]}'


def _draw_losses(axes: Axes, result: Mapping[str, Any]) -> None:
    _draw_pair(axes, result, 'loss', 'training', style.BLUE)
    keys = ['loss']
    if result['per'] == 'epoch':
        _draw_pair(axes, result, 'validation_loss', 'validation', style.VERMILION)
        keys.append('validation_loss')
    lowest, start = min(min(result[key]) for key in keys), _start(result)
    room = _MARGIN * (start - lowest) or start
    axes.set(ylabel='loss', ylim=(lowest - room, start + room))


def _draw_pair(
    axes: Axes, result: Mapping[str, Any], key: str, label: str, color: str
) -> None:
    rates, smoothed = result['learning_rate'], result[f'smoothed_{key}']
    axes.plot(rates, result[key], color=color, alpha=0.3, linewidth=0.7, label=label)
    axes.plot(rates, smoothed, color=color, linewidth=1.8, label=f'{label}, smoothed')


def _start(result: Mapping[str, Any]) -> float:
    """The highest that the smoothed loss was before its lowest."""
    smoothed = result['smoothed_loss']
    return max(smoothed[: smoothed.index(min(smoothed)) + 1])


def _draw_accuracy(axes: Axes, result: Mapping[str, Any]) -> None:
    axes.plot(
        result['learning_rate'],
        result['validation_accuracy'],
        color=style.VERMILION,
        linewidth=1.8,
    )
    axes.set_ylabel('validation accuracy')
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _mark(axes: Axes, result: Mapping[str, Any]) -> None:
    marks = (
        ('suggestion', 'suggestion', style.GREEN, '-'),
        ('lowest_at', 'lowest loss', style.PURPLE, ':'),
        ('diverged_at', 'stopped', style.BLACK, '--'),
    )
    for key, label, color, dashes in marks:
        rate = result[key]
        if rate is not None:
            axes.axvline(
                rate,
                color=color,
                linestyle=dashes,
                linewidth=1.2,
                label=f'{label}, {rate:.2g}',
            )
