"""A whole run of the benchmark: workload after workload, a table and a file."""

import dataclasses
import platform
from collections.abc import Sequence
from typing import Any

from etils import epath

from benchmarks import machine
from benchmarks.benchmark import (
    CHECK_STEPS,
    FIRST_TOLERANCE,
    TOLERANCE,
    Settings,
    measure,
)
from benchmarks.process import Entrant
from benchmarks.summary import OURS
from benchmarks.workloads import Workload
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log, table
from fmnist_jax.training import provenance


def run(
    workloads: Sequence[Workload],
    entrants: Sequence[Entrant],
    settings: Settings,
    output: str | None,
) -> None:
    """Measures the workloads, tells how it goes, and prints a table at the end.

    Args:
      workloads: in this order.
      entrants: see `benchmark.measure`.
      settings: how long.
      output: a JSON file that is written before the first workload and after each;
        None for none.

    Raises:
      UserError: `output` cannot be written, or see `benchmark.measure`.
    """
    report = _start(settings)
    _write(output, report)
    left_out: dict[str, str] = {}
    for workload in workloads:
        entrants = [entrant for entrant in entrants if entrant.name not in left_out]
        result = measure(workload, entrants, settings, log)
        left_out |= result.pop('left_out')
        report['left_out'] = left_out
        report['versions'] |= result.pop('versions')
        report['workloads'].append(result)
        _write(output, report)
    log(f'\n{results_table(report["workloads"])}')
    for name, reason in left_out.items():
        log(f'without {name}: {reason}')


def _start(settings: Settings) -> dict[str, Any]:
    """What is known before anything is measured."""
    cores = machine.use_cores()
    return {
        'git_commit': provenance.git_commit(),
        'machine': {
            'cpu': provenance.cpu_model(),
            'cores': cores,
            'platform': platform.platform(),
            'python': platform.python_version(),
        },
        'settings': {
            **dataclasses.asdict(settings),
            'threads': machine.THREADS,
            'compared_losses': CHECK_STEPS,
            'first_tolerance': FIRST_TOLERANCE,
            'tolerance': TOLERANCE,
            'matrix_size': machine.MATRIX_SIZE,
        },
        'versions': {},
        'left_out': {},
        'workloads': [],
    }


def _write(output: str | None, report: dict[str, Any]) -> None:
    if output is None:
        return
    path = epath.Path(output).expanduser()
    if path.is_dir():
        raise UserError(f'--output: {output} is a folder; name a file')
    workdir_lib.check(path.parent, 'choose another --output')
    workdir_lib.write_json(path, report)


def results_table(workloads: Sequence[dict[str, Any]]) -> str:
    """Images a second, ratios, and useful work, a row for each workload."""
    peers = list(
        dict.fromkeys(
            name for result in workloads for name in result['losses'] if name != OURS
        )
    )
    header = ('model', 'batch', 'ours', *peers, 'ratio', 'quartile', 'useful')
    rows = []
    for result in workloads:
        summary = result['summary']
        speeds, ratio = summary['images_per_second'], summary['ratio_to_best_peer']
        rows.append(
            (
                result['model'],
                result['batch_size'],
                *(f'{speeds[n]:,.0f}' if n in speeds else '' for n in (OURS, *peers)),
                f'{ratio["median"]:.2f}' if ratio else '',
                f'{ratio["lower_quartile"]:.2f}' if ratio else '',
                f'{summary["useful_fraction"]:.3f}',
            )
        )
    legend = (
        'Images a second, median. ratio: ours / the best peer, median and lower '
        'quartile of the rounds.\nuseful: useful work / float32 matrix-product rate.'
    )
    return f'{table(rows, header)}\n{legend}'
