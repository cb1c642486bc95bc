"""The rows and goals of results/frontier/rows.py, and what is kept of them."""

import importlib
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.frontier import small
from fmnist_jax import config as config_lib
from fmnist_jax.models import create_model
from fmnist_jax.models.compact import Compact
from results import keep
from results.frontier import train
from results.frontier.rows import ACCELERATOR, GOALS, ROWS, Row
from results.frontier.runs import GROUP, num_diverged, read_row, source
from results.frontier.train import Place
from tests.conftest import ROOT

BY_NAME = {row.name: row for row in ROWS}
TRAINED = [row for row in ROWS if row.config]


def config_of(row: Row) -> ConfigDict:
    """As the command line makes it."""
    path, *variant = row.config.split(':')
    module = importlib.import_module(f'configs.{path.replace("/", ".")}')
    config = module.get_config(*variant)
    config.update_from_flattened_dict(dict(row.overrides))
    return config


def test_names_of_rows_are_names_of_folders_of_their_own():
    assert len(BY_NAME) == len(ROWS)
    assert all(re.fullmatch(r'[\w.-]+', name) for name in BY_NAME)


@pytest.mark.parametrize('row', TRAINED, ids=lambda row: row.name)
def test_a_row_fits_its_config(row):
    config = config_of(row)
    config_lib.validate(config)
    assert (config.data.train_split, config.data.validation_split) == (
        'train[:55000]',
        'train[55000:]',
    )
    # Where a config has some, the runner names those of the row in their place.
    assert bool(config.distillation.teachers) == bool(row.teachers)


# ml_collections loads the config file so.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize('row', TRAINED, ids=lambda row: row.name)
def test_the_command_line_makes_the_config_of_a_row(row, monkeypatch):
    place = Place(ROOT / 'runs', ROOT / 'results' / 'runs')
    _, *arguments = train.training(row, 1, place)
    monkeypatch.chdir(ROOT)
    # ml_collections looks there for the fields that are set.
    monkeypatch.setattr(sys, 'argv', ['main', *arguments])
    values = flags.FlagValues()
    config_flags.DEFINE_config_file('config', flag_values=values)
    flags.DEFINE_string('workdir', None, '', flag_values=values)
    values(sys.argv)
    expected = config_of(row)
    expected.seed = 1
    expected.distillation.teachers = tuple(
        f'runs/{name}/seed1' for name in row.teachers
    )
    made = config_lib.to_dict(values.config)
    assert made == config_lib.to_dict(expected)


@pytest.mark.parametrize(('text', 'seed'), [('tiny-flip', 1), ('tiny-flip+2', 3)])
def test_a_source_is_of_the_same_seed_or_a_larger_one(text, seed):
    row, found = source(text, 1)
    assert (row.name, found) == ('tiny-flip', seed)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_a_row_names_rows_that_come_before_it(row):
    before = ROWS[: ROWS.index(row)]
    for name in row.sources:
        for seed in range(row.num_seeds):
            other, other_seed = source(name, seed)
            assert other in before
            assert other.config
            assert other_seed < other.num_seeds
    kinds = (bool(row.config), bool(row.members), bool(row.runs_of))
    assert sum(kinds) == 1
    assert row.config or row.split == 'test' or row.compared_with
    # Corrupted images are scored by a model of its own.
    assert row.config or not row.is_robustness_scored


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_what_is_scored_on_test_was_chosen_on_validation(row):
    assert row.is_scored == bool(row.chosen_from)
    assert not (row.is_scored and row.trial_of)
    if not row.is_scored:
        return
    trial = BY_NAME[row.chosen_from]
    assert not trial.is_scored
    assert trial.needs == row.needs
    if row.config:
        assert trial.trial_of == row.name
        assert trial.teachers == row.teachers
        assert (trial.config, trial.overrides) == (row.config, row.overrides)


def test_ablations_change_what_they_say():
    # What configs leave to the model.
    names = ('expansion', 'squeeze_excite')
    left = {f'model.{name}': getattr(Compact, name) for name in names}
    for row in [row for row in ROWS if row.compared_with and row.config]:
        beside = BY_NAME[row.compared_with]
        assert BY_NAME[row.compared_with].num_seeds >= row.num_seeds
        before, now = (
            config_lib.flatten(config_lib.to_dict(config_of(one)))
            for one in (beside, row)
        )
        before = {**left, **before}
        changed = {field for field in now if now[field] != before[field]}
        expected = row.overrides.keys() - beside.overrides.keys()
        if row.name == 'tiny-distilled':
            expected = {
                f'distillation.{x}' for x in ('teachers', 'weight', 'temperature')
            }
        assert changed == expected
        assert changed


def test_blocks_are_compared_at_one_size():
    rows = [row for row in ROWS if row.compared_with == 'five_minutes']
    assert len(rows) == 3
    of_goal = size_of(config_of(BY_NAME['five_minutes']))
    for row in rows:
        assert 0.97 < size_of(config_of(row)) / of_goal < 1.03
        assert size_of(config_of(row)) <= 100_000


def size_of(config: ConfigDict) -> int:
    """How many parameters the model of a config has."""
    model = create_model(num_classes=10, **config.model)
    images = jnp.zeros((1, 28, 28, 1))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))


def test_goals_are_those_that_were_set():
    assert [goal.goal for goal in GOALS] == [92.0, 95.0, 95.9, 96.9]
    for name in [name for goal in GOALS for name in (*goal.rows, *goal.others)]:
        assert BY_NAME[name].is_scored
    large = {row.name for row in ROWS if row.needs == ACCELERATOR}
    assert {'resnet20', 'wrn_16_4', 'wrn_28_10', 'wrn_40_4'} <= large
    assert not large & {'tiny', 'small', 'five_minutes'}


@pytest.mark.parametrize(
    'row', [x for x in TRAINED if x.chosen_from], ids=lambda x: x.name
)
def test_no_other_trial_was_better_than_the_chosen_one(row):
    trials = [one for one in ROWS if one.trial_of == row.name]
    assert trials
    kept = {one.name: read_row(keep.RUNS, one) for one in trials}
    tried = [kept[one.name] or num_diverged(keep.RUNS, one) for one in trials]
    if read_row(keep.RUNS, row):
        assert all(tried)
    if all(tried):
        best = {
            name: np.mean([one.run.best['accuracy'] for one in runs.values()])
            for name, runs in kept.items()
            if runs
        }
        assert best.get(row.chosen_from) == max(best.values(), default=None)


def test_a_trial_without_erasing_is_the_shorter_recipe_for_longer():
    """So that the pair tells what erasing is worth."""
    config = config_of(BY_NAME['small_longer-trial-no_erasing'])
    expected = small.get_config()
    expected.num_epochs = config.num_epochs
    assert config_lib.to_dict(config) == config_lib.to_dict(expected)


@pytest.mark.parametrize(
    ('name', 'limit'),
    [(name, goal.limit) for goal in GOALS if goal.limit for name in goal.rows],
)
def test_a_goals_models_are_as_small_as_it_says(name, limit):
    size = size_of(config_of(BY_NAME[name]))
    assert size <= limit
    if name == 'small':
        # Kernels of 3x3, projections where channels change, BatchNorm after each.
        stem = 9 * 16 + 2 * 16
        stages = sum(
            9 * (c * d + d * d) + 2 * 2 * d + (c * d + 2 * d) * (c != d)
            for c, d in ((16, 16), (16, 36), (36, 72))
        )
        assert size == stem + stages + 73 * 10


KEPT = sorted((keep.RUNS / GROUP).glob('*/seed*/config.json'))


@pytest.mark.parametrize('path', KEPT, ids=lambda path: str(path.parent))
def test_a_kept_run_is_of_its_row(path):
    row = BY_NAME[path.parts[-3]]
    if row.runs_of:
        row, _ = source(row.runs_of, 0)
    expected = config_of(row)
    expected.seed = int(path.parts[-2].removeprefix('seed'))
    kept = json.loads(path.read_text())
    if row.teachers:
        assert len(kept['distillation']['teachers']) == len(row.teachers)
        expected.distillation.teachers = tuple(kept['distillation']['teachers'])
    now = config_lib.to_dict(expected)
    assert config_lib.changed_fields(kept, now, may_extend=False) == []
