"""Figures of results/frontier.md: test accuracy against parameters, and against time.

`python -m results.tables` writes them.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.runs import Run
from results.figure_files import with_data
from results.frontier.labels import name_points
from results.frontier.rows import ROWS
from results.frontier.runs import read_row, shortest_seconds
from results.frontier.tables import read_elsewhere
from results.reproduction.recipes import RECIPES
from results.reproduction.runs import GROUP as REPRODUCTION

# What is shown: the field of a point, and what the axis is called.
FIGURES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        'parameters.png': ('num_parameters', 'parameters'),
        'training_time.png': ('seconds', 'training time, without its teachers'),
    }
)
# Kinds of points: colour and marker, and whether the marker is filled.
_LOOKS = {
    'here, on a CPU': (style.BLUE, 'o', True),
    'here, on an accelerator': (style.GREEN, 's', True),
    'elsewhere, logs or repeated runs': (style.VERMILION, '^', True),
    'elsewhere, as claimed': (style.VERMILION, '^', False),
}
# Seconds, and what an axis calls them.
_DURATIONS: Mapping[int, str] = MappingProxyType(
    {
        1: '1 s',
        10: '10 s',
        60: '1 min',
        600: '10 min',
        3600: '1 h',
        36_000: '10 h',
        360_000: '100 h',
    }
)
# Where the axis of accuracy has ticks, as errors.
_ERRORS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15, 0.2, 0.3)


def read(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """What each figure shows: points of a `kind`, `name`, `x`, `accuracy` and `std`.

    Args:
      runs: where small files are kept.

    Returns:
      Points by the name of the figure's file. Accuracies are fractions of the test
      set, the mean over seeds, and `std` their standard deviation (n - 1), None of one.
    """
    found = [*_ours(runs), *map(_theirs, read_elsewhere(runs, 'all'))]
    return {
        name: [
            {
                'kind': point['kind'],
                'name': point['name'],
                'x': point[field],
                'accuracy': point['accuracy'],
                'std': point['std'],
            }
            for point in found
            if point[field] is not None
        ]
        for name, (field, _) in FIGURES.items()
    }


def _theirs(entry: Mapping[str, Any]) -> dict[str, Any]:
    evidence = 'logs or repeated runs' if entry['is_evidenced'] else 'as claimed'
    return {
        'kind': f'elsewhere, {evidence}',
        'name': entry['name'],
        'num_parameters': entry.get('num_parameters'),
        'seconds': entry.get('seconds'),
        'accuracy': entry['accuracy'],
        'std': entry.get('std'),
    }


def _ours(runs: Path) -> list[dict[str, Any]]:
    """Every recipe of which runs were scored on a test set that chose nothing."""
    points = [_point('tinyvgg', _runs_in(runs / 'tinyvgg'))]
    points += [
        _point(recipe.name, _runs_in(runs / REPRODUCTION / recipe.name))
        for recipe in RECIPES
    ]
    for row in [row for row in ROWS if row.is_scored]:
        kept = [one for one in read_row(runs, row).values() if one.test]
        platforms = [one.run.devices['platform'] for one in kept if one.run]
        if kept:
            points.append(
                _make(
                    row.name,
                    [one.test for one in kept],
                    shortest_seconds(runs, row),
                    kept[0].num_parameters,
                    platforms[0] if platforms else 'cpu',
                )
            )
    return [point for point in points if point]


def _runs_in(folder: Path) -> list[Run]:
    found = sorted(
        path.parents[2] for path in folder.glob('seed*/eval/test/metrics.json')
    )
    return [run for run in map(Run.read, found) if is_sound(run)]


def is_sound(run: Run) -> bool:
    """Whether the test set had no part in making or choosing what it scored."""
    splits = (run.config[f'data.{use}_split'] for use in ('train', 'validation'))
    return not any('test' in split for split in splits)


def _point(name: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    if not runs:
        return None
    return _make(
        name,
        [run.evaluations['test']['accuracy'] for run in runs],
        # Others had a busier machine.
        min(run.seconds for run in runs),
        runs[0].num_parameters,
        runs[0].devices['platform'],
    )


def _make(
    name: str,
    accuracies: Sequence[float],
    seconds: float | None,
    num_parameters: int | None,
    platform: str,
) -> dict[str, Any]:
    place = 'a CPU' if platform == 'cpu' else 'an accelerator'
    return {
        'kind': f'here, on {place}',
        'name': name,
        'num_parameters': num_parameters,
        'seconds': seconds,
        'accuracy': statistics.mean(accuracies),
        'std': statistics.stdev(accuracies) if len(accuracies) > 1 else None,
    }


def draw(name: str, points: Sequence[Mapping[str, Any]]) -> bytes:
    """A figure as PNG, with its data in it.

    Args:
      name: one of `FIGURES`.
      points: as `read` gives them; one at least.
    """
    _, xlabel = FIGURES[name]
    with style.settings():
        figure = style.new_figure(7.5, 5)
        axes = figure.subplots()
        for kind in _LOOKS:
            _draw_kind(axes, [point for point in points if point['kind'] == kind], kind)
        axes.set(xscale='log', yscale='log', xlabel=xlabel, ylabel='test accuracy')
        axes.margins(x=0.1, y=0.1)
        # By the error: from 96 to 97 % is as far as from 92 to 94 %.
        axes.invert_yaxis()
        axes.yaxis.set_major_locator(FixedLocator(_ERRORS))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda error, _: f'{100 * (1 - error):g}%')
        if name == 'training_time.png':
            _show_durations(axes)
        else:
            axes.xaxis.set_major_formatter('{x:,.0f}')
        figure.legend(loc='outside upper center', ncols=2, fontsize=8)
        name_points(axes, points)
        return with_data(style.to_png(figure), points)


def _show_durations(axes: Axes) -> None:
    """An axis of seconds, with ticks that people count in."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator(list(_DURATIONS)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda x, _: _DURATIONS[round(x)])
    # One on either side, so that there are ticks whatever is shown.
    axes.set_xlim(
        max((x for x in _DURATIONS if x <= low), default=low),
        min((x for x in _DURATIONS if x >= high), default=high),
    )


def _draw_kind(axes: Axes, points: Sequence[Mapping[str, Any]], kind: str) -> None:
    if not points:
        return
    color, marker, is_filled = _LOOKS[kind]
    axes.errorbar(
        [point['x'] for point in points],
        [1 - point['accuracy'] for point in points],
        yerr=[point['std'] or 0 for point in points],
        fmt=marker,
        color=color,
        markerfacecolor=color if is_filled else 'white',
        markersize=5,
        capsize=2,
        linewidth=1,
        label=kind,
    )
