"""Rows of the five projects, and copies of real runs kept as those of one."""

import json
import shutil
from pathlib import Path

import numpy as np

from results import keep
from results.reproduction import runs as runs_lib
from results.reproduction.recipes import RECIPES
from results.reproduction.recipes.recipe import Reading, Recipe
from tests.conftest import ROOT
from tests.kept_runs import SEEDS

RUNS = ROOT / 'results' / 'runs'
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
TINY = Recipe(
    'tiny',
    'S2',
    'tiny',
    'linear',
    (Reading(published={'test_accuracy': '80.00'}),),
    {
        'data.train_split': 'train[:640]',
        'data.validation_split': 'test[:500]',
        'num_epochs': 2,
    },
    num_seeds=2,
)


def copy_runs(folder: Path) -> Path:
    """Five real runs, kept as those of one recipe."""
    for seed in range(5):
        target = folder / runs_lib.GROUP / 'real' / f'seed{seed}'
        shutil.copytree(SEEDS / f'seed{seed}', target)
    return folder


def recipe_of(*readings: Reading, **fields: object) -> Recipe:
    return Recipe('real', 'S2', 'a row', 'tinyvgg_sgd', readings, **fields)


def lines_of(runs: Path, seed: int) -> dict[str, list[dict]]:
    """The metrics of a kept run, by split, from the file alone."""
    path = runs / runs_lib.GROUP / 'real' / f'seed{seed}' / 'metrics.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        split: [line for line in lines if line['split'] == split]
        for split in ('train', 'validation')
    }


def at(lines: dict[str, list[dict]], epoch: str) -> int:
    """The index of the epoch of a reading, by NumPy."""
    validation = lines['validation']
    if epoch == 'last':
        return len(validation) - 1
    if epoch == 'lowest_loss':
        return int(np.argmin([line['loss'] for line in validation]))
    return int(np.argmax([line['accuracy'] for line in validation]))


def write_sweep(
    folder: Path, suggestion: float | None, num_epochs: int = 50, accuracy: float = 0.8
) -> Path:
    """What a range test by epochs leaves, as far as it is read; losses are S1's."""
    result = {
        'suggestion': suggestion,
        'loss': [1.0] * (num_epochs - 1) + [0.5361],
        'validation_loss': [1.0] * (num_epochs - 1) + [0.5518],
        'validation_accuracy': [0.7] * (num_epochs - 1) + [accuracy],
    }
    folder.mkdir(parents=True)
    (folder / keep.LR_RANGE_TEST).write_text(json.dumps(result))
    return folder
