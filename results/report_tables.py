"""Tables of what benchmarks and the soak test wrote into files of `results/runs`."""

import json
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_jax.errors import UserError
from fmnist_jax.reporting.text import markdown_table
from fmnist_jax.reporting.units import duration


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
        size = workload['batch_size']
        header += [f'images/s, batches of {size}', 'ratio (quartiles)']
    rows = []
    for name in workloads[0]['summary']:
        row = [f'`{name}`']
        for workload in workloads:
            measured = workload['summary'][name]
            ratios = [rates[name] / rates['none'] for rates in workload['rounds']]
            low, _, high = statistics.quantiles(ratios, method='inclusive')
            row += [
                f'{measured["images_per_second"]:,.0f}',
                f'{measured["ratio"]:.2f} ({low:.2f} to {high:.2f})',
            ]
        rows.append(row)
    return markdown_table(header, rows)


def sweep_table(report: Mapping[str, Any]) -> str:
    """A row for the runs one by one, and one for each way to sweep."""
    one_by_one = report['one_by_one_total']
    count = len(report['one_by_one_seconds'])
    rows = [(f'{count} runs of `main`, one after another', duration(one_by_one), '1')]
    rows += [
        (f'`sweep --mapping={name}`', duration(x['seconds']), f'{x["ratio"]:.2f}')
        for name, x in report['sweeps'].items()
    ]
    return markdown_table(('', 'wall time', 'ratio'), rows)


def sweep_trials_table(report: Mapping[str, Any]) -> str:
    """What the trials of `--mapping=auto` measured, a row for each family."""
    rows = []
    for number, trial in enumerate(report['sweeps']['auto']['trials'], start=1):
        measured = dict(re.findall(r'(\w+) ([\d.]+)', trial))
        fastest = min(measured, key=lambda name: float(measured[name]))
        rows.append((f'family {number}', *measured.values(), fastest))
    return markdown_table(('', *measured, 'fastest'), rows)


def soak_table(report: Mapping[str, Any]) -> str:
    """A row for each phase in which processes were killed; then what was compared."""
    rows = [(f'killed: {phase}', count) for phase, count in report['kills'].items()]
    total = sum(report['kills'].values())
    rows.append(('**kills in all**', f'**{total}**, in {duration(report["seconds"])}'))
    rows += [
        (f'identical: {what}', count) for what, count in report['compared'].items()
    ]
    return markdown_table(('', ''), rows)


def mutations_table(report: Mapping[str, Any]) -> str:
    """A row for each kind of file of `benchmarks.mutated_files`."""
    header = (
        *('files', 'tried', 'read', 'refused in one line', 'crashes', 'hangs'),
        *('other problems', 'slowest', 'most memory'),
    )
    rows = []
    for name, title in (('idx', 'IDX'), ('images', 'images')):
        part = report[name]
        problems = dict(part['problems'])
        crashes, hangs = problems.pop('crash'), problems.pop('hang')
        rows.append(
            (
                title,
                *(f'{part[key]:,}' for key in ('tried', 'read', 'refused')),
                crashes,
                hangs,
                sum(problems.values()),
                f'{part["slowest"]["seconds"]:.1f} s',
                f'{part["most_memory"]["bytes"] / 1e6:.0f} MB',
            )
        )
    return markdown_table(header, rows)
