"""The projects' recipes in other frameworks:

    python -m results.reproduction.frameworks in_pytorch|in_keras ROW... \
      [--seeds=N | --own_seed]

trains what is not kept yet, the first seed of all rows, then the second; or by the seed
that the project itself set. The recipes are in in_pytorch.py and in_keras.py. What came
out is kept in `results/runs/FRAMEWORK/ROW/seedN.json`, or `own_seed.json`: `epochs`
with `train_loss` and `train_accuracy`, over the epoch while the weights change,
`test_loss` and `test_accuracy` after it, and where validation is a split of its own
`validation_loss` and `validation_accuracy`; accuracies in per cent.
"""

import argparse
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.training.provenance import cpu_model, git_commit
from results import keep
from results.program import Parser, told
from results.reproduction import runs as runs_lib
from results.runner import check_checkout

Epochs = Sequence[Mapping[str, float]]
# By the modules here, which are the folders of `results/runs`: what they are called.
FRAMEWORKS: Mapping[str, str] = MappingProxyType(
    {'in_pytorch': 'PyTorch', 'in_keras': 'Keras'}
)
# Likewise, with those that a script which runs by itself keeps in the same way.
GROUPS: Mapping[str, str] = MappingProxyType(
    {**FRAMEWORKS, 'in_tensorflow_2_1': 'TensorFlow 2.1'}
)
# Of each row, at least, from 0; fewer where ours are.
NUM_SEEDS = 5
# The file of a run by the seed that the project set.
_OWN_SEED = 'own_seed'


def main() -> None:
    """Trains as the arguments say.

    Exit codes: 1 files differ from the commit; 2 a mistake in the arguments, or a
    package is not installed; 130 interrupted.
    """
    with told():
        arguments = _parse()
        framework = _import(arguments.framework)
        rows, needs = framework.ROWS, framework.NEEDS
        if unknown := [row for row in arguments.rows if row not in rows]:
            raise unknown_name('row', unknown[0], rows)
        _check_installed(needs[row] for row in arguments.rows if row in needs)
        if arguments.own_seed:
            _check_own_seeds(framework, arguments.rows)
            runs = [
                (row, framework.OWN_SEEDS[row], _OWN_SEED) for row in arguments.rows
            ]
        else:
            seeds = range(arguments.seeds)
            runs = [(row, n, f'seed{n}') for n in seeds for row in arguments.rows]
        for row, seed, name in runs:
            path = keep.RUNS / arguments.framework / row / f'{name}.json'
            _train_and_keep(framework, row, seed, path)


def _parse() -> argparse.Namespace:
    parser = Parser(
        prog='results.reproduction.frameworks',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('framework', metavar='FRAMEWORK', help=', '.join(FRAMEWORKS))
    parser.add_argument('rows', nargs='+', metavar='ROW', help='see its ROWS')
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument('--seeds', type=int, default=NUM_SEEDS, help='how many')
    seeds.add_argument(
        '--own_seed', action='store_true', help="the project's own seed instead"
    )
    arguments = parser.parse_args()
    if arguments.framework not in FRAMEWORKS:
        raise unknown_name('framework', arguments.framework, FRAMEWORKS)
    if arguments.seeds < 1:
        raise UserError(f'--seeds must be at least 1, not {arguments.seeds}')
    return arguments


def _import(framework: str) -> ModuleType:
    try:
        return importlib.import_module(f'results.reproduction.{framework}')
    except ImportError as error:
        raise UserError(
            f'{error}; results/reproduction/{framework}.py says what it needs'
        ) from error


def _check_installed(packages: Iterable[str]) -> None:
    for package in packages:
        if not importlib.util.find_spec(package):
            raise UserError(f'a row needs {package}, which is not installed')


def _check_own_seeds(framework: ModuleType, rows: Iterable[str]) -> None:
    for row in rows:
        if row not in framework.OWN_SEEDS:
            raise UserError(f'--own_seed: the project of {row} set none')


def _train_and_keep(framework: ModuleType, row: str, seed: int, path: Path) -> None:
    if path.exists():
        return
    # Files may have been changed during the run before.
    check_checkout()
    commit = git_commit()
    epochs: Epochs = framework.train(row, seed)
    values = {
        'seed': seed,
        'git_commit': commit,
        **framework.versions(),
        'cpu': cpu_model(),
        'cores': len(os.sched_getaffinity(0)),
        'finished': time.strftime('%Y-%m-%d'),
        'epochs': epochs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    workdir_lib.write_json(epath.Path(path), values)
    print(path, epochs[-1], flush=True)


def read(runs: Path, group: str, row: str) -> dict[int, dict[str, Any]]:
    """What is kept of each seed of a row."""
    paths = (runs / group / row).glob('seed*.json')
    found = [json.loads(path.read_text()) for path in paths]
    return {one['seed']: one for one in sorted(found, key=lambda one: one['seed'])}


def read_own_seed(runs: Path, group: str, row: str) -> dict[str, Any] | None:
    """What is kept of a row by its project's own seed; None if nothing is."""
    path = runs / group / row / f'{_OWN_SEED}.json'
    return json.loads(path.read_text()) if path.exists() else None


def select(epochs: Epochs, epoch: str) -> Mapping[str, float]:
    """The epoch that `recipe.EPOCHS` names.

    By the validation split, or where a project has none by the test set, as it did.

    Raises:
      ValueError: there is no such epoch.
    """
    split = 'validation' if 'validation_loss' in epochs[0] else 'test'
    lines = [
        {**one, 'loss': one[f'{split}_loss'], 'accuracy': one[f'{split}_accuracy']}
        for one in epochs
    ]
    return runs_lib.select(lines, epoch)


if __name__ == '__main__':
    main()
