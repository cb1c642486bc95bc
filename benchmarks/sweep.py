"""A sweep beside its runs one by one: python -m benchmarks.sweep --output=sweep.json

S4's grid (configs/seeds/bn_cnn.py: two learning rates, three batch sizes), each by
processes of their own, on two cores: `fmnist_jax.sweep` with each mapping, and
`fmnist_jax.main` for one run after another. Wall time from the start of the first
process to the end of the last, after a short one of each that fills the caches.
`--epochs=25` is S4's. For a machine with nothing else to do.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import machine
from fmnist_jax import cli
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError

_EPOCHS = flags.DEFINE_integer('epochs', 25, 'Epochs of each run.', lower_bound=1)
_MAPPINGS = flags.DEFINE_multi_enum(
    'mapping',
    ['auto'],
    ['auto', 'sequence', 'devices', 'vmap'],
    'Those of the sweep to time.',
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'A JSON file to write everything measured to.'
)

CONFIG = 'configs/seeds/bn_cnn.py'
GRID = {
    'optimizer.learning_rate': ('0.01', '0.001'),
    'batch_size': ('100', '500', '1000'),
}


def main() -> None:
    """Measures, prints, and writes."""
    machine.use_cores()
    os.environ |= machine.environment()
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(Path(folder))
    print(json.dumps(report, indent=2))


def _measure(folder: Path) -> dict[str, Any]:
    log = folder / 'log'
    # Fills the caches.
    for name in ('sequence', 'devices', 'vmap'):
        _sweep(log, folder / f'warm-{name}', name, epochs=1)
    report: dict[str, Any] = {
        **_one_by_one(log, folder),
        'epochs': _EPOCHS.value,
        'sweeps': {},
    }
    for name in _MAPPINGS.value:
        seconds = _sweep(log, folder / name, name, _EPOCHS.value)
        ratio = seconds / report['one_by_one_total']
        trials = re.findall(r'milliseconds an update of a run: (.*)', log.read_text())
        measured = {'seconds': seconds, 'ratio': ratio, 'trials': trials}
        report['sweeps'][name] = measured
        print(f'sweep, {name}: {seconds:.1f} s ({ratio:.2f})', flush=True)
        if _OUTPUT.value:
            Path(_OUTPUT.value).write_text(json.dumps(report, indent=2) + '\n')
    return report


def _one_by_one(log: Path, folder: Path) -> dict[str, Any]:
    """The seconds that each run takes by itself, and who measured."""
    seconds = {}
    for values in itertools.product(*GRID.values()):
        pairs = dict(zip(GRID, values, strict=True))
        name = ','.join(f'{field}={x}' for field, x in pairs.items())
        overrides = [f'--config.{field}={x}' for field, x in pairs.items()]
        seconds[name] = _run(log, 'main', folder / name, overrides, _EPOCHS.value)
        print(f'{name}: {seconds[name]:.1f} s', flush=True)
    provenance = json.loads((folder / name / workdir_lib.PROVENANCE).read_text())
    return {
        'processor': provenance['host'],
        'versions': provenance['versions'],
        'git_commit': provenance['git_commit'],
        'one_by_one_seconds': seconds,
        'one_by_one_total': sum(seconds.values()),
    }


def _sweep(log: Path, folder: Path, mapping: str, epochs: int) -> float:
    grid = [f'--grid={field}={",".join(values)}' for field, values in GRID.items()]
    return _run(log, 'sweep', folder, [*grid, f'--mapping={mapping}'], epochs)


def _run(
    log: Path, script: str, workdir: Path, arguments: Sequence[str], epochs: int
) -> float:
    """Runs a script to its end; the seconds it took.

    Args:
      log: a file for what it prints.
      script: of the package.
      workdir: of it.
      arguments: further flags.
      epochs: of each run.

    Raises:
      UserError: it failed.
    """
    command = [
        *(sys.executable, '-m', f'fmnist_jax.{script}', f'--config={CONFIG}'),
        *arguments,
        f'--config.num_epochs={epochs}',
        f'--workdir={workdir}',
    ]
    started = time.perf_counter()
    with log.open('w') as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
        raise UserError(f'{" ".join(command)} failed: {log.read_text()[-500:]}')
    return time.perf_counter() - started


if __name__ == '__main__':
    cli.run(main)
