"""The report of an evaluation: one HTML file that needs nothing else."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from etils import epath
from jaxtyping import Int
from matplotlib.figure import Figure

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.reporting import gallery, html, pictures
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.calibration import reliability_figure
from fmnist_jax.reporting.figures.confusion import (
    color_scale,
    confusion_matrix_figure,
    ink_on,
    shown_classes,
)
from fmnist_jax.reporting.figures.learning_curves import learning_curves_figure
from fmnist_jax.reporting.gallery import Scored
from fmnist_jax.reporting.learning import Line, best, overfitting_onset
from fmnist_jax.reporting.origin import EnsembleOrigin, Origin

# Of a page: what browsers and mail still take well.
_MAX_BYTES = 9_500_000
_PAIRS = 12


def write_report(
    folder: epath.Path,
    metrics: Mapping[str, Any],
    scored: Scored,
    origin: Origin | EnsembleOrigin,
) -> None:
    """Writes `report.html`, and its figures as PNG, and as PDF for papers.

    Args:
      folder: where to.
      metrics: what `metrics.json` holds.
      scored: the split.
      origin: the run, or the runs.
    """
    figures = {
        'confusion_matrix': confusion_matrix_figure(
            np.array(metrics['confusion_matrix']), scored.class_names
        ),
        'reliability_diagram': reliability_figure(
            metrics['calibration_bins'], metrics['ece'], metrics.get('calibration')
        ),
    }
    if isinstance(origin, Origin) and origin.lines:
        epoch = _scored_epoch(metrics, origin)
        figures['learning_curves'] = learning_curves_figure(origin.lines, epoch)
    for name, figure in figures.items():
        workdir_lib.write_bytes(folder / f'{name}.png', style.to_png(figure))
        workdir_lib.write_bytes(folder / f'{name}.pdf', style.to_pdf(figure))
    page = _page(metrics, scored, origin, figures)
    workdir_lib.write_bytes(folder / 'report.html', page.encode())


def _page(
    metrics: Mapping[str, Any],
    scored: Scored,
    origin: Origin | EnsembleOrigin,
    figures: Mapping[str, Figure],
) -> str:
    matrix = np.array(metrics['confusion_matrix'])
    shown = shown_classes(matrix)
    scored = dataclasses.replace(scored, images=pictures.thumbnails(scored.images))
    _, height, width, _ = scored.images.shape
    render = functools.partial(
        html.render,
        'report.html',
        metrics=metrics,
        origin=origin,
        names=scored.class_names,
        shown=shown,
        heat_map=_heat_map(matrix, shown),
        pairs=metrics['most_confused'][:_PAIRS],
        most_wrong=gallery.most_wrong(scored),
        samples=list(gallery.samples(scored, shown)),
        size={'height': height, 'width': width, 'columns': pictures.COLUMNS},
        # The heat map is in the page as a table.
        svg={
            name: html.inline_svg(figure, name)
            for name, figure in figures.items()
            if name != 'confusion_matrix'
        },
        **_learning(metrics, origin),
    )
    rest = len(render(cells=[]).encode())
    return render(cells=_cells_that_fit(scored, shown, _MAX_BYTES - rest))


def _cells_that_fit(
    scored: Scored, shown: Sequence[int], num_bytes: int
) -> list[dict[str, Any]]:
    """The images of each cell, as many as there are bytes for.

    Where not even one a cell fits, the cells of most images have theirs.
    """
    limit = gallery.default_limit(len(scored.labels))
    while True:
        cells = gallery.cells(scored, shown, limit)
        sizes = [len(json.dumps(cell)) for cell in cells]
        if sum(sizes) <= num_bytes:
            return cells
        if limit == 1:
            break
        limit = max(1, min(limit - 1, int(limit * num_bytes / sum(sizes))))
    by_count = sorted(range(len(cells)), key=lambda place: -cells[place]['total'])
    used = np.cumsum([sizes[place] for place in by_count])
    return [cells[place] for place in by_count[: np.sum(used <= num_bytes)]]


def _heat_map(
    matrix: Int[np.ndarray, 'c c'], shown: Sequence[int]
) -> list[list[dict[str, Any]]]:
    """For each cell its count, its share of the row, and its colours."""
    colors, norm = color_scale()
    support = np.maximum(matrix.sum(1), 1)
    rows = []
    for label in shown:
        row = []
        for other in shown:
            rate = float(matrix[label, other] / support[label])
            color = np.array(colors(norm(rate)))
            row.append(
                {
                    'predicted': other,
                    'count': int(matrix[label, other]),
                    'rate': rate,
                    'color': mpl.colors.to_hex(color),
                    'ink': ink_on(color),
                }
            )
        rows.append(row)
    return rows


def _scored_epoch(metrics: Mapping[str, Any], origin: Origin) -> float:
    """How many epochs the scored checkpoint was trained for."""
    return metrics['checkpoint_step'] / origin.steps_per_epoch


def _learning(
    metrics: Mapping[str, Any], origin: Origin | EnsembleOrigin
) -> dict[str, Any]:
    """The epochs in numbers, and what is said of them; nothing before the first.

    Of an ensemble, its members instead.
    """
    if isinstance(origin, EnsembleOrigin):
        members = zip(origin.members, metrics['members'], strict=True)
        return {'members': list(members), 'epochs': []}
    lines = origin.lines
    by_epoch: dict[int, dict[str, Line]] = {}
    for line in lines:
        by_epoch.setdefault(line['epoch'], {})[line['split']] = line
    return {
        'members': [],
        'scored_epoch': _scored_epoch(metrics, origin),
        'epochs': sorted(by_epoch.items()),
        'best': best(lines)['epoch'] if lines else None,
        'onset': overfitting_onset(lines) if lines else None,
    }
