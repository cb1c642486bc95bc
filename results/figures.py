"""What the kept runs of the five projects' recipes came to.

A run of recipe ROW is kept in `results/runs/reproduction/ROW/seedN`; see
`results/reproduce.py`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax.reporting.runs import Run
from results import keep
from results.recipes import Reading, Recipe

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
        names = (keep.DIVERGENCE, keep.LR_RANGE_TEST, keep.BATCH_STATISTICS)
        others = {
            name: json.loads((folder / name).read_text())
            for name in names
            if (folder / name).exists()
        }
        is_ordinary = others.keys().isdisjoint((keep.DIVERGENCE, keep.LR_RANGE_TEST))
        return cls(folder, Run.read(folder) if is_ordinary else None, others)

    @property
    def diverged(self) -> bool:
        """Whether training stopped because the loss was no longer finite."""
        return keep.DIVERGENCE in self.others


def read_recipe(runs: Path, recipe: Recipe) -> list[Kept]:
    """The runs of a recipe that are kept, by seed."""
    seeds = range(recipe.num_seeds)
    folders = [runs / GROUP / recipe.name / f'seed{seed}' for seed in seeds]
    return [Kept.read(folder) for folder in folders if folder.exists()]


def figures(kept: Kept, reading: Reading) -> dict[str, float]:
    """What a run came to, by metric; accuracies in per cent.

    Raises:
      ValueError: the test set was scored with another checkpoint than the reading's.
    """
    if reading.source == 'lr_range_test':
        test = kept.others[keep.LR_RANGE_TEST]
        return {
            'train_loss': test['loss'][-1],
            'test_loss': test['validation_loss'][-1],
            'test_accuracy': 100 * test['validation_accuracy'][-1],
            'learning_rate': test['suggestion'],
        }
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


def _scored(kept: Kept, source: str) -> Sequence[Mapping[str, Any]]:
    """`epoch`, `step`, `loss` and `accuracy` of the epochs, as a source has them."""
    if not source.startswith('batch_statistics'):
        return kept.run.lines('validation')
    pixels = 'scaled' if source.endswith('scaled') else 'raw'
    epochs = kept.others[keep.BATCH_STATISTICS]['epochs']
    return [{**epoch, **epoch[pixels]} for epoch in epochs]


def select(lines: Sequence[Mapping[str, Any]], epoch: str) -> Mapping[str, Any]:
    """The line of the epoch that `recipes.EPOCHS` names, the earliest on ties."""
    if epoch == 'last':
        return lines[-1]
    if epoch == 'lowest_loss':
        return min(lines, key=lambda line: line['loss'])
    return max(lines, key=lambda line: line['accuracy'])


def _evaluation(kept: Kept, step: int) -> Mapping[str, Any]:
    metrics = kept.run.evaluations['test']
    if metrics['checkpoint_step'] != step:
        raise ValueError(
            f'{kept.folder}: the test set was scored at step '
            f'{metrics["checkpoint_step"]}, not {step}'
        )
    return metrics
