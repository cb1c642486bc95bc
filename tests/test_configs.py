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
from fmnist_jax.training.build import build_experiment
from tests.conftest import ROOT, run_script
from tests.idx_files import write_first

FOLDER = ROOT / 'configs'
NAMES = sorted(
    path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
    for path in FOLDER.rglob('*.py')
    if path.name not in ('__init__.py', 'default.py')
)
FIELDS = config_lib.flatten(default.get_config().to_dict())


def with_variants(names: list[str]) -> list[str]:
    """Each config, and those with variants once more for each: `name:variant`."""
    return [
        f'{name}{variant}'
        for name in names
        for variant in ('', *(f':{v}' for v in variants_of(name)))
    ]


def variants_of(name: str) -> tuple[str, ...]:
    return getattr(importlib.import_module(name), 'VARIANTS', ())


def load(name: str) -> ConfigDict:
    module, *variant = name.split(':')
    return importlib.import_module(module).get_config(*variant)


CONFIGS = with_variants(NAMES)
# A step is compiled for each model, and run once.
FAST_TO_COMPILE = {
    'xla_backend_optimization_level': 0,
    'xla_llvm_disable_expensive_passes': True,
}


def distinct(names: list[str]) -> list[str]:
    """One of those whose compiled step is the same: they differ only in the data."""
    found = {}
    for name in names:
        config = load(name).to_dict()
        for field in ('data', 'checkpoint', 'train_metrics'):
            del config[field]
        # The last, which trains on data of its own if any does.
        found[repr(config)] = name
    return list(found.values())


# A step of theirs takes minutes together.
LARGE = [
    *(
        f'configs.frontier.{x}'
        for x in (
            'blocks',
            'five_minutes',
            'resnet20',
            'small',
            'small_longer',
            'speed',
        )
    ),
    *(
        f'configs.frontier.wide_resnet:{x}'
        for x in ('wrn_16_4', 'wrn_28_10', 'wrn_40_4')
    ),
    *(
        f'configs.seeds.keras_cnns:{x}'
        for x in ('arch1_sound', 'arch2_sound', 'vgg_like_sound')
    ),
    *(
        f'configs.seeds.tinyvgg_sgd:{x}'
        for x in ('rand_augment', 'original_and_augmented')
    ),
]


def mark_slow(names: list[str]) -> list:
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
        for name in names
    ]


def test_there_are_configs():
    assert {'configs.tinyvgg', 'configs.seeds.bn_cnn'} <= set(NAMES)
    assert {'configs.seeds.keras_cnns:vgg_like_leaking'} <= set(CONFIGS)
    # Else one of them would be among the fast ones by another's name.
    assert set(LARGE) <= set(distinct(CONFIGS))


@pytest.mark.parametrize('name', ['configs.default', *CONFIGS])
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


@pytest.mark.parametrize('name', ['configs.default', *CONFIGS])
def test_a_config_is_made_anew_by_every_call(name):
    first = load(name)
    first.optimizer.learning_rate = 123.0
    first.data.train_split = 'train[:1]'
    assert load(name).optimizer.learning_rate != 123.0
    assert load(name).data.train_split != 'train[:1]'


@pytest.mark.parametrize('name', ['configs.default', *NAMES])
def test_a_config_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize('name', [name for name in NAMES if variants_of(name)])
def test_without_a_variant_a_config_is_one_of_its_variants(name):
    variants = [load(f'{name}:{variant}').to_dict() for variant in variants_of(name)]
    assert variants.count(load(name).to_dict()) == 1
    assert all(variants.count(variant) == 1 for variant in variants)


@pytest.mark.parametrize('name', [name for name in NAMES if variants_of(name)])
def test_an_unknown_variant_is_told_in_one_line(name):
    path = f'{name.replace(".", "/")}.py'
    done = run_script('fmnist_jax.main', f'--config={path}:no_such')
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for part in (path, "unknown variant of the config 'no_such'", *variants_of(name)):
        assert part in line


@pytest.fixture(scope='module')
def few_examples(tmp_path_factory) -> str:
    """A folder of IDX files, in the place of those that a config has made first."""
    return str(write_first(tmp_path_factory.mktemp('idx'), 300))


@pytest.mark.parametrize('name', mark_slow(distinct(CONFIGS)))
def test_a_config_trains_for_a_step_and_predicts(
    name, data_dir, few_examples, tmp_path_factory
):
    config = load(name)
    config.data.data_dir = data_dir
    if config.data.idx_dir is not None:
        config.data.idx_dir = few_examples
        config.data.data_dir = str(tmp_path_factory.getbasetemp() / 'prepared')
    num_examples = config.batch_size // (1 + config.augmented_copies)
    config.data.train_split = f'train[:{num_examples}]'
    config.data.validation_split = 'train[-40:]'
    config.distillation.teachers = ()
    config.num_epochs = 1
    # A run of a single step has none.
    config.optimizer.warmup = '0 steps'
    config.eval_batch_size = 40
    experiment = build_experiment(config, log=lambda message: None)
    assert experiment.total_steps == 1
    data = config.data
    examples = experiment.place(*experiment.dataset.split(data.train_split))
    validation = experiment.place(*experiment.dataset.split(data.validation_split))
    state = experiment.create_state()
    before = jax.device_get(state.params)
    inputs = (
        experiment.hyperparameters,
        experiment.inputs(examples),
        experiment.group.replicate(np.int32(0)),
        experiment.epoch_order(0),
    )
    call = experiment.train_call(1).lower(state, *inputs)
    state, progress = call.compile(compiler_options=FAST_TO_COMPILE)(state, *inputs)
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
    'ema_decay': 0.99,
    'gradient_accumulation': 2,
    'distillation.teachers': ['runs/large'],
    'distillation.weight': 0.9,
    'distillation.temperature': 4.0,
    'optimizer.weight_decay_on': 'all',
    'optimizer.sam_radius': 0.05,
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
        ('configs/tinyvgg.py:bright', 'runs/tinyvgg-bright'),
        ('configs/tinyvgg.py:lr=0.1', 'runs/tinyvgg-lr=0.1'),
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


def test_the_default_work_folder_tells_variants_apart():
    variants = ['a', 'b', 'a/b', 'a_b', 'a b', 'a:b', '../b', 'ä', 'ö']
    paths = ['configs/x.py', *(f'configs/x.py:{variant}' for variant in variants)]
    folders = [config_lib.default_workdir(path, {}) for path in paths]
    assert len(set(folders)) == len(paths)
    for folder in folders:
        assert re.fullmatch(r'runs/x[\w.-]*', folder, flags=re.ASCII)


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
