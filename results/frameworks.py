"""Recipes of the five projects in other frameworks: what in_pytorch and in_keras share.

What came out is kept in `results/runs/GROUP/ROW/seedN.json`, `epochs` with
`train_loss` and `train_accuracy`, over the epoch while the weights change, `test_loss`
and `test_accuracy` after it, and where validation is a split of its own
`validation_loss` and `validation_accuracy`; accuracies in per cent.
"""

import argparse
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from fmnist_jax.training.provenance import cpu_model, git_commit
from results import keep

Epochs = Sequence[Mapping[str, float]]


def main(
    description: str,
    group: str,
    rows: Collection[str],
    train: Callable[[str, int], Epochs],
    versions: Mapping[str, str],
) -> None:
    """Trains what is not kept yet, the first seed of all rows, then the second.

    Args:
      description: of the script, in one line.
      group: the folder of `results/runs` to keep in.
      rows: that can be asked for, by the names of results/recipes.py.
      train: of a row and a seed.
      versions: of the framework's packages.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('rows', nargs='+', choices=rows, metavar='ROW')
    parser.add_argument('--seeds', type=int, default=5)
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        for row in arguments.rows:
            path = keep.RUNS / group / row / f'seed{seed}.json'
            if not path.exists():
                _write(path, seed, versions, train(row, seed))


def _write(path: Path, seed: int, versions: Mapping[str, str], epochs: Epochs) -> None:
    values = {
        'seed': seed,
        'git_commit': git_commit(),
        **versions,
        'cpu': cpu_model(),
        'finished': time.strftime('%Y-%m-%d'),
        'epochs': epochs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + '\n')
    print(path, epochs[-1], flush=True)


def read(runs: Path, group: str, row: str) -> list[Epochs]:
    """The epochs of each seed of a row, in the order of the seeds' names."""
    files = sorted((runs / group / row).glob('seed*.json'))
    return [json.loads(path.read_text())['epochs'] for path in files]


def select(epochs: Epochs, epoch: str) -> Mapping[str, float]:
    """The epoch that `recipes.EPOCHS` names: the last, or of the lowest loss."""
    if epoch == 'lowest_loss':
        return min(epochs, key=lambda line: line['validation_loss'])
    return epochs[-1]
