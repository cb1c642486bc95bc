"""The page of a comparison: a legend, overlaid curves and a table to sort."""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fmnist_jax.reporting import html
from fmnist_jax.reporting.comparison.groups import Group
from fmnist_jax.reporting.comparison.table import columns
from fmnist_jax.reporting.figures.comparison import (
    LARGEST_LINEAR_RATIO,
    Curve,
    Look,
    curves_figure,
)
from fmnist_jax.reporting.runs import Run

# What is drawn of which split against what.
_PANELS = (
    ('validation', 'accuracy', 'epoch'),
    ('validation', 'loss', 'epoch'),
    ('validation', 'accuracy', 'seconds'),
    ('validation', 'loss', 'seconds'),
    ('train', 'accuracy', 'epoch'),
    ('train', 'loss', 'epoch'),
)
_X_LABELS = MappingProxyType({'epoch': 'epoch', 'seconds': 'seconds of training'})


def page(groups: Sequence[Group], notes: Sequence[str]) -> str:
    """The page.

    Args:
      groups: the rows, in the order of the table.
      notes: what is to be known of them.
    """
    runs = [Group((run,)) for group in groups for run in group.runs]
    return html.render(
        'comparison.html',
        looks=[Look.of(number) for number in range(len(groups))],
        table=_table(groups),
        runs=_table(runs) if len(runs) > len(groups) else None,
        num_runs=len(runs),
        notes=notes,
        panels=list(_panels(groups)),
        linear_ratio=LARGEST_LINEAR_RATIO,
        running=any(group.config.get('train_metrics') == 'running' for group in groups),
    )


def _table(groups: Sequence[Group]) -> dict[str, Any]:
    shown = columns(groups)
    return {
        'columns': shown,
        'rows': [[column.cell(group) for column in shown] for group in groups],
    }


def _panels(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    for number, (split, key, x) in enumerate(_PANELS):
        curves = [[curve(run, split, key, x) for run in g.runs] for g in groups]
        figure = curves_figure(curves, _X_LABELS[x], key)
        yield {
            'title': f'{split.capitalize()} {key} by {_X_LABELS[x]}',
            'svg': html.inline_svg(figure, f'panel{number}'),
        }


def curve(run: Run, split: str, key: str, x: str) -> Curve:
    """How a run went.

    Args:
      run: the run.
      split: `train` or `validation`.
      key: `loss` or `accuracy`.
      x: `epoch`, or `seconds` of training up to the end of each.
    """
    lines = run.lines(split)
    if x == 'seconds':
        seconds = np.cumsum([line['seconds'] for line in run.lines('train')])
        return Curve(seconds, np.array([line[key] for line in lines], float))
    epochs = np.array([line['epoch'] for line in lines], float)
    return Curve(epochs, np.array([line[key] for line in lines], float))
