"""What the kept runs of the five projects' recipes came to.

A run of recipe ROW is kept in `results/runs/reproduction/ROW/seedN`; see
`results/reproduction/train.py`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.runs import Run
from results import keep
from results.reproduction.recipes.recipe import (
    LR_RANGE_TEST_EPOCHS,
    Reading,
    Recipe,
)

GROUP = 'reproduction'


@dataclasses.dataclass(frozen=True)
class Kept:
    """The small files of one run of a recipe.

    Attributes:
      folder: that they are in.
      run: what an ordinary run left; None of one that diverged in its first epoch, and
        of one over learning rates.
      others: what the other JSON files hold, by name.
    """

    folder: Path
    run: Run | None
    others: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> 'Kept':
        """Reads a folder that `results/keep.py` wrote."""
        names = (workdir_lib.DIVERGENCE, keep.LR_RANGE_TEST, keep.BATCH_STATISTICS)
        others = {
            name: json.loads((folder / name).read_text())
            for name in names
            if (folder / name).exists()
        }
        is_ordinary = others.keys().isdisjoint(
            (workdir_lib.DIVERGENCE, keep.LR_RANGE_TEST)
        )
        return cls(folder, Run.read(folder) if is_ordinary else None, others)

    @property
    def diverged(self) -> bool:
        """Whether training stopped because the loss was no longer finite."""
        return workdir_lib.DIVERGENCE in self.others


def kept_folder(runs: Path, recipe: Recipe, seed: int) -> Path:
    """Where the small files of a run are kept."""
    return runs / GROUP / recipe.name / f'seed{seed}'


def read_recipe(runs: Path, recipe: Recipe) -> list[Kept]:
    """The runs of a recipe that are kept, by seed."""
    seeds = range(recipe.num_seeds)
    folders = [kept_folder(runs, recipe, seed) for seed in seeds]
    return [Kept.read(folder) for folder in folders if folder.exists()]


def figures(kept: Kept, reading: Reading) -> dict[str, float]:
    """What a run came to, by metric; accuracies in per cent.

    A sweep of learning rates that led to no suggestion has no `learning_rate`.

    Raises:
      UserError: the test set was scored with another checkpoint than the reading's, or
        a sweep of learning rates stopped before its last epoch.
    """
    if reading.source == 'lr_range_test':
        return _sweep_figures(kept)
    line = select(_scored(kept, reading.source), reading.epoch)
    train = kept.run.lines('train')[line['epoch'] - 1]
    found = {
        'train_loss': train['loss'],
        'train_accuracy': 100 * train['accuracy'],
    }
    test = line
    if reading.source == 'evaluation':
        found['validation_accuracy'] = 100 * line['accuracy']
        test = _evaluation(kept, line['step'])
    found['test_loss'], found['test_accuracy'] = test['loss'], 100 * test['accuracy']
    if 'shirt_f1' in reading.published:
        classes = _evaluation(kept, line['step'])['per_class']
        (shirt,) = (entry for entry in classes if entry['name'] == 'Shirt')
        found['shirt_f1'] = 100 * shirt['f1']
    return found


def _sweep_figures(kept: Kept) -> dict[str, float]:
    test = kept.others[keep.LR_RANGE_TEST]
    num_epochs = len(test['validation_loss'])
    if num_epochs < LR_RANGE_TEST_EPOCHS:
        raise UserError(
            f'{kept.folder / keep.LR_RANGE_TEST} ends after {num_epochs} of '
            f'{LR_RANGE_TEST_EPOCHS} epochs, and is no figure of the last; remove '
            f'{kept.folder}'
        )
    found = {
        'train_loss': test['loss'][-1],
        'test_loss': test['validation_loss'][-1],
        'test_accuracy': 100 * test['validation_accuracy'][-1],
    }
    if test['suggestion'] is not None:
        found['learning_rate'] = test['suggestion']
    return found


def _scored(kept: Kept, source: str) -> Sequence[Mapping[str, Any]]:
    """`epoch`, `step`, `loss` and `accuracy` of the epochs, as a source has them."""
    if not source.startswith('batch_statistics'):
        return kept.run.lines('validation')
    pixels = 'scaled' if source.endswith('scaled') else 'raw'
    epochs = kept.others[keep.BATCH_STATISTICS]['epochs']
    return [{**epoch, **epoch[pixels]} for epoch in epochs]


def select(lines: Sequence[Mapping[str, Any]], epoch: str) -> Mapping[str, Any]:
    """The line of the epoch that `recipe.EPOCHS` names, the earliest on ties.

    Args:
      lines: of each epoch, with `loss` and `accuracy` on what is validated on.
      epoch: one of `recipe.EPOCHS`.

    Raises:
      ValueError: it is none of them.
    """
    if epoch == 'last':
        return lines[-1]
    if epoch == 'lowest_loss':
        return min(lines, key=lambda line: line['loss'])
    if epoch == 'highest_accuracy':
        return max(lines, key=lambda line: line['accuracy'])
    raise ValueError(f'unknown epoch {epoch!r}')


def _evaluation(kept: Kept, step: int) -> Mapping[str, Any]:
    metrics = kept.run.evaluations['test']
    if metrics['checkpoint_step'] != step:
        raise UserError(
            f'{kept.folder}: the test set was scored at step '
            f'{metrics["checkpoint_step"]}, not {step}; score that one'
        )
    return metrics
