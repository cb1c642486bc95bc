"""What kept runs came to, against their files."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax.errors import UserError
from results import keep
from results.reproduction import runs as runs_lib
from results.reproduction.recipes.recipe import EPOCHS, Reading
from tests import reproducing
from tests.kept_runs import SEEDS
from tests.reproducing import at, lines_of, recipe_of, write_sweep


@pytest.fixture
def runs(tmp_path) -> Path:
    return reproducing.copy_runs(tmp_path / 'runs')


@pytest.mark.parametrize('epoch', EPOCHS)
def test_figures_are_those_of_the_epoch(epoch, runs):
    recipe = recipe_of(Reading(epoch=epoch))
    for seed, kept in enumerate(runs_lib.read_recipe(runs, recipe)):
        lines = lines_of(runs, seed)
        index = at(lines, epoch)
        train, validation = (lines[split][index] for split in ('train', 'validation'))
        assert runs_lib.figures(kept, recipe.readings[0]) == {
            'train_loss': train['loss'],
            'train_accuracy': 100 * train['accuracy'],
            'test_loss': validation['loss'],
            'test_accuracy': 100 * validation['accuracy'],
        }


def test_figures_of_an_evaluation_are_of_the_epoch_or_refused(runs):
    reading = Reading(
        epoch='highest_accuracy', source='evaluation', published={'shirt_f1': '70.00'}
    )
    kept = runs_lib.read_recipe(runs, recipe_of(reading))[2]
    found = runs_lib.figures(kept, reading)
    metrics = json.loads((kept.folder / 'eval/test/metrics.json').read_text())
    matrix = np.array(metrics['confusion_matrix'])
    assert found['test_accuracy'] == pytest.approx(np.trace(matrix) / 100)
    shirt = 200 * matrix[6, 6] / (matrix[6].sum() + matrix[:, 6].sum())
    assert found['shirt_f1'] == pytest.approx(shirt)
    lines = lines_of(runs, 2)['validation']
    best = max(line['accuracy'] for line in lines)
    assert found['validation_accuracy'] == 100 * best
    last = dataclasses.replace(reading, epoch='last')
    with pytest.raises(UserError, match='scored at step'):
        runs_lib.figures(kept, last)


def test_figures_of_batch_statistics_and_of_a_range_test(tmp_path):
    epochs = [
        {'epoch': e, 'step': e, 'raw': raw, 'scaled': {'loss': 9.0, 'accuracy': 0.1}}
        for e, raw in enumerate(
            (
                {'loss': 0.5, 'accuracy': 0.9},
                {'loss': 0.4, 'accuracy': 0.8},
                {'loss': 0.6, 'accuracy': 0.7},
            ),
            start=1,
        )
    ]
    shutil.copytree(SEEDS / 'seed0', tmp_path / 'run')
    (tmp_path / 'run' / keep.BATCH_STATISTICS).write_text(
        json.dumps({'epochs': epochs})
    )
    kept = runs_lib.Kept.read(tmp_path / 'run')
    accuracies = [
        runs_lib.figures(kept, Reading(epoch=epoch, source='batch_statistics'))
        for epoch in EPOCHS
    ]
    assert [one['test_accuracy'] for one in accuracies] == [70.0, 90.0, 80.0]
    scaled = Reading(source='batch_statistics_scaled')
    assert runs_lib.figures(kept, scaled)['test_loss'] == 9.0
    kept = runs_lib.Kept.read(write_sweep(tmp_path / 'test', 1e-3))
    assert runs_lib.figures(kept, Reading(source='lr_range_test')) == {
        'train_loss': 0.5361,
        'test_loss': 0.5518,
        'test_accuracy': 80.0,
        'learning_rate': 1e-3,
    }


def test_a_sweep_that_stopped_early_is_refused(tmp_path):
    kept = runs_lib.Kept.read(write_sweep(tmp_path / 'test', 1e-3, num_epochs=49))
    with pytest.raises(UserError, match='ends after 49 of 50 epochs') as caught:
        runs_lib.figures(kept, Reading(source='lr_range_test'))
    assert '\n' not in str(caught.value)
