"""Rows like those of results/frontier/rows.py, and real kept runs as theirs."""

import json
import shutil
from pathlib import Path

import pytest

from results.frontier import ablations, choices, figures, runs, tables, train
from results.frontier.rows import CALIBRATE, FLIP, Goal, Row
from results.frontier.runs import GROUP
from tests.kept_runs import SEEDS, edit

# Trains in a second or two, on few images.
OVERRIDES = {
    'data.train_split': 'train[:640]',
    'data.validation_split': 'train[55000:55500]',
    'data.test_split': 'test[:500]',
    'num_epochs': 2,
}
TRIAL = Row('a-trial', 'a', 'seeds/linear', OVERRIDES, num_seeds=1, trial_of='a')
SCORED = Row(
    'a',
    'a',
    'seeds/linear',
    OVERRIDES,
    is_scored=True,
    chosen_from='a-trial',
    evaluation=(CALIBRATE,),
    is_robustness_scored=True,
)
VIEWS = Row(
    'a-flip',
    'a, and mirrored',
    is_scored=True,
    chosen_from='a-trial',
    runs_of='a',
    evaluation=(FLIP,),
)
ENSEMBLE = Row(
    'a-ensemble',
    'a, three of them',
    num_seeds=1,
    is_scored=True,
    chosen_from='a-trial',
    members=('a', 'a+1', 'a+2'),
)
BASE = Row('base', 'nothing', 'seeds/linear', OVERRIDES)
PART = Row('part', 'a part', 'seeds/linear', OVERRIDES, compared_with='base')
TAUGHT = Row('taught', 'b', 'seeds/linear', OVERRIDES, teachers=('base',))
MIRRORED = Row(
    'mirrored', 'c', runs_of='base', evaluation=(FLIP,), compared_with='base'
)
LARGE = Row('large', 'd', 'seeds/linear', OVERRIDES, needs='accelerator')
ROWS = (TRIAL, SCORED, VIEWS, ENSEMBLE, BASE, PART, TAUGHT, MIRRORED, LARGE)
GOALS = (Goal('few', '89.1', 92.0, ('a',), ('a-flip', 'a-ensemble'), limit=8000),)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts these rows and goals in the place of the real ones."""
    for module in (train, ablations, choices, figures, runs, tables):
        monkeypatch.setattr(module, 'ROWS', ROWS)
    monkeypatch.setattr(tables, 'GOALS', GOALS)


def put(runs: Path, row: Row, seed: int, source: int | None = None) -> Path:
    """A real run of TinyVGG, kept as that of a row; scored as the row is."""
    folder = runs / GROUP / row.name / f'seed{seed}'
    shutil.copytree(SEEDS / f'seed{seed if source is None else source}', folder)
    scores = folder / 'eval' / 'test'
    if not (row.is_scored or row.evaluation):
        shutil.rmtree(folder / 'eval')
        return folder
    edit(scores / 'metrics.json', split=row.split)
    scores.rename(folder / 'eval' / row.evaluation_folder)
    return folder


def put_ensemble(runs: Path, accuracy: float, num_parameters: int) -> None:
    """Scores of an ensemble."""
    folder = runs / GROUP / ENSEMBLE.name / 'seed0'
    (folder / 'eval' / 'test').mkdir(parents=True)
    (folder / 'ensemble.json').write_text('{"members": []}')
    scores = {'split': 'test', 'accuracy': accuracy, 'num_parameters': num_parameters}
    (folder / 'eval' / 'test' / 'metrics.json').write_text(json.dumps(scores))
