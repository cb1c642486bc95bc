"""Recipes of the five projects in other frameworks: what in_pytorch and in_keras share.

What came out is kept in `results/runs/GROUP/ROW/seedN.json`, `epochs` with
`train_loss` and `train_accuracy`, over the epoch while the weights change, `test_loss`
and `test_accuracy` after it, and where validation is a split of its own
`validation_loss` and `validation_accuracy`; accuracies in per cent.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.training.provenance import cpu_model, git_commit
from results import keep
from results.program import Parser
from results.reproduction import runs as runs_lib
from results.runner import Failure, check_checkout

Epochs = Sequence[Mapping[str, float]]
# Of each row, at least, from 0.
NUM_SEEDS = 5


def main(
    description: str,
    group: str,
    rows: Collection[str],
    train: Callable[[str, int], Epochs],
    versions: Mapping[str, str],
) -> None:
    """Trains what is not kept yet, the first seed of all rows, then the second.

    Exit codes: 1 if files differ from the commit, 2 for a mistake in the arguments.

    Args:
      description: of the script, in one line.
      group: the folder of `results/runs` to keep in.
      rows: that can be asked for, by the names of results/reproduction/recipes/.
      train: of a row and a seed.
      versions: of the framework's packages.
    """
    parser = Parser(description=description)
    parser.add_argument('rows', nargs='+', metavar='ROW')
    parser.add_argument('--seeds', type=int, default=NUM_SEEDS)
    try:
        arguments = parser.parse_args()
        if unknown := [row for row in arguments.rows if row not in rows]:
            raise unknown_name('row', unknown[0], rows)
        if arguments.seeds < 1:
            raise UserError(f'--seeds must be at least 1, not {arguments.seeds}')
        check_checkout()
        for seed in range(arguments.seeds):
            for row in arguments.rows:
                path = keep.RUNS / group / row / f'seed{seed}.json'
                if not path.exists():
                    _write(path, seed, versions, train(row, seed))
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
    except Failure as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print('interrupted; run the same command again to go on', file=sys.stderr)
        sys.exit(130)


def _write(path: Path, seed: int, versions: Mapping[str, str], epochs: Epochs) -> None:
    values = {
        'seed': seed,
        'git_commit': git_commit(),
        **versions,
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
