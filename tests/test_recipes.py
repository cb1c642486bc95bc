"""Rows of the five projects, against their configs and the runs that are kept."""

import importlib
import json
import re
import statistics

import numpy as np
import pytest
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.reporting.runs import Run
from results import figures, frameworks, keep, reproduction
from results.recipes import EPOCHS, PROJECTS, RECIPES, SOURCES, Recipe
from tests.reproducing import BY_NAME, RUNS

KEPT = sorted((RUNS / figures.GROUP).glob('*/seed*'))


def config_of(recipe: Recipe) -> ConfigDict:
    """As the command line makes it."""
    name, *variant = recipe.config.split(':')
    module = importlib.import_module(f'configs.seeds.{name}')
    config = module.get_config(*variant)
    config.update_from_flattened_dict(dict(recipe.overrides))
    return config


def test_names_of_rows_are_names_of_folders_of_their_own():
    assert len(BY_NAME) == len(RECIPES)
    assert all(re.fullmatch(r'[\w.-]+', name) for name in BY_NAME)
    assert {recipe.project for recipe in RECIPES} == set(PROJECTS)


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_fits_its_config(recipe):
    config = config_of(recipe)
    config_lib.validate(config)
    json.dumps(config_lib.to_dict(config), allow_nan=False)  # As it is written.
    # Every epoch is scored on the test set, or the checkpoint that is read.
    assert (config.data.validation_split == 'test') or recipe.evaluated_at
    every_epoch = recipe.has_batch_statistics or recipe.evaluated_at == 'lowest_loss'
    if every_epoch:
        assert config.checkpoint.keep_last >= config.num_epochs
    if recipe.has_batch_statistics:
        # No checkpoint within an epoch may take the place of an epoch's.
        assert config.checkpoint.every_minutes is None
    assert bool(recipe.order) == (config.data.idx_dir is not None)
    if recipe.order:
        assert config.data.idx_dir.endswith(recipe.order)
    for reading in recipe.readings:
        assert reading.epoch in EPOCHS
        assert reading.source in SOURCES
        assert reading.published.keys() <= reproduction.METRICS.keys()
        assert reading.explanations.keys() <= reading.published.keys()
        assert reading.not_judged.keys() <= reading.published.keys()
        for text in reading.published.values():
            assert isinstance(text, str)
            assert np.isfinite(float(text))
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
        test = json.loads((folder / keep.LR_RANGE_TEST).read_text())
        assert re.fullmatch('[0-9a-f]{40}', test['provenance']['git_commit'])
        kept = test['config']
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
    if not seconds:
        return
    fastest = min(seconds)
    least = 5 if fastest < 600 else 3 if fastest < 3600 else 1
    assert recipe.num_seeds >= least


def test_what_explanations_say_of_kept_runs_is_so():
    """The numbers in the sentences of results/recipes.py, from the runs again."""
    runs = RUNS / figures.GROUP
    linear = [
        line['accuracy']
        for seed in range(5)
        for line in Run.read(runs / 'linear_v0' / f'seed{seed}').lines('validation')
    ]
    assert (sum(x < 0.7089 for x in linear), len(linear)) == (13, 50)

    def epochs(row: str, seed: int) -> list[dict]:
        path = runs / row / f'seed{seed}' / 'batch_statistics.json'
        return [x['raw'] for x in json.loads(path.read_text())['epochs']]

    late = [
        100 * epoch['accuracy']
        for seed in range(5)
        for epoch in epochs('bn_cnn-1000-0.01', seed)[-4:]
    ]
    assert (min(late), max(late)) == (pytest.approx(89.79), pytest.approx(90.95))
    assert sum(x > 90.75 for x in late) == 3
    before = [epochs('bn_cnn-100-0.001', seed)[-2]['loss'] for seed in range(5)]
    assert f'{statistics.mean(before):.3f}' == '0.364'
    assert f'{statistics.stdev(before):.3f}' == '0.012'
    variances = []
    for row in (r.name for r in RECIPES if r.project == 'S4'):
        kept = [int(path.name[4:]) for path in (runs / row).glob('seed*')]
        best = [max(x['accuracy'] for x in epochs(row, seed)) for seed in kept]
        variances.append(statistics.variance(100 * x for x in best))
    assert statistics.mean(variances) ** 0.5 == pytest.approx(0.17, abs=0.015)


@pytest.mark.parametrize(
    ('group', 'row', 'metric'),
    [
        ('in_pytorch', 'keras_tinyvgg', 'test_loss'),
        ('in_keras', 'keras_tinyvgg', 'test_loss'),
        ('in_keras', 'keras_cnns-arch1', 'test_loss'),
        ('in_pytorch', 'tinyvgg_sgd-lr_0.05', 'train_loss'),
        ('in_pytorch', 'tinyvgg_sgd-original_and_augmented', 'train_loss'),
    ],
)
def test_published_figures_are_within_the_limits_of_other_frameworks(
    group, row, metric
):
    """As explanations say that they are."""
    reading = BY_NAME[row].readings[0]
    values = [
        frameworks.select(epochs, reading.epoch)[metric]
        for epochs in frameworks.read(RUNS, group, row)
    ]
    limit = 2 * statistics.stdev(values) * (1 + 1 / len(values)) ** 0.5
    assert abs(float(reading.published[metric]) - statistics.mean(values)) <= limit
