"""The grid of a sweep: what flags say, and the members that follow."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import default, tinyvgg
from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.grid import Axis, canonical, make_members, parse_grid, short_names
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails, changed

FLIP = {'name': 'horizontal_flip', 'probability': 0.5}


@pytest.fixture
def config() -> ConfigDict:
    return tinyvgg.get_config().lock()


def values(text: str, config: ConfigDict) -> tuple:
    """The values of a grid of one axis."""
    (axis,) = parse_grid([text], config)
    return axis.values


def names(config: ConfigDict, *texts: str, seeds: int = 1) -> list[str]:
    members = make_members(config, parse_grid(texts, config), seeds)
    return [member.name for member in members]


# What a flag says, and the values that it means, with their types.
TEXTS = {
    'optimizer.learning_rate=0.01,1e-3,1': (0.01, 0.001, 1.0),
    'batch_size=100, 500 ,1_000': (100, 500, 1000),
    'optimizer.name=adam,sgd': ('adam', 'sgd'),
    'optimizer.name=\'adam\',"sgd"': ('adam', 'sgd'),
    'optimizer.warmup=1 epoch,500 steps': ('1 epoch', '500 steps'),
    "optimizer.warmup='1 epoch'": ('1 epoch',),
    'optimizer.clip_norm=None,1': (None, 1.0),
    'init_from=None,runs/a=b': (None, 'runs/a=b'),
    'data.train_split=train[:100],train[100:200]+test': (
        'train[:100]',
        'train[100:200]+test',
    ),
    'data.mean=0.5,(0.1,0.2)': (0.5, (0.1, 0.2)),
    'augmentation=(),({"name":"horizontal_flip","probability":0.5},)': ((), (FLIP,)),
    "augmentation=[{'name':'horizontal_flip','probability':0.5}]": ((FLIP,),),
    'precision=32,float32': ('32', 'float32'),
    'model.name=tinyvgg,my.module:Net': ('tinyvgg', 'my.module:Net'),
    # Fields that the model may have; what it takes is not known before it is made.
    'model.dropout_rate=0,0.5': (0, 0.5),
    'model.padding=SAME,VALID': ('SAME', 'VALID'),
    'model.wide=true,False': (True, False),
    'model.features=(8,16),[32]': ((8, 16), [32]),
    "model.label='a, b','c)'": ('a, b', 'c)'),
}


@pytest.mark.parametrize('text', TEXTS)
def test_values_are_read_as_overrides_are(config, text):
    found = values(text, config)
    assert found == TEXTS[text]
    assert list(map(type, found)) == list(map(type, TEXTS[text]))


def test_axes_come_in_the_order_of_the_flags(config):
    axes = parse_grid(['batch_size=1', 'optimizer.eps=1e-8'], config)
    assert axes == (Axis('batch_size', (1,)), Axis('optimizer.eps', (1e-8,)))
    assert parse_grid([], config) == ()


# Flags, and what the message must hold.
MISTAKES = {
    '': 'it is empty; write --grid=FIELD=VALUE,VALUE, such as --grid=optimizer.',
    '  ': 'it is empty',
    'batch_size': 'batch_size has no values; write --grid=FIELD=VALUE,VALUE',
    'batch_size=': 'batch_size has no values; write --grid=FIELD=VALUE,VALUE',
    '=1,2': 'the name of a config field is missing; write --grid=FIELD=VALUE,VALUE',
    'batch_size=1,,2': 'no value before, between or after commas',
    'batch_size=1,2,': 'no value before, between or after commas',
    'batch_size=,1': 'no value before, between or after commas',
    'batchsize=1,2': "unknown config field 'batchsize'; did you mean 'batch_size'?",
    'optimizer.lr=1': "unknown config field 'optimizer.lr'",
    'model.a.b=1': "unknown config field 'model.a.b'",
    'model.=1': "unknown config field 'model.'",
    'optimizer=adam': 'optimizer is a group of fields; name one, such as optimizer.',
    'batch_size=1,2.5': 'batch_size takes whole numbers, not 2.5',
    'batch_size=many': 'batch_size takes whole numbers, not many',
    'batch_size=True': 'batch_size takes whole numbers, not True',
    'optimizer.learning_rate=fast': 'optimizer.learning_rate takes numbers, not fast',
    'optimizer.learning_rate=False': 'takes numbers, not False',
    'augmentation=horizontal_flip': 'augmentation takes tuples, such as (1, 2), (1,)',
    'augmentation=({"name":"a"})': 'augmentation takes tuples',
    'augmentation=(horizontal_flip,)': 'is no Python value; put text in it into quot',
    "optimizer.name='adam,sgd": "'adam is no Python value; put text",
    'data.mean=(0.1,0.2': 'brackets do not match',
    'data.mean=0.1),(0.2': 'brackets do not match',
    'optimizer.learning_rate=0.1,0.01,0.10': '0.10 is given twice: 0.1 is the same',
    'batch_size=8,8': '8 is given twice; give each value once',
    'data.mean=1,1.0': '1.0 is given twice: 1 is the same',
    'model.x=1e400': '1e400 is no value that config.json can hold',
    'model.x={1,2}': '{1,2} is no value that config.json can hold',
    'model.x=1j': '1j is no value that config.json can hold',
    'seed=1,2': 'write --seeds=N',
    'steps_per_call=1,2': 'does not change what comes out of a run; set it for all',
    'checkpoint.keep_last=2': '--config.checkpoint.keep_last=…',
    'data.data_dir=a,b': 'does not change what comes out',
    'data.name=a,b': 'would be scored on different images',
    'data.validation_split=test': 'start a sweep for each value, with --con',
}


@pytest.mark.parametrize('text', MISTAKES)
def test_mistake_in_a_flag_is_told_in_one_line(config, text):
    with pytest.raises(UserError) as caught:
        parse_grid([text], config)
    message = str(caught.value)
    assert message.startswith(f'--grid={text}: ')
    assert MISTAKES[text] in message
    assert '\n' not in message


def test_a_field_in_two_flags_is_refused(config):
    with pytest.raises(UserError, match='batch_size is given twice; put all its'):
        parse_grid(['batch_size=1', 'optimizer.eps=1', 'batch_size=2'], config)


def test_members_are_all_combinations_with_all_seeds(config):
    config.seed = 7
    before = config_lib.to_dict(config)
    axes = parse_grid(
        ['optimizer.learning_rate=0.1,1', 'augmentation=(),({"name":"a"},)'], config
    )
    members = make_members(config, axes, 3)
    assert [(m.overrides['optimizer.learning_rate'], m.seed) for m in members] == [
        (rate, seed) for rate in (0.1, 1.0) for _ in range(2) for seed in (7, 8, 9)
    ]
    assert len({member.name for member in members}) == 12
    for member in members:
        expected = config_lib.from_dict(before)
        expected.seed = member.seed
        expected.optimizer.learning_rate = member.overrides['optimizer.learning_rate']
        expected.augmentation = member.overrides['augmentation']
        assert config_lib.to_dict(member.config) == config_lib.to_dict(expected)
        assert member.overrides.keys() == {'optimizer.learning_rate', 'augmentation'}
    assert config_lib.to_dict(config) == before
    members[0].config.optimizer.momentum = 0.5
    assert members[1].config.optimizer.momentum == config.optimizer.momentum == 0.0


def test_seeds_alone_are_a_sweep(config):
    assert names(config, seeds=2) == ['seed=0', 'seed=1']
    assert [m.overrides for m in make_members(config, (), 2)] == [{}, {}]


def test_a_field_of_the_model_need_not_be_in_the_config(config):
    (member,) = make_members(config, parse_grid(['model.features=16'], config), 1)
    assert config_lib.to_dict(member.config.model) == {
        'name': 'tinyvgg',
        'features': 16,
    }
    assert member.config.is_locked
    assert 'features' not in config.model


def test_what_is_computed_from_a_field_follows_it():
    config = default.get_config()
    config.eval_batch_size = config.get_ref('batch_size') * 10
    (member,) = make_members(config, parse_grid(['batch_size=7'], config), 1)
    assert member.config.eval_batch_size == 70
    assert config.eval_batch_size == 320


def test_names_are_short_and_say_what_a_member_is(config):
    assert names(
        config, 'optimizer.learning_rate=0.010', 'batch_size=100', seeds=2
    ) == [
        'batch_size=100,learning_rate=0.01,seed=0',
        'batch_size=100,learning_rate=0.01,seed=1',
    ]
    assert names(config, 'model.name=bn_cnn', 'optimizer.name=adam') == [
        'model=bn_cnn,optimizer=adam,seed=0'
    ]
    assert names(config, 'model.flag=true,None') == [
        'flag=true,seed=0',
        'flag=none,seed=0',
    ]


# Ways to write the same, and to write it in another order.
SAME = [
    (['optimizer.learning_rate=0.010'], ['optimizer.learning_rate=1e-2']),
    (['optimizer.learning_rate=1'], ['optimizer.learning_rate=1.0']),
    (['optimizer.eps=1e-5'], ['optimizer.eps=0.00001']),
    (['data.mean=(1,2)'], ['data.mean=[1.0, 2.0]']),
    (['optimizer.warmup=1 epoch'], ["optimizer.warmup='1 epoch'"]),
    (['augmentation=({"a":1,"b":2},)'], ['augmentation=({"b":2.0,"a":1},)']),
    (['batch_size=8', 'num_epochs=2'], ['num_epochs=2', 'batch_size=8']),
    (['model.x=0'], ['model.x=-0.0']),
]


@pytest.mark.parametrize(('one', 'other'), SAME)
def test_names_are_the_same_however_values_are_written(config, one, other):
    assert names(config, *one) == names(config, *other)


def test_names_stay_when_a_grid_is_extended(config):
    few = names(config, 'optimizer.learning_rate=0.1', 'optimizer.warmup=1 epoch')
    many = names(
        config,
        'optimizer.learning_rate=0.3,0.1,1',
        'optimizer.warmup=0 steps,1 epoch,2 epochs',
        seeds=3,
    )
    assert set(few) < set(many)


def test_names_tell_all_values_apart_and_suit_any_file_system(config):
    long = 'x' * 200
    words = (
        f"a,A,a/b,a b,a-b,a:b,'','..','1',1,1.5,true,'true',none,None,'None',ä,{long}"
    )
    found = names(config, f'model.x={words},{long}y', 'model.y=SAME,same', seeds=2)
    assert len(found) == 19 * 2 * 2
    # As a file system sees them that ignores case.
    assert len({name.lower() for name in found}) == len(found)
    for name in found:
        assert re.fullmatch(r'[\w=,.+-]+', name, re.ASCII)
        assert not name.startswith(('-', '.'))
        assert len(name) < 150


def test_names_of_many_fields_are_bounded_and_distinct(config):
    texts = [f'model.a_rather_long_field_{i}=first_choice,second' for i in range(8)]
    found = names(config, *texts)
    assert len(set(found)) == 2**8
    assert max(map(len, found)) < 150


def test_fields_with_the_same_last_name_are_told_apart(config):
    fields = ['data.mean', 'model.mean', 'batch_size', 'model.seed', 'model.name']
    assert short_names(fields) == {
        'data.mean': 'data.mean',
        'model.mean': 'model.mean',
        'batch_size': 'batch_size',
        'model.seed': 'model.seed',
        'model.name': 'model',
    }


def test_canonical_text_is_of_the_value():
    assert canonical({'b': (1.0, 0.50), 'a': None}) == '{"a": null, "b": [1, 0.5]}'
    assert canonical(True) != canonical(1)
    assert canonical('1') != canonical(1)
    assert canonical(2.0**60) != canonical(2**60 + 1)


@pytest.mark.parametrize('count', [0, -1])
def test_a_number_of_seeds_below_one_is_refused(config, count):
    with pytest.raises(UserError, match=f'--seeds must be at least 1, not {count}'):
        make_members(config, (Axis('batch_size', (8,)),), count)


def test_nothing_to_sweep_is_told(config):
    with pytest.raises(UserError, match='nothing to sweep: name values with --grid='):
        make_members(config, (), 1)


# Fields of the config, flags, seeds, and what the message must be.
REFUSED = [
    ({}, 'batch_size=8,0', 1, 'batch_size must be at least 1, not 0 (member batch_si'),
    ({}, 'optimizer.momentum=1', 1, 'momentum must be at least 0 and below 1, not 1.0'),
    ({}, 'optimizer.warmup=soon', 1, "not 'soon' (member warmup=soon)"),
    ({}, 'model.name=None', 1, 'model.name must be text, not None (member model=none)'),
    (
        {'seed': 2**32 - 2},
        'batch_size=8',
        3,
        'not 4294967296 (member batch_size=8,seed=',
    ),
    ({'seed': None}, 'batch_size=8', 2, 'seed must be a whole number, not None'),
    ({'num_epochs': 0}, 'batch_size=8', 1, 'num_epochs must be at least 1, not 0'),
]


@pytest.mark.parametrize(('fields', 'text', 'seeds', 'message'), REFUSED)
def test_a_member_that_cannot_be_is_named(config, fields, text, seeds, message):
    for field, value in fields.items():
        config = changed(config, field, value)
    axes = parse_grid([text], config)
    with pytest.raises(UserError) as caught:
        make_members(config, axes, seeds)
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_further_check_is_asked_about_every_member(config):
    seen = []

    def check(own):
        seen.append((own.batch_size, own.seed))
        if own.batch_size == 16:
            raise UserError('too large')

    axes = parse_grid(['batch_size=8,16'], config)
    with pytest.raises(UserError, match=r'^too large \(member batch_size=16\)$'):
        make_members(config, axes, 2, check)
    assert seen == [(8, 0), (8, 1), (16, 0)]


# Arguments of the script, and what the message must hold.
ARGUMENTS = {
    'no config': (['--grid=batch_size=8'], ['--config is missing']),
    'an empty grid': (['--grid='], ['--grid=: it is empty']),
    'an unknown field': (['--grid=batchsize=1'], ["did you mean 'batch_size'?"]),
    'zero seeds': (
        ['--grid=batch_size=1', '--seeds=0'],
        ['--seeds must be at least 1'],
    ),
    'seeds that are no number': (['--seeds=few'], ['--seeds=few', 'invalid literal']),
    'an unknown mapping': (['--mapping=pmap'], ['auto|vmap|devices|sequence']),
    'nothing': ([], ['nothing to sweep']),
    'a grid of the base config': (
        ['--config.batch_size=0', '--seeds=2'],
        ['batch_size must be at least 1, not 0'],
    ),
}


def run_without_jax(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the script where importing JAX ends it."""
    (folder / 'jax.py').write_text('raise SystemExit("JAX is imported")')
    path = os.pathsep.join([str(folder), str(ROOT)])
    return run_script(
        'fmnist_jax.sweep',
        *arguments,
        f'--workdir={folder}/sweep',
        env={**os.environ, 'PYTHONPATH': path},
    )


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments_is_told_before_anything_slow(tmp_path, case):
    arguments, parts = ARGUMENTS[case]
    config = [] if case == 'no config' else ['--config=configs/tinyvgg.py']
    assert_fails(run_without_jax(tmp_path, *config, *arguments), *parts)
    assert not (tmp_path / 'sweep').exists()


def test_arguments_without_a_mistake_go_on_to_training(tmp_path):
    done = run_without_jax(
        tmp_path,
        '--config=configs/tinyvgg.py',
        "--grid=augmentation=(),({'name': 'horizontal_flip'},)",
        '--grid=batch_size=8,16',
        '--seeds=2',
    )
    assert done.stderr == 'JAX is imported\n'
