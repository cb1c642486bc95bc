"""Config files: each loads and trains; what is checked of them, and their names."""

import copy
import importlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.training import experiment as experiment_lib
from tests.conftest import ROOT

FOLDER = ROOT / 'configs'
NAMES = sorted(
    path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
    for path in FOLDER.rglob('*.py')
    if path.name not in ('__init__.py', 'default.py')
)
FIELDS = config_lib.flatten(default.get_config().to_dict())


def load(name: str) -> ConfigDict:
    return importlib.import_module(name).get_config()


def test_there_are_configs():
    assert 'configs.tinyvgg' in NAMES


@pytest.mark.parametrize('name', ['configs.default', *NAMES])
def test_a_config_loads_and_is_valid(name):
    config = load(name)
    config_lib.validate(config)
    assert FIELDS.keys() <= config_lib.flatten(config.to_dict()).keys()
    # What evaluation reads back from the work folder.
    plain = config_lib.to_dict(config)
    restored = config_lib.from_dict(plain)
    config_lib.validate(restored)
    assert config_lib.to_dict(restored) == plain
    assert config_lib.changed_fields(plain, plain, may_extend=False) == []


@pytest.mark.parametrize('name', ['configs.default', *NAMES])
def test_a_config_is_made_anew_by_every_call(name):
    first = load(name)
    first.optimizer.learning_rate = 123.0
    first.data.train_split = 'train[:1]'
    assert load(name).optimizer.learning_rate != 123.0
    assert load(name).data.train_split != 'train[:1]'


@pytest.mark.parametrize('name', ['configs.default', *NAMES])
def test_a_config_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize('name', NAMES)
def test_a_config_trains_for_a_step_and_predicts(name, data_dir):
    config = load(name)
    config.data.data_dir = data_dir
    config.data.train_split = f'train[:{config.batch_size}]'
    config.data.validation_split = 'train[55000:55040]'
    config.num_epochs = 1
    config.eval_batch_size = 40
    experiment = experiment_lib.build(config, log=lambda message: None)
    assert experiment.total_steps == 1
    data = config.data
    examples = experiment.place(*experiment.dataset.split(data.train_split))
    validation = experiment.place(*experiment.dataset.split(data.validation_split))
    state = experiment.create_state()
    before = jax.device_get(state.params)
    state, progress = experiment.train_call(1)(
        state,
        experiment.hyperparameters,
        examples,
        experiment.group.replicate(np.int32(0)),
        experiment.epoch_order(0),
    )
    assert int(progress.step) == 1
    assert int(progress.bad_step) == 0
    assert int(progress.sums.count) == config.batch_size
    assert np.isfinite(float(progress.sums.loss))
    moved = jax.tree.map(lambda a, b: np.any(a != b), before, state.params)
    assert any(jax.tree.leaves(moved))
    predict = experiment.make_predict()
    log_probabilities = predict(state.params, state.batch_stats, validation)
    assert log_probabilities.shape == (40, 10)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(1), 1, rtol=1e-4)


def test_every_field_of_the_default_config_is_explained():
    lines = (FOLDER / 'default.py').read_text().splitlines()
    explained = set()
    for i, line in enumerate(lines):
        field = re.match(r'    config\.([\w.]+) = (?!ConfigDict\(\))', line)
        if not field:
            continue
        # Fields that belong together share the comment above the first of them.
        above = i - 1
        while re.match(r'    config\.[\w.]+ = (?!ConfigDict\(\))', lines[above]):
            above -= 1
        assert lines[above].lstrip().startswith('# '), f'{field[1]} is not explained'
        explained.add(field[1])
    assert explained == FIELDS.keys()


def changed(field: str, value) -> dict:
    """The default config as plain data, one field changed."""
    config = default.get_config()
    config.unlock()
    *parents, last = field.split('.')
    part = config
    for parent in parents:
        part = part[parent]
    with part.ignore_type():
        part[last] = value
    return config_lib.to_dict(config)


# Another value for every field.
OTHER_VALUES = {
    'seed': 1,
    'model.name': 'linear',
    'data.name': 'mine',
    'data.data_dir': '/elsewhere',
    'data.idx_dir': '/my/files',
    'data.class_names': ('cat', 'dog'),
    'data.train_split': 'train',
    'data.validation_split': 'test',
    'data.test_split': 'train[55000:]',
    'data.mean': 0.5,
    'data.std': (0.5, 0.5, 0.5),
    'batch_size': 64,
    'num_epochs': 9,
    'eval_batch_size': 10,
    'optimizer.name': 'adam',
    'optimizer.learning_rate': 0.2,
    'optimizer.schedule': 'cosine',
    'optimizer.momentum': 0.5,
    'optimizer.b1': 0.5,
    'optimizer.b2': 0.5,
    'optimizer.eps': 1e-3,
    'optimizer.weight_decay': 0.1,
    'optimizer.clip_norm': 1.0,
    'optimizer.warmup': '1 epoch',
    'optimizer.decay_rate': 0.5,
    'optimizer.decay_every': '2 epochs',
    'label_smoothing': 0.1,
    'train_metrics': 'after_epoch',
    'init_from': 'runs/other',
    'augmentation': ({'name': 'horizontal_flip'},),
    'augmented_copies': 1,
    'precision': 'bfloat16',
    'num_cpu_devices': 4,
    'steps_per_call': 7,
    'checkpoint.every_minutes': 1.0,
    'checkpoint.keep_last': 5,
    'logging.every_seconds': 1.0,
}
# Those that say where and how a run is carried out.
EXECUTION = {
    'data.data_dir',
    'data.idx_dir',
    'num_cpu_devices',
    'steps_per_call',
    'checkpoint.every_minutes',
    'checkpoint.keep_last',
    'logging.every_seconds',
}
BEFORE = config_lib.to_dict(default.get_config())


def test_another_value_is_tried_for_every_field():
    assert OTHER_VALUES.keys() == FIELDS.keys()


@pytest.mark.parametrize('field', sorted(OTHER_VALUES.keys() - EXECUTION))
def test_a_field_that_changes_the_result_may_not_change(field):
    now = changed(field, OTHER_VALUES[field])
    for may_extend in (False, True):
        (message,) = config_lib.changed_fields(BEFORE, now, may_extend=may_extend)
        old, new = (config_lib.flatten(values)[field] for values in (BEFORE, now))
        assert message == f'{field} was {old!r}, now {new!r}'


@pytest.mark.parametrize('field', sorted(EXECUTION))
def test_a_field_that_says_how_a_run_is_carried_out_may_change(field):
    now = changed(field, OTHER_VALUES[field])
    assert now != BEFORE
    assert config_lib.changed_fields(BEFORE, now, may_extend=False) == []


def test_a_run_may_be_extended_where_the_schedule_does_not_count_on_its_length():
    longer = changed('num_epochs', 20)
    assert config_lib.changed_fields(BEFORE, longer, may_extend=True) == []
    assert config_lib.changed_fields(BEFORE, longer, may_extend=False) == [
        'num_epochs was 10, now 20'
    ]
    shorter = changed('num_epochs', 5)
    assert config_lib.changed_fields(BEFORE, shorter, may_extend=True) == [
        'num_epochs was 10, now 5'
    ]


def test_a_field_that_only_one_config_has_is_a_change():
    now = changed('model.features', 16)
    assert config_lib.changed_fields(BEFORE, now, may_extend=False) == [
        'model.features was None, now 16'
    ]
    assert config_lib.changed_fields(now, BEFORE, may_extend=False) == [
        'model.features was 16, now None'
    ]


def test_all_the_changes_are_named_in_order():
    now = copy.deepcopy(BEFORE)
    now['seed'], now['batch_size'], now['optimizer']['name'] = 3, 16, 'adam'
    messages = config_lib.changed_fields(BEFORE, now, may_extend=False)
    assert [message.split()[0] for message in messages] == [
        'batch_size',
        'optimizer.name',
        'seed',
    ]


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('configs/tinyvgg.py', 'runs/tinyvgg'),
        ('configs/seeds/bn_cnn.py', 'runs/bn_cnn'),
        ('/home/me/my_config.py', 'runs/my_config'),
        ('tinyvgg.py', 'runs/tinyvgg'),
        ('configs/tinyvgg.py:some,argument', 'runs/tinyvgg'),
    ],
)
def test_the_default_work_folder_has_the_configs_name(path, expected):
    assert config_lib.default_workdir(path, {}) == expected
    overridden = config_lib.default_workdir(path, {'seed': 1})
    assert re.fullmatch(re.escape(expected) + '-[0-9a-f]{6}', overridden)


def test_the_default_work_folder_tells_overrides_apart():
    path = 'configs/tinyvgg.py'
    overrides = [
        {'seed': 1},
        {'seed': 2},
        {'batch_size': 1},
        {'optimizer.learning_rate': 0.1},
        {'optimizer.learning_rate': 0.01},
        {'seed': 1, 'batch_size': 1},
        {'augmentation': ({'name': 'horizontal_flip'},)},
    ]
    folders = {config_lib.default_workdir(path, one) for one in overrides}
    assert len(folders) == len(overrides)


def test_the_default_work_folder_is_the_same_in_any_order_of_the_overrides():
    path, values = 'configs/tinyvgg.py', [('seed', 1), ('batch_size', 100)]
    forward = config_lib.default_workdir(path, dict(values))
    assert config_lib.default_workdir(path, dict(reversed(values))) == forward


@pytest.mark.parametrize('field', sorted(FIELDS))
def test_a_field_that_is_missing_is_a_user_error_that_names_it(field):
    config = default.get_config()
    *parents, last = field.split('.')
    part = config
    for parent in parents:
        part = part[parent]
    del part[last]
    with pytest.raises(UserError, match=re.escape(field)):
        config_lib.validate(config)


def test_configs_are_where_python_finds_them():
    assert Path(default.__file__).parent == FOLDER
