"""Tables and claims of groups of runs, `results/runs/GROUP`; see results/keep.py."""

from collections.abc import Sequence
from pathlib import Path

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.comparison.groups import differing_fields
from fmnist_jax.reporting.runs import Run
from fmnist_jax.reporting.text import config_value, markdown_table, spread
from fmnist_jax.reporting.units import duration


def read_group(runs: Path, group: str) -> list[Run]:
    """The runs of a group that did not diverge, by name.

    Raises:
      UserError: there are none.
    """
    folders = sorted(
        path.parent
        for path in (runs / group).glob('*/config.json')
        if not (path.parent / workdir_lib.DIVERGENCE).exists()
    )
    if not folders:
        raise UserError(
            f'{runs / group} holds no runs; keep some there, or take its table away'
        )
    return [Run.read(folder) for folder in folders]


def _spread(values: Sequence[float]) -> str:
    """Fractions as per cent, mean ± standard deviation (n - 1)."""
    return f'{spread([100 * value for value in values], 2)} %'


def seeds_table(runs: Sequence[Run]) -> str:
    """A row for each run of a recipe, and their mean."""
    header = ('run', 'epoch', 'validation', 'test', 'devices', 'training', 'images/s')
    rows = [
        (
            f'`{run.name}`',
            run.best['epoch'],
            f'{100 * run.best["accuracy"]:.2f} %',
            f'{100 * run.evaluations["test"]["accuracy"]:.2f} %',
            f'{run.devices["number"]} x {run.devices["kind"]}',
            duration(run.seconds),
            f'{run.images_per_second:,.0f}',
        )
        for run in runs
    ]
    mean = (
        '**mean ± std**',
        '',
        f'**{_spread([run.best["accuracy"] for run in runs])}**',
        f'**{_spread([run.evaluations["test"]["accuracy"] for run in runs])}**',
        '',
        '',
        '',
    )
    return markdown_table(header, [*rows, mean])


def headline_table(runs: Sequence[Run]) -> str:
    """A single row: the model, its size, its accuracy."""
    test = [run.evaluations['test'] for run in runs]
    row = (
        f'`{runs[0].config["model.name"]}`',
        f'{test[0]["num_parameters"]:,}',
        runs[0].config['num_epochs'],
        _spread([run.best['accuracy'] for run in runs]),
        _spread([metrics['accuracy'] for metrics in test]),
        len(runs),
    )
    header = ('model', 'parameters', 'epochs', 'validation', 'test', 'seeds')
    return markdown_table(header, [row])


def trials_table(runs: Sequence[Run]) -> str:
    """A row for each trial, the best on validation first: what differs, what came."""
    differing = differing_fields([run.config for run in runs])
    header = [
        *(f'`{field}`' for field in differing),
        'best',
        'of epoch',
        'last',
        'lowest loss',
    ]
    rows = []
    for run in sorted(runs, key=lambda run: -run.best['accuracy']):
        lines = run.lines('validation')
        rows.append(
            [
                *(config_value(run.config.get(field)) for field in differing),
                f'{100 * run.best["accuracy"]:.2f} %',
                run.best['epoch'],
                f'{100 * lines[-1]["accuracy"]:.2f} %',
                f'{min(line["loss"] for line in lines):.4f}',
            ]
        )
    return markdown_table(header, rows)


def claim(runs: Sequence[Run]) -> str:
    """What a config's docstring says of its runs."""
    test = [run.evaluations['test']['accuracy'] for run in runs]
    fastest = min(runs, key=lambda run: run.seconds)
    host, devices = fastest.provenance['host'], fastest.devices
    where = f'{devices["number"]} x {devices["kind"]}'
    if devices['platform'] == 'cpu':
        where = f'{host["cores"]} cores of {host["cpu"]}'
    seeds = ', '.join(str(run.config['seed']) for run in runs)
    return (
        f'test accuracy {_spread(test)}, at the epoch of the best validation accuracy '
        f'({_spread([run.best["accuracy"] for run in runs])}); seeds {seeds}. '
        f'{fastest.evaluations["test"]["num_parameters"]:,} parameters, '
        f'{fastest.config["num_epochs"]} epochs. The fastest of the runs trained for '
        f'{duration(fastest.seconds)}, on {where} '
        f'({fastest.images_per_second:,.0f} images/s).'
    )
