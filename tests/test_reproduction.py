"""Rows of the five projects: recipes, how they are run, what is made of them."""

import dataclasses
import fcntl
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from fmnist_jax.training.train import train_and_evaluate
from results import batch_statistics, figures, keep, reproduce, reproduction, tables
from results.recipes import EPOCHS, PROJECTS, RECIPES, SOURCES, Reading, Recipe
from tests.conftest import ROOT, make_small_config, run_script
from tests.kept_runs import SEEDS, read_markdown
from tests.test_bad_input import assert_fails

RUNS = ROOT / 'results' / 'runs'
KEPT = sorted((RUNS / figures.GROUP).glob('*/seed*'))
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
TINY = Recipe(
    'tiny',
    'S2',
    'tiny',
    'linear',
    (Reading(published={'test_accuracy': 80.0}),),
    {
        'data.train_split': 'train[:640]',
        'data.validation_split': 'test[:500]',
        'num_epochs': 2,
    },
    num_seeds=2,
)


def config_of(recipe: Recipe) -> ConfigDict:
    """As the command line makes it."""
    name, *variant = recipe.config.split(':')
    module = importlib.import_module(f'configs.seeds.{name}')
    config = module.get_config(*variant)
    config.update_from_flattened_dict(dict(recipe.overrides))
    return config


# The recipes.


def test_names_of_rows_are_names_of_folders_of_their_own():
    assert len(BY_NAME) == len(RECIPES)
    assert all(re.fullmatch(r'[\w.-]+', name) for name in BY_NAME)
    assert {recipe.project for recipe in RECIPES} == set(PROJECTS)


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_fits_its_config(recipe):
    config = config_of(recipe)
    config_lib.validate(config)
    # Every epoch is scored on the test set, or the checkpoint that is read.
    assert (config.data.validation_split == 'test') or recipe.evaluated_at
    every_epoch = recipe.has_batch_statistics or recipe.evaluated_at == 'lowest_loss'
    if every_epoch:
        assert config.checkpoint.keep_last >= config.num_epochs
    assert bool(recipe.order) == (config.data.idx_dir is not None)
    if recipe.order:
        assert config.data.idx_dir.endswith(recipe.order)
    for reading in recipe.readings:
        assert reading.epoch in EPOCHS
        assert reading.source in SOURCES
        assert reading.published.keys() <= reproduction.METRICS.keys()
        assert reading.explanations.keys() <= reading.published.keys()
        number = re.match(r'epoch (\d+)', reading.title)
        assert not number or int(number[1]) == config.num_epochs
        if reading.source == 'evaluation':
            assert reading.epoch == recipe.evaluated_at


def test_rows_that_nobody_published_are_few():
    """Besides the ways of measuring the same run again."""
    unpublished = [
        recipe.name
        for recipe in RECIPES
        if not any(reading.published for reading in recipe.readings)
    ]
    assert all(name.endswith(('_sound', '-after_epoch')) for name in unpublished)


@pytest.mark.parametrize('folder', KEPT, ids=lambda p: str(p.relative_to(RUNS)))
def test_a_kept_run_is_of_its_recipe(folder):
    recipe = BY_NAME[folder.parent.name]
    assert int(folder.name.removeprefix('seed')) < recipe.num_seeds
    recipe_config = config_of(recipe)
    recipe_config.seed = int(folder.name.removeprefix('seed'))
    if recipe.script == 'lr_range_test':
        kept = json.loads((folder / keep.LR_RANGE_TEST).read_text())['config']
    else:
        kept = json.loads((folder / 'config.json').read_text())
    now = config_lib.to_dict(recipe_config)
    assert config_lib.changed_fields(kept, now, may_extend=False) == []
    if recipe.order:
        made = json.loads((folder / keep.AUGMENTATION).read_text())
        assert (made['order'], made['copies']) == (recipe.order, 2)
        assert made['seed'] == 0


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_there_are_as_many_seeds_as_the_time_of_a_run_allows(recipe):
    seconds = [one.run.seconds for one in figures.read_recipe(RUNS, recipe) if one.run]
    if not seconds or recipe.name.endswith('_sound'):
        return
    fastest = min(seconds)
    least = 5 if fastest < 600 else 3 if fastest < 3600 else 1
    assert recipe.num_seeds >= least


# What is made of kept runs.


@pytest.fixture
def runs(tmp_path) -> Path:
    """Five real runs, kept as those of one recipe."""
    folder = tmp_path / 'runs'
    for seed in range(5):
        target = folder / figures.GROUP / 'real' / f'seed{seed}'
        shutil.copytree(SEEDS / f'seed{seed}', target)
    return folder


def recipe_of(*readings: Reading, **fields: object) -> Recipe:
    return Recipe('real', 'S2', 'a row', 'tinyvgg_sgd', readings, **fields)


def lines_of(runs: Path, seed: int) -> dict[str, list[dict]]:
    """The metrics of a kept run, by split, from the file alone."""
    path = runs / figures.GROUP / 'real' / f'seed{seed}' / 'metrics.jsonl'
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


@pytest.mark.parametrize('epoch', EPOCHS)
def test_figures_are_those_of_the_epoch(epoch, runs):
    recipe = recipe_of(Reading(epoch=epoch))
    for seed, kept in enumerate(figures.read_recipe(runs, recipe)):
        lines = lines_of(runs, seed)
        index = at(lines, epoch)
        train, validation = (lines[split][index] for split in ('train', 'validation'))
        assert figures.figures(kept, recipe.readings[0]) == {
            'train_loss': train['loss'],
            'train_accuracy': 100 * train['accuracy'],
            'test_loss': validation['loss'],
            'test_accuracy': 100 * validation['accuracy'],
        }


def test_figures_of_an_evaluation_are_of_the_epoch_or_refused(runs):
    reading = Reading(
        epoch='highest_accuracy', source='evaluation', published={'shirt_f1': 70.0}
    )
    kept = figures.read_recipe(runs, recipe_of(reading))[2]
    found = figures.figures(kept, reading)
    metrics = json.loads((kept.folder / 'eval/test/metrics.json').read_text())
    matrix = np.array(metrics['confusion_matrix'])
    assert found['test_accuracy'] == pytest.approx(np.trace(matrix) / 100)
    shirt = 200 * matrix[6, 6] / (matrix[6].sum() + matrix[:, 6].sum())
    assert found['shirt_f1'] == pytest.approx(shirt)
    lines = lines_of(runs, 2)['validation']
    best = max(line['accuracy'] for line in lines)
    assert found['validation_accuracy'] == 100 * best
    last = dataclasses.replace(reading, epoch='last')
    with pytest.raises(ValueError, match='scored at step'):
        figures.figures(kept, last)


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
    kept = figures.Kept.read(tmp_path / 'run')
    accuracies = [
        figures.figures(kept, Reading(epoch=epoch, source='batch_statistics'))
        for epoch in EPOCHS
    ]
    assert [one['test_accuracy'] for one in accuracies] == [70.0, 90.0, 80.0]
    scaled = Reading(source='batch_statistics_scaled')
    assert figures.figures(kept, scaled)['test_loss'] == 9.0
    result = {
        'suggestion': 1e-3,
        'loss': [1.0, 0.5],
        'validation_loss': [1.0, 0.6],
        'validation_accuracy': [0.7, 0.8],
    }
    (tmp_path / 'test').mkdir()
    (tmp_path / 'test' / keep.LR_RANGE_TEST).write_text(json.dumps(result))
    kept = figures.Kept.read(tmp_path / 'test')
    assert figures.figures(kept, Reading(source='lr_range_test')) == {
        'train_loss': 0.5,
        'test_loss': 0.6,
        'test_accuracy': 80.0,
        'learning_rate': 1e-3,
    }


def last_accuracies(runs: Path) -> np.ndarray:
    last = [lines_of(runs, seed)['validation'][-1] for seed in range(5)]
    return np.array([100 * line['accuracy'] for line in last])


@pytest.mark.parametrize(('deviations', 'is_beyond'), [(-2.3, True), (2.1, False)])
def test_a_difference_is_judged_by_the_spread_of_a_further_run(
    deviations, is_beyond, runs
):
    values = last_accuracies(runs)
    # 2·√(1 + 1/5) = 2.19 standard deviations.
    published = values.mean() + deviations * values.std(ddof=1)
    reading = Reading(published={'test_accuracy': published})
    (comparison,) = reproduction.compare(runs, recipe_of(reading))
    assert comparison.limit('test_accuracy') == pytest.approx(
        2 * np.std(values, ddof=1) * np.sqrt(1 + 1 / 5)
    )
    assert comparison.beyond == (['test_accuracy'] if is_beyond else [])


def test_the_table_has_means_and_deviations(runs):
    values = last_accuracies(runs)
    reading = Reading('at the end', published={'test_accuracy': values.mean()})
    made = reproduction.project_table(reproduction.compare(runs, recipe_of(reading)))
    header, published, ours = read_markdown(made)
    assert header[2:] == [
        'train loss',
        'train accuracy',
        'test loss',
        'test accuracy',
        'runs',
        'fastest',
    ]
    assert published[:2] == ['a row, at the end', 'published']
    assert published[5] == f'{values.mean():.2f} %'
    assert ours[5] == f'{values.mean():.2f} ± {values.std(ddof=1):.2f} %'
    losses = [lines_of(runs, seed)['train'][-1]['loss'] for seed in range(5)]
    assert ours[2] == f'{np.mean(losses):.4f} ± {np.std(losses, ddof=1):.4f}'
    seconds = [
        sum(line['seconds'] for line in lines_of(runs, seed)['train'])
        for seed in range(5)
    ]
    assert ours[6:] == ['5', f'{min(seconds):.1f} s']
    assert 'beyond ours ± 2·s·√(1 + 1/n): 0 of 1.' in made


def test_an_explained_difference_is_told_and_another_is_an_error(runs):
    values = last_accuracies(runs)
    last = [lines_of(runs, seed)['validation'][-1] for seed in range(5)]
    losses = np.array([line['loss'] for line in last])
    reading = Reading(
        published={'test_accuracy': 50.0, 'test_loss': losses.mean()},
        explanations={'test_accuracy': 'Half of the labels were wrong.'},
    )
    comparisons = reproduction.compare(runs, recipe_of(reading))
    made = reproduction.project_table(comparisons)
    assert f'**{values.mean():.2f} ± {values.std(ddof=1):.2f} %**' in made
    assert 'beyond ours ± 2·s·√(1 + 1/n): 1 of 2:' in made
    (line,) = (line for line in made.splitlines() if line.startswith('- '))
    assert line.startswith('- a row: test accuracy 50.00 % published, ')
    assert line.endswith('. Half of the labels were wrong.')
    unexplained = dataclasses.replace(reading, explanations={})
    with pytest.raises(reproduction.UnexplainedError, match=r'50\.00 % and is .* here'):
        reproduction.project_table(reproduction.compare(runs, recipe_of(unexplained)))


def test_agreement_is_counted_by_project(runs):
    values = last_accuracies(runs)
    readings = (
        Reading(published={'test_accuracy': 50.0, 'train_accuracy': 50.0}),
        Reading(epoch='lowest_loss', published={'test_accuracy': values.mean()}),
    )
    comparisons = [
        *reproduction.compare(runs, recipe_of(*readings)),
        *reproduction.compare(runs, TINY),
    ]
    _, row = read_markdown(reproduction.agreement_table([comparisons]))
    beyond = sum(len(one.beyond) for one in comparisons)
    assert row == ['S2', '1 of 2', '5', '3', str(beyond)]
    assert 2 <= beyond <= 3


def test_a_row_is_judged_when_all_its_runs_are_there(runs):
    shutil.rmtree(runs / figures.GROUP / 'real' / 'seed3')
    reading = Reading(published={'test_accuracy': 50.0})
    made = reproduction.project_table(reproduction.compare(runs, recipe_of(reading)))
    *_, ours = read_markdown(made)
    assert ours[-2] == '4 of 5 so far'
    assert 'No row with published figures is complete yet.' in made


def test_one_run_has_no_spread_to_judge_by(runs):
    reading = Reading(published={'test_accuracy': 50.0})
    recipe = recipe_of(reading, num_seeds=1)
    (comparison,) = reproduction.compare(runs, recipe)
    assert comparison.limit('test_accuracy') is None
    *_, ours = read_markdown(reproduction.project_table([comparison]))
    assert ours[-2] == '1: no spread to judge by'
    assert '±' not in ours[5]


def test_rows_that_are_not_run_say_so(tmp_path):
    reading = Reading(published={'test_accuracy': 50.0})
    for fields, expected in (
        ({}, 'not measured yet'),
        ({'not_run': 'needs an accelerator'}, 'not measured: needs an accelerator'),
    ):
        recipe = recipe_of(reading, **fields)
        made = reproduction.project_table(reproduction.compare(tmp_path, recipe))
        *_, ours = read_markdown(made)
        assert ours == ['', 'here', '-', expected, '']


def test_runs_that_diverged_are_counted_and_left_out(runs):
    values = last_accuracies(runs)[[0, 2, 3, 4]]
    for seed, (name, folder) in enumerate(
        (p.name, p) for p in sorted((runs / figures.GROUP / 'real').iterdir())
    ):
        assert name == f'seed{seed}'
        if seed == 1:
            (folder / 'metrics.jsonl').write_text('')
            (folder / keep.DIVERGENCE).write_text('{"message": "diverged"}')
    reading = Reading(published={'test_accuracy': values.mean()})
    recipe = recipe_of(reading)
    *_, ours = read_markdown(
        reproduction.project_table(reproduction.compare(runs, recipe))
    )
    assert ours[-2] == '5, 1 diverged'
    assert ours[5] == f'{values.mean():.2f} ± {values.std(ddof=1):.2f} %'
    for folder in (runs / figures.GROUP / 'real').iterdir():
        (folder / keep.DIVERGENCE).write_text('{"message": "diverged"}')
    *_, ours = read_markdown(
        reproduction.project_table(reproduction.compare(runs, recipe))
    )
    assert ours == ['', 'here', '-', '5, 5 diverged', '']


def test_runs_that_learned_nothing_are_counted(runs):
    for seed in (0, 3):
        path = runs / figures.GROUP / 'real' / f'seed{seed}' / 'metrics.jsonl'
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line['accuracy'] = 0.0979
        path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    recipe = recipe_of(Reading(published={'test_accuracy': 9.99}))
    comparisons = reproduction.compare(runs, recipe)
    *_, ours = read_markdown(reproduction.project_table(comparisons))
    assert ours[-2] == '5, 2 at chance'


def test_a_configs_docstring_says_what_came_out(runs, monkeypatch):
    values = last_accuracies(runs)
    readings = (Reading('at the end', published={'test_accuracy': 88.0}),)
    rows = (recipe_of(*readings), dataclasses.replace(TINY, config='tinyvgg_sgd'))
    monkeypatch.setattr(reproduction, 'RECIPES', rows)
    text = (
        '"""X.\n\nPublished, and here (tinyvgg_sgd in results/reproduction.md):\nold\n'
    )
    made = tables.render(text + '"""\n', runs)
    lines = made.splitlines()
    assert lines[3:] == [
        '- a row, at the end: test accuracy 88.00 %, here '
        f'{values.mean():.2f} ± {values.std(ddof=1):.2f} % (n = 5).',
        '- tiny: test accuracy 80.00 %, not measured yet.',
        '"""',
    ]
    assert tables.render(made, runs) == made


def test_every_config_of_the_projects_says_so():
    for path in sorted((ROOT / 'configs' / 'seeds').glob('*.py')):
        if path.stem not in ('__init__', 'default'):
            assert f'Published, and here ({path.stem} in ' in path.read_text()
            assert any(recipe.config_name == path.stem for recipe in RECIPES)


def test_the_page_has_a_table_of_each_project():
    text = (ROOT / 'results' / 'reproduction.md').read_text()
    for project in PROJECTS:
        assert f'<!-- table: reproduction {project} -->\n| run |' in text


def test_tables_fail_where_a_difference_is_not_explained(tmp_path):
    for name in ('results', 'configs', 'fmnist_jax'):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / 'README.md', tmp_path / 'README.md')
    row = tmp_path / 'results' / 'runs' / figures.GROUP / 'linear'
    shutil.rmtree(row, ignore_errors=True)
    for seed in range(5):
        shutil.copytree(SEEDS / f'seed{seed}', row / f'seed{seed}')
    done = subprocess.run(
        (sys.executable, '-m', 'results.tables'),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: linear (linear): train loss was published as 0.4629')
    assert 'results/recipes.py' in line


# Running them.


@pytest.fixture
def clean(monkeypatch):
    """Whatever is being changed in the checkout."""
    monkeypatch.setattr(reproduce, '_is_clean_commit', lambda commit: True)


def test_rows_are_run_kept_and_not_run_again(clean, tmp_path, capfd):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    recipe = dataclasses.replace(
        TINY, num_seeds=1, evaluated_at='last', overrides={**TINY.overrides}
    )
    assert reproduce.run([recipe], workdir, runs) == []
    folder = runs / figures.GROUP / 'tiny' / 'seed0'
    assert {path.name for path in folder.iterdir()} == {*keep.FILES, 'eval'}
    config = json.loads((folder / 'config.json').read_text())
    assert (config['model']['name'], config['num_epochs']) == ('linear', 2)
    metrics = json.loads((folder / 'eval' / 'test' / 'metrics.json').read_text())
    assert metrics['checkpoint_step'] == 40
    capfd.readouterr()
    # The work folder is not even looked at.
    shutil.rmtree(workdir)
    assert reproduce.run([recipe], workdir, runs) == []
    assert not workdir.exists()
    assert '0 of 0 runs are done' in capfd.readouterr().out
    assert '1 of 1' in reproduce.summary([recipe], runs)


def test_a_run_that_diverges_is_kept_and_the_others_go_on(clean, tmp_path, capfd):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    overrides = {**TINY.overrides, 'optimizer.learning_rate': 1e38}
    bad = dataclasses.replace(TINY, name='bad', num_seeds=1, overrides=overrides)
    unknown = dataclasses.replace(
        TINY, name='unknown', num_seeds=1, overrides={'no_such_field': 1}
    )
    assert reproduce.run([unknown, bad], workdir, runs) == ['unknown/seed0']
    assert "unknown config field: 'no_such_field'" in capfd.readouterr().err
    (kept,) = figures.read_recipe(runs, bad)
    assert kept.diverged
    assert 'training diverged' in kept.others[keep.DIVERGENCE]['message']
    assert not (runs / figures.GROUP / 'unknown').exists()


def test_what_another_process_works_on_is_left_to_it(clean, tmp_path, capfd):
    folder = tmp_path / 'work' / 'tiny' / 'seed0'
    folder.mkdir(parents=True)
    recipe = dataclasses.replace(TINY, num_seeds=1)
    with (folder / '.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        failed = reproduce.run([recipe], tmp_path / 'work', tmp_path / 'runs')
    assert failed == ['tiny/seed0']
    assert 'another process is at work' in capfd.readouterr().out
    assert [path.name for path in folder.iterdir()] == ['.lock']


def test_commands_are_those_of_the_row():
    recipe = BY_NAME['bn_cnn-500-0.001']
    first, *_ = reproduce._training(recipe, 3, Path('/work'), Path('/data'))
    assert first == (
        'fmnist_jax.main',
        '--config=configs/seeds/bn_cnn.py',
        '--config.batch_size=500',
        '--config.optimizer.learning_rate=0.001',
        '--config.seed=3',
        '--workdir=/work',
    )
    recipe = BY_NAME['keras_cnns-arch2_sound']
    first = next(reproduce._training(recipe, 0, Path('/work'), Path('/data')))
    assert '--config=configs/seeds/keras_cnns.py:arch2_sound' in first
    assert '--config.data.idx_dir=/data/grouped' in first
    recipe = BY_NAME['keras_tinyvgg-lr_range_test']
    (only,) = reproduce._training(recipe, 0, Path('/work'), Path('/data'))
    assert only[0] == 'fmnist_jax.lr_range_test'
    # Of 50 epochs from 0, each 10^(1/20) times the rate of the one before.
    rates = np.geomspace(1e-4, float(dict(a.split('=') for a in only[1:])['--max']), 50)
    np.testing.assert_allclose(rates, 1e-4 * 10 ** (np.arange(50) / 20))


def test_all_rows_that_can_be_run_are_by_default():
    not_run = {recipe.name for recipe in RECIPES if recipe.not_run}
    assert not_run == {'keras_cnns-vgg_like_leaking-80_epochs'}
    assert {recipe.name for recipe in reproduce.find([])} == BY_NAME.keys() - not_run
    with pytest.raises(UserError, match="unknown row 'bn_cn'"):
        reproduce.find(['bn_cn'])


def test_nothing_is_run_from_a_checkout_with_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, '_is_clean', lambda: False)
    arguments = ['reproduce', 'linear', f'--workdir={tmp_path / "work"}']
    monkeypatch.setattr(sys, 'argv', arguments)
    with pytest.raises(SystemExit, match='not committed'):
        reproduce.main()
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('linear',), '--workdir is missing'),
        (('linaer', '--list'), "unknown row 'linaer'; did you mean 'linear'"),
    ],
)
def test_mistakes_are_told(arguments, part):
    done = run_script('results.reproduce', *arguments)
    assert done.returncode in (1, 2)
    assert part in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_the_list_says_what_is_missing(tmp_path):
    folder = tmp_path / figures.GROUP / 'linear' / 'seed1'
    shutil.copytree(SEEDS / 'seed1', folder)
    done = run_script('results.reproduce', 'linear', '--list', f'--runs={tmp_path}')
    assert (done.returncode, done.stderr) == (0, '')
    *_, line = done.stdout.splitlines()
    assert re.fullmatch(r'linear +S2 +1 of 5 +0 2 3 4 +[\d.]+ s', line)


# S4's evaluation.


@pytest.fixture(scope='module')
def bn_run(data_dir, tmp_path_factory) -> Path:
    """A small real run with BatchNorm, all of whose checkpoints are kept."""
    config = make_small_config(data_dir)
    config.model.name = 'bn_cnn'
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.01
    config.num_cpu_devices = 8
    workdir = tmp_path_factory.mktemp('bn') / 'run'
    train_and_evaluate(config, workdir)
    return workdir


def convolve(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], (1, 2))
    return np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2))) + bias


def normalize(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """By the batch's own mean and variance, with PyTorch's epsilon."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def bn_cnn(params: dict, images: np.ndarray) -> np.ndarray:
    """S4's network in training mode, in NumPy and float64."""
    p = {
        layer: {k: np.asarray(v, float) for k, v in params[layer].items()}
        for layer in params
    }
    x = images.astype(float)
    for i in range(2):
        x = convolve(x, p[f'Conv_{i}']['kernel'], p[f'Conv_{i}']['bias'])
        x = normalize(x, p[f'BatchNorm_{i}']['scale'], p[f'BatchNorm_{i}']['bias'])
        n, h, w, c = x.shape
        x = np.maximum(x, 0).reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = x.reshape(len(x), -1) @ p['Dense_0']['kernel'] + p['Dense_0']['bias']
    return np.maximum(x, 0) @ p['Dense_1']['kernel'] + p['Dense_1']['bias']


def test_batch_statistics_are_those_of_all_test_images(bn_run, dataset):
    result = batch_statistics.score(bn_run)
    assert json.loads((bn_run / batch_statistics.FILE).read_text()) == result
    assert [epoch['step'] for epoch in result['epochs']] == [10, 20]
    images, labels = dataset.split('test[:500]')
    assert result['num_examples'] == 500
    for epoch in result['epochs']:
        model = trained.load(epath.Path(bn_run), str(epoch['step']), log=lambda m: None)
        for name, factor in (('raw', 1.0), ('scaled', 1 / 255)):
            logits = bn_cnn(model.params, images * factor)
            assert epoch[name]['accuracy'] == (logits.argmax(1) == labels).mean()
            peak = logits.max(1, keepdims=True)
            log_sums = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
            losses = log_sums - logits[np.arange(500), labels]
            assert epoch[name]['loss'] == pytest.approx(losses.mean(), rel=1e-4)
    # It is not what evaluation mode gives.
    lines = (bn_run / 'metrics.jsonl').read_text().splitlines()
    validation = [json.loads(x) for x in lines if '"validation"' in x]
    assert validation[-1]['loss'] != pytest.approx(result['epochs'][-1]['raw']['loss'])


def test_batch_statistics_of_what_has_none(bn_run, finished_run, tmp_path):
    done = run_script('results.batch_statistics', str(finished_run))
    assert_fails(done, "'tinyvgg' has no BatchNorm")
    with pytest.raises(UserError, match=r'config\.json is missing'):
        batch_statistics.score(tmp_path)
    shutil.copytree(bn_run, tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '10')
    with pytest.raises(UserError, match='no checkpoint 10 in'):
        batch_statistics.score(tmp_path / 'run')
