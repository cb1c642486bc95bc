"""Writes the tables and claims that are made from runs: python -m results.tables

What stands between `<!-- table: KIND GROUP -->` and `<!-- end of table -->` in a page,
and after `Measured (results/runs/GROUP):` in a config's docstring, is made from the
small files of `results/runs/GROUP`; see `results/keep.py`. GROUP of the kinds `peers`,
`waits`, `augmentation`, `mutations` and `sweep` is a file that a program of
`benchmarks/` wrote, and of `soak` what `tests.soak` wrote; that of `reproduction` is a
project of `results/recipes.py`, as NAME is a config of its recipes in `Published, and
here (NAME in results/reproduction.md):`; that of the kinds that begin with `tpu_` is
what `results.tpu` compiled; those of results/frontier.md take `all` for the rows of
`results/frontier/rows.py`, whose figures in results/frontier/ are made, too. `--check`
writes nothing and fails if a file is not what it would be.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fmnist_jax.errors import UserError
from fmnist_jax.reporting.comparison.groups import differing_fields
from fmnist_jax.reporting.runs import Run
from fmnist_jax.reporting.text import config_value, markdown_table, spread
from fmnist_jax.reporting.units import duration
from results import (
    range_tests,
    reliability,
    reproduction,
    sweeps,
    tpu,
)
from results.frontier import ablations, cells, choices
from results.frontier import tables as frontier_tables

ROOT = Path(__file__).parent.parent
PAGES = ('README.md', 'results/*.md')
CONFIGS = ('configs/**/*.py',)

_TABLE = re.compile(
    r'(<!-- table: (?P<kind>\w+) (?P<group>\S+) -->\n).*?(<!-- end of table -->)', re.S
)
_CLAIM = re.compile(
    r'(Measured \(results/runs/(?P<group>[^)\s]+)\):\n).*?(?=\n\n|\n?""")', re.S
)
_REPRODUCED = re.compile(
    r'(Published, and here \((?P<config>\w+) in results/reproduction\.md\):\n)'
    r'.*?(?=\n\n|\n?""")',
    re.S,
)


def read_group(runs: Path, group: str) -> list[Run]:
    """The runs of a group, by name.

    Raises:
      UserError: there are none.
    """
    folders = sorted(path.parent for path in (runs / group).glob('*/config.json'))
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


def peers_table(report: Mapping[str, Any]) -> str:
    """A row for each workload of `benchmarks.peers`: images a second, and ratios."""
    names = list(report['workloads'][0]['summary']['images_per_second'])
    header = ('workload', *names, 'ours / best peer', 'lower quartile', 'useful work')
    rows = []
    for workload in report['workloads']:
        summary = workload['summary']
        speeds = summary['images_per_second']
        ratio = summary['ratio_to_best_peer']
        rows.append(
            [
                f'{workload["model"]}, {workload["batch_size"]}',
                *(f'{speeds[name]:,.0f}' for name in names),
                f'{ratio["median"]:.2f}',
                f'{ratio["lower_quartile"]:.2f}',
                f'{summary["useful_fraction"]:.2f}',
            ]
        )
    return markdown_table(header, rows)


def waits_table(report: Mapping[str, Any]) -> str:
    """What `benchmarks.runs` measured, a line each."""
    rows = []
    for kind, starts in report['start'].items():
        totals = [start['total'] for start in starts]
        median = report['start_median'][kind]
        spread = f'{min(totals):.1f} to {max(totals):.1f}'
        rows.append(
            [f'start to first call, {kind} caches', f'{median:.1f} s ({spread})']
        )
    for script, size in report['peak_bytes'].items():
        rows.append([f'peak memory of `{script}`', f'{size / 1e9:.2f} GB'])
    for size, seconds in report['epoch_seconds'].items():
        rate = f'{int(size) / seconds:,.0f} images/s'
        rows.append([f'epoch of {int(size):,} images', f'{seconds:.2f} s ({rate})'])
    rate = report['prediction_images_per_second']
    rows.append(['predictions of `evaluate`', f'{rate:,.0f} images/s'])
    return markdown_table(('what', 'measured'), rows)


def augmentation_table(report: Mapping[str, Any]) -> str:
    """A row for each operation of `benchmarks.augmentation`, a pair for each batch."""
    workloads = report['workloads']
    header = ['augmentation']
    for workload in workloads:
        header += [f'images/s, batches of {workload["batch_size"]}', 'ratio']
    rows = []
    for name in workloads[0]['summary']:
        row = [f'`{name}`']
        for workload in workloads:
            measured = workload['summary'][name]
            row += [f'{measured["images_per_second"]:,.0f}', f'{measured["ratio"]:.2f}']
        rows.append(row)
    return markdown_table(header, rows)


def read_report(runs: Path, name: str) -> dict[str, Any]:
    """A file that a benchmark wrote.

    Raises:
      UserError: it is missing.
    """
    path = runs / name
    if not path.exists():
        raise UserError(
            f'{path} is missing; let its benchmark write it, or take its table away'
        )
    return json.loads(path.read_text())


# What reads a table's group, and what makes the table of it.
TABLES: Mapping[str, tuple[Callable, Callable]] = MappingProxyType(
    {
        'headline': (read_group, headline_table),
        'seeds': (read_group, seeds_table),
        'trials': (read_group, trials_table),
        'peers': (read_report, peers_table),
        'waits': (read_report, waits_table),
        'augmentation': (read_report, augmentation_table),
        'soak': (read_report, reliability.soak_table),
        'mutations': (read_report, reliability.mutations_table),
        'sweep': (read_report, sweeps.sweep_table),
        'range_tests': (range_tests.read, range_tests.suggestions_table),
        'framework': (reproduction.read_framework, reproduction.framework_table),
        'sweep_trials': (read_report, sweeps.trials_table),
        'agreement': (reproduction.read_all, reproduction.agreement_table),
        'reproduction': (reproduction.read_project, reproduction.project_table),
        'goals': (cells.read, frontier_tables.goals_table),
        'calibration': (cells.read, frontier_tables.calibration_table),
        'choices': (cells.read, choices.choices_table),
        'ablations': (cells.read, ablations.ablations_table),
        'robustness': (cells.read, frontier_tables.robustness_table),
        'time': (cells.read, frontier_tables.time_table),
        'elsewhere': (frontier_tables.read_elsewhere, frontier_tables.elsewhere_table),
        'tpu_steps': (tpu.read, tpu.steps_table),
        'tpu_evaluation': (tpu.read, tpu.evaluation_table),
        'tpu_scaling': (tpu.read, tpu.scaling_table),
        'tpu_larger': (tpu.read, tpu.larger_table),
    }
)


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


def render(text: str, runs: Path) -> str:
    """A page or a config's source with its tables and claims made anew."""

    def table(match: re.Match) -> str:
        read, make = TABLES[match['kind']]
        made = make(read(runs, match['group']))
        return f'{match[1]}{made}{match[4]}'

    def sentence(match: re.Match) -> str:
        made = claim(read_group(runs, match['group']))
        return f'{match[1]}{textwrap.fill(made, 88)}'

    def reproduced(match: re.Match) -> str:
        sentences = reproduction.claims(runs, match['config'])
        lines = (textwrap.fill(f'- {s}', 88, subsequent_indent='  ') for s in sentences)
        return match[1] + '\n'.join(lines)

    text = _REPRODUCED.sub(reproduced, text)
    return _CLAIM.sub(sentence, _TABLE.sub(table, text))


def files(root: Path) -> list[Path]:
    """Whatever may hold a table or a claim."""
    patterns = (*PAGES, *CONFIGS)
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def _update_figures(*, write: bool) -> list[str]:
    """The figures that show other data than the runs make; written, if so asked."""
    # Matplotlib takes half a second to import; who makes tables alone need not wait.
    from results.frontier import figures  # noqa: PLC0415

    folder, stale = ROOT / 'results' / 'frontier', []
    for name, data in figures.read(ROOT / 'results' / 'runs').items():
        path = folder / name
        if figures.data_of(path) != data:
            stale.append(str(path.relative_to(ROOT)))
            if write:
                folder.mkdir(exist_ok=True)
                path.write_bytes(figures.draw(name, data))
    return stale


def _update_pages(*, write: bool) -> list[str]:
    """The files that are not what the runs make them; written, if so asked."""
    stale = []
    for path in files(ROOT):
        text = path.read_text()
        made = render(text, ROOT / 'results' / 'runs')
        if made != text:
            stale.append(str(path.relative_to(ROOT)))
            if write:
                path.write_text(made)
    return stale


def main() -> None:
    """Writes, or checks, all the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing')
    check = parser.parse_args().check
    try:
        # First: a page that cannot be made stops the rest.
        stale = _update_figures(write=not check) + _update_pages(write=not check)
    except (reproduction.UnexplainedError, UserError) as error:
        sys.exit(f'error: {error}')
    if stale and check:
        sys.exit(
            f'not as results/runs makes them: {", ".join(stale)}; run '
            'python -m results.tables'
        )
    print(f'written: {", ".join(stale) or "nothing"}')


if __name__ == '__main__':
    main()
