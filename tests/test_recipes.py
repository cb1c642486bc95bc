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
from results import keep, significance
from results.reproduction import frameworks
from results.reproduction import runs as runs_lib
from results.reproduction.recipes import PROJECTS, RECIPES
from results.reproduction.recipes.recipe import EPOCHS, METRICS, SOURCES, Recipe
from tests.reproducing import BY_NAME, RUNS

KEPT = sorted((RUNS / runs_lib.GROUP).glob('*/seed*'))


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
    for project, recipes in PROJECTS.items():
        assert {recipe.project for recipe in recipes} == {project}


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
        assert reading.published.keys() <= METRICS.keys()
        assert reading.explanations.keys() <= reading.published.keys()
        assert reading.not_judged.keys() <= reading.published.keys()
        for text in reading.published.values():
            assert isinstance(text, str)
            assert np.isfinite(float(text))
        number = re.match(r'epoch (\d+)', reading.title)
        assert not number or int(number[1]) == config.num_epochs
        if reading.source == 'evaluation':
            assert reading.epoch == recipe.evaluated_at


def test_what_is_scored_is_kept_whatever_stops_a_run():
    """A stop within an epoch leaves a checkpoint, which must not displace another."""
    for recipe in RECIPES:
        config = config_of(recipe)
        if recipe.has_batch_statistics or recipe.evaluated_at == 'lowest_loss':
            assert config.checkpoint.every_minutes is None
            assert config.checkpoint.keep_last >= config.num_epochs + 100


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
    seconds = [one.run.seconds for one in runs_lib.read_recipe(RUNS, recipe) if one.run]
    if not seconds:
        return
    fastest = min(seconds)
    least = 5 if fastest < 600 else 3 if fastest < 3600 else 1
    assert recipe.num_seeds >= least


def explanation(row: str, metric: str, reading: int = 0) -> str:
    return BY_NAME[row].readings[reading].explanations[metric]


def test_what_is_said_of_s0_is_so():
    """The numbers in the sentences of the recipes, from the runs again."""
    folder = RUNS / runs_lib.GROUP / 'linear_v0'
    runs = [Run.read(folder / f'seed{seed}').lines('validation') for seed in range(5)]
    below = [[line['accuracy'] < 0.7089 for line in run] for run in runs]
    said = explanation('linear_v0', 'test_accuracy', reading=1)
    assert f'of the {np.size(below)} epochs' in said
    assert f'{np.sum(below)} are below 70.89 %' in said
    assert not any(run[9] for run in below)


def s4_epochs(row: str) -> list[list[dict[str, float]]]:
    """As S4 scored the test set: of each kept run, its epochs."""
    paths = sorted((RUNS / runs_lib.GROUP / row).glob(f'seed*/{keep.BATCH_STATISTICS}'))
    assert len(paths) == 5
    runs = [json.loads(path.read_text())['epochs'] for path in paths]
    return [[epoch['raw'] for epoch in run] for run in runs]


def test_what_is_said_of_s4_with_batches_of_1000_is_so():
    runs = s4_epochs('bn_cnn-1000-0.01')
    late = [100 * epoch['accuracy'] for run in runs for epoch in run[-4:]]
    said = explanation('bn_cnn-1000-0.01', 'test_accuracy')
    assert f'have {min(late):.2f} to {max(late):.2f} %' in said
    assert sum(x > 90.75 for x in late) == 3
    assert 'three of the twenty above 90.75 %' in said
    variances = []
    for row in (r.name for r in PROJECTS['S4']):
        best = [max(x['accuracy'] for x in run) for run in s4_epochs(row)]
        variances.append(statistics.variance(100 * x for x in best))
    deviation = statistics.mean(variances) ** 0.5
    said = explanation('bn_cnn-1000-0.01', 'test_accuracy', reading=1)
    assert f'spread by about {deviation:.2f} points' in said
    best = [100 * max(x['accuracy'] for x in run) for run in runs]
    distance = abs(91.09 - statistics.mean(best))
    assert 'by which it is within the limit' in said
    assert distance <= 2 * deviation * (1 + 1 / 5) ** 0.5


def test_what_is_said_of_s4_with_batches_of_100_is_so():
    runs = [[x['loss'] for x in run] for run in s4_epochs('bn_cnn-100-0.001')]
    before = [run[-2] for run in runs]
    said = explanation('bn_cnn-100-0.001', 'test_loss')
    mean, deviation = statistics.mean(before), statistics.stdev(before)
    assert f'{mean:.3f} ± {deviation:.3f}' in said
    largest = np.diff(np.array(runs)[:, 8:]).max()
    assert f'no epoch of ours is more than {largest:.3f} above' in said


def test_what_is_said_of_s1_in_both_frameworks_is_so():
    recipe = BY_NAME['keras_tinyvgg']
    page = (RUNS.parent / 'reproduction.md').read_text()
    ours = [
        runs_lib.figures(kept, recipe.readings[0])
        for kept in runs_lib.read_recipe(RUNS, recipe)
    ]
    theirs = [
        values['epochs'][-1]
        for group in frameworks.FRAMEWORKS
        for values in frameworks.read(RUNS, group, recipe.name).values()
    ]
    assert (len(theirs), len(ours)) == (15, 10)
    for metric, digits in (('test_accuracy', 2), ('test_loss', 4)):
        sides = [[one[metric] for one in side] for side in (theirs, ours)]
        difference, p = significance.difference(*sides, digits)
        assert f'{difference}' in page
        assert f'(p = {p})' in page
        figure = float(recipe.readings[0].published[metric])
        assert not significance.is_beyond(figure, [*sides[0], *sides[1]])


# After ten epochs of S3's three runs of arch2 whose logs there are: those that its
# notebooks classification_v3_dataAug and classification_v1_dataAug show, and, at commit
# 48009e5, classification_main.
S3_TENTH = {
    'train_loss': (0.2107, 0.2126, 0.2134),
    'train_accuracy': (92.19, 92.01, 92.03),
}


@pytest.mark.parametrize(
    ('metric', 'digits'), [('train_loss', 4), ('train_accuracy', 2)]
)
def test_what_is_said_of_s3s_tenth_epoch_is_so(metric, digits):
    published, *others = S3_TENTH[metric]
    kept = runs_lib.read_recipe(RUNS, BY_NAME['keras_cnns-arch2_leaking'])
    ours = [one.run.lines('train')[-1] for one in kept]
    factor, key = (100, 'accuracy') if metric == 'train_accuracy' else (1, 'loss')
    ours = [factor * line[key] for line in ours]
    said = explanation('keras_cnns-arch2_leaking', metric)
    mean, deviation = statistics.mean(ours), statistics.stdev(ours)
    assert f'{mean:.{digits}f} ± {deviation:.{digits}f}' in said
    assert ' and '.join(f'{x:.{digits}f}' for x in others) in said
    within = [not significance.is_beyond(x, ours) for x in (published, *others)]
    assert within == [metric == 'train_loss', True, True]


def test_what_is_said_of_the_first_epoch_of_arch1_and_arch2_is_so():
    page = (RUNS.parent / 'reproduction.md').read_text()
    said = []
    for row in ('keras_cnns-arch2_leaking', 'keras_cnns-arch1_leaking'):
        kept = runs_lib.read_recipe(RUNS, BY_NAME[row])
        losses = [one.run.lines('validation')[0]['loss'] for one in kept]
        said.append(f'{min(losses):.3f} to {max(losses):.3f}')
    arch2, arch1 = said
    text = f'our runs of `arch2` have {arch2}, those of `arch1` {arch1}'
    assert text in ' '.join(page.split())


@pytest.mark.parametrize(
    ('row', 'is_it'),
    [
        ('tinyvgg_sgd-lr_0.05', True),
        ('tinyvgg_sgd-original_and_augmented', False),
    ],
)
def test_what_is_said_of_s2s_own_seed_is_so(row, is_it):
    epoch = frameworks.read_own_seed(RUNS, 'in_pytorch', row)['epochs'][-1]
    loss, accuracy = epoch['train_loss'], epoch['train_accuracy']
    said = explanation(row, 'train_loss')
    assert f'has {loss:.4f} and {accuracy:.2f} %' in said
    # Its GPU alone made a difference of 0.0035 between two trainings of one seed.
    published = float(BY_NAME[row].readings[0].published['train_loss'])
    assert (abs(loss - published) <= 0.0035) == is_it
    assert ("It is S2's seed" in said) == is_it


# Of which explanations say that all runs together are within, or beyond, the limit.
OTHER_FRAMEWORKS = (
    ('in_pytorch', 'keras_tinyvgg', 'test_loss', True),
    ('in_keras', 'keras_cnns-arch1', 'test_loss', True),
    ('in_pytorch', 'tinyvgg_sgd-lr_0.05', 'train_loss', True),
    ('in_pytorch', 'tinyvgg_sgd-lr_0.05', 'train_accuracy', True),
    ('in_pytorch', 'tinyvgg_sgd-original_and_augmented', 'train_loss', False),
    ('in_pytorch', 'tinyvgg_sgd-original_and_augmented', 'train_accuracy', False),
    ('in_pytorch', 'bn_cnn-500-0.001', 'train_accuracy', False),
    ('in_pytorch', 'bn_cnn-100-0.001', 'test_loss', False),
    ('in_tensorflow_2_1', 'keras_cnns-vgg_like_leaking', 'validation_accuracy', False),
    ('in_tensorflow_2_1', 'keras_cnns-vgg_like_leaking', 'test_loss', False),
)


def test_what_is_said_of_other_frameworks_is_checked():
    said = {
        (recipe.name, metric)
        for recipe in RECIPES
        for metric, text in recipe.readings[0].explanations.items()
        if any(name in text for name in ('Keras', 'PyTorch', 'TensorFlow 2.1'))
    }
    assert said == {(row, metric) for _, row, metric, _ in OTHER_FRAMEWORKS}


@pytest.mark.parametrize(('group', 'row', 'metric', 'is_within'), OTHER_FRAMEWORKS)
def test_what_is_said_of_all_runs_together_is_so(group, row, metric, is_within):
    """Ours, and those of another framework."""
    said = explanation(row, metric)
    assert ('is within the limit of our runs and ' in said) == is_within
    assert ('is beyond all those runs together' in said) == (not is_within)
    reading = BY_NAME[row].readings[0]
    theirs = [
        frameworks.select(values['epochs'], reading.epoch)[metric]
        for values in frameworks.read(RUNS, group, row).values()
    ]
    kept = runs_lib.read_recipe(RUNS, BY_NAME[row])
    ours = [runs_lib.figures(one, reading)[metric] for one in kept]
    together = np.array([*theirs, *ours])
    distance = abs(float(reading.published[metric]) - together.mean())
    limit = 2 * together.std(ddof=1) * np.sqrt(1 + 1 / len(together))
    assert (distance <= limit) == is_within
    if 'comes to what ours does' in said:
        assert float(significance.difference(theirs, ours)[1]) > 0.05
    assert limit == pytest.approx(significance.limit(together))
