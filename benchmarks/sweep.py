"""A sweep beside its runs one by one: python -m benchmarks.sweep --output=sweep.json

S4's grid (configs/seeds/bn_cnn.py: two learning rates, three batch sizes), each by
processes of their own, on two cores: `fmnist_jax.sweep` with each mapping, and
`fmnist_jax.main` for one run after another. Wall time from the start of the first
process to the end of the last; caches are warm. `--epochs=25` is S4's.

Takes about five times as long as the six runs do: an hour, or with `--epochs=5` twelve
minutes; on a machine with nothing else to do.
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
_MAPPINGS = flags.DEFINE_list(
    'mappings', ['auto', 'sequence', 'devices', 'vmap'], 'Those of the sweep to time.'
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
    if _OUTPUT.value:
        Path(_OUTPUT.value).write_text(json.dumps(report, indent=2) + '\n')


def _measure(folder: Path) -> dict[str, Any]:
    log = folder / 'log'
    # Fills the caches.
    for batch_size in GRID['batch_size']:
        _run(
            log,
            'main',
            folder / f'warm{batch_size}',
            [f'--config.batch_size={batch_size}'],
            1,
        )
    members = list(itertools.product(*GRID.values()))
    one_by_one = {}
    for values in members:
        pairs = dict(zip(GRID, values, strict=True))
        name = ','.join(f'{field}={x}' for field, x in pairs.items())
        overrides = [f'--config.{field}={x}' for field, x in pairs.items()]
        one_by_one[name] = _run(log, 'main', folder / name, overrides, _EPOCHS.value)
        print(f'{name}: {one_by_one[name]:.1f} s', flush=True)
    total = sum(one_by_one.values())
    sweeps = {}
    for mapping in _MAPPINGS.value:
        grid = [f'--grid={field}={",".join(x)}' for field, x in GRID.items()]
        command = [*grid, f'--mapping={mapping}']
        seconds = _run(log, 'sweep', folder / mapping, command, _EPOCHS.value)
        trials = re.findall(r'milliseconds an update of a run: (.*)', log.read_text())
        sweeps[mapping] = {
            'seconds': seconds,
            'ratio': seconds / total,
            'trials': trials,
        }
        print(f'sweep, {mapping}: {seconds:.1f} s ({seconds / total:.2f})', flush=True)
    provenance = json.loads((folder / name / workdir_lib.PROVENANCE).read_text())
    return {
        'processor': provenance['host'],
        'versions': provenance['versions'],
        'git_commit': provenance['git_commit'],
        'epochs': _EPOCHS.value,
        'one_by_one_seconds': one_by_one,
        'one_by_one_total': total,
        'sweeps': sweeps,
    }


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
