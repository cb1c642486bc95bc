"""A mistake in the input gives an exit code and one line that says what is wrong."""

import dataclasses
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training.build import build_experiment
from tests import idx_files
from tests.conftest import ROOT, run_script

CONFIG = '--config=configs/default.py'


def assert_fails(
    done: subprocess.CompletedProcess, *parts: str, exit_code: int = 2
) -> str:
    """Checks that the script said what is wrong, in one line; returns the line."""
    assert done.returncode == exit_code, done
    assert 'Traceback' not in done.stdout + done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith('error:')]
    assert len(errors) == 1, done.stderr
    assert done.stderr.endswith(f'{errors[0]}\n')
    for part in parts:
        assert part in errors[0]
    return errors[0]


# A script like the others that imports nothing slow.
QUICK_SCRIPT = """
from absl import flags
from ml_collections import config_flags
from fmnist_jax import cli
config = config_flags.DEFINE_config_file('config', None, 'The config file.')
flags.mark_flag_as_required('config')
cli.run(lambda: print('seed', config.value.seed))
"""


def run_quick_script(
    *arguments: str, script: str = QUICK_SCRIPT
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


# Arguments of fmnist_jax.main, and what the message must hold.
ARGUMENTS = {
    'no config': ([], ['--config is missing']),
    'missing config file': (
        ['--config=configs/tinyvg.py'],
        ["No such file or directory: 'configs/tinyvg.py'", '--config=configs/NAME.py'],
    ),
    'unknown field': (
        [CONFIG, '--config.optimizer.learning_rat=0.1'],
        ['unknown config field', 'Did you mean "learning_rate"'],
    ),
    'field of the wrong type': (
        [CONFIG, '--config.batch_size=abc'],
        ['--config.batch_size=abc'],
    ),
    'unknown flag': (
        [CONFIG, '--work_dir=somewhere'],
        ["'work_dir'", 'Did you mean: workdir'],
    ),
    'unexpected argument': (
        [CONFIG, 'runs/mine'],
        ["unexpected argument 'runs/mine'"],
    ),
    'batch size of 0': (
        [CONFIG, '--config.batch_size=0'],
        ['batch_size', 'at least 1'],
    ),
    'unknown variant': (
        ['--config=configs/seeds/tinyvgg_sgd.py:rand'],
        ["unknown variant of the config 'rand'; did you mean 'rand_augment'"],
    ),
    'variant of a config without any': (
        ['--config=configs/seeds/linear.py:fast'],
        ['has no variants: name it without the colon'],
    ),
    'unknown model': (
        [CONFIG, '--config.model.name=tinyvg'],
        ["unknown model 'tinyvg'; did you mean 'tinyvgg'?"],
    ),
}


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments_of_main(tmp_path, case):
    arguments, parts = ARGUMENTS[case]
    workdir = tmp_path / 'run'
    done = run_script('fmnist_jax.main', *arguments, f'--workdir={workdir}')
    assert_fails(done, *parts)
    assert not workdir.exists()


# Config files, the line that is wrong (if it is one), and what the message must hold.
CONFIG_FILES = {
    'syntax error': ('def get_config(:\n', 1, ['SyntaxError']),
    'import of what is not there': (
        'from configs import defaults\n\ndef get_config():\n    return defaults\n',
        1,
        ['ImportError', "'defaults'"],
    ),
    'field of the wrong type': (
        'from configs import default\n\ndef get_config():\n'
        "    config = default.get_config()\n    config.batch_size = 'many'\n"
        '    return config\n',
        5,
        ['batch_size', 'many'],
    ),
    'nothing returned': (
        'def get_config():\n    pass\n',
        None,
        ['must return a ConfigDict, not None'],
    ),
    'dictionary returned': (
        'def get_config():\n    return {}\n',
        None,
        ['must return a ConfigDict, not {}'],
    ),
    'no get_config': ('config = None\n', None, ['get_config']),
}


@pytest.mark.parametrize('case', CONFIG_FILES)
def test_mistake_in_a_config_file(tmp_path, case):
    content, line, parts = CONFIG_FILES[case]
    path = tmp_path / 'mine.py'
    path.write_text(content)
    place = [f'{path}, line {line}'] if line else []
    assert_fails(run_quick_script(f'--config={path}'), *place, *parts)


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (['--config=/nowhere.py', '--config.seed=1'], "directory: '/nowhere.py'"),
        (['--config=configs'], "Is a directory: 'configs'"),
        (['--config='], 'config file: Path to config file is an empty string'),
        ([CONFIG, '--config.seed'], 'config.seed'),
        ([CONFIG, '--config.seed.low=1'], 'unknown config field'),
        ([CONFIG, '--config.a b=1'], "Could not parse 'a b'"),
        ([CONFIG, '--config.data=3'], '--config.data=3'),
        (['--config.seed=1', CONFIG], 'before a value for --config'),
        ([f'{CONFIG}:large'], 'has no variants'),
    ],
)
def test_mistake_in_the_flags_of_any_script(arguments, part):
    assert_fails(run_quick_script(*arguments), part)


def test_script_without_mistakes_runs():
    done = run_quick_script(CONFIG, '--config.seed=3')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'seed 3\n', '')


def test_fields_that_take_several_values_are_read_from_the_command_line():
    script = QUICK_SCRIPT.replace("'seed', config.value.seed", 'config.value.data')
    done = run_quick_script(
        CONFIG,
        "--config.data.class_names=('T-shirt/top', 'a, b')",
        '--config.data.mean=(0.5, 0.25, 1)',
        '--config.data.std=0.5',
        script=script,
    )
    for line in ('class_names: !!python/tuple', '- a, b', '- 0.25', 'std: 0.5'):
        assert line in done.stdout, done


def test_config_file_with_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        'from configs import default\n\ndef get_config():\n'
        '    config = default.get_config()\n    config.optimizer.learning_rat = 1.0\n'
        '    return config\n'
    )
    workdir = tmp_path / 'run'
    done = run_script('fmnist_jax.main', f'--config={path}', f'--workdir={workdir}')
    assert_fails(
        done, "'optimizer.learning_rat'; did you mean 'optimizer.learning_rate'?"
    )
    assert not workdir.exists()


def test_work_folder_that_is_a_file_is_left_alone(tmp_path, dataset, data_dir):
    path = tmp_path / 'file'
    path.write_text('mine')
    done = run_script(
        'fmnist_jax.main',
        CONFIG,
        f'--config.data.data_dir={data_dir}',
        f'--workdir={path}',
    )
    assert_fails(done, str(path), 'Not a directory', '--workdir')
    assert path.read_text() == 'mine'


def test_work_folder_of_another_config_is_left_alone(tmp_path):
    config = default.get_config()
    before = config_lib.to_dict(config)
    path = tmp_path / workdir_lib.CONFIG
    path.write_text(json.dumps(before))
    done = run_script(
        'fmnist_jax.main',
        CONFIG,
        f'--config.optimizer.learning_rate={config.optimizer.learning_rate / 2}',
        '--config.seed=1',
        '--config.logging.every_seconds=1',
        f'--workdir={tmp_path}',
    )
    line = assert_fails(
        done,
        str(tmp_path),
        'optimizer.learning_rate was 0.1, now 0.05',
        'seed was 0, now 1',
    )
    assert 'every_seconds' not in line
    assert json.loads(path.read_text()) == before
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_config_in_the_work_folder_is_named(tmp_path):
    (tmp_path / workdir_lib.CONFIG).write_text('{"seed": ')
    done = run_script('fmnist_jax.main', CONFIG, f'--workdir={tmp_path}')
    assert_fails(done, str(tmp_path / workdir_lib.CONFIG), 'cannot be read')


def test_folder_of_data_that_is_not_there_is_named(tmp_path):
    done = run_script(
        'fmnist_jax.main',
        CONFIG,
        '--config.data.name=mine',
        f'--config.data.idx_dir={tmp_path}/idx',
        f'--config.data.data_dir={tmp_path}/data',
        f'--workdir={tmp_path}/run',
    )
    assert_fails(done, f'{tmp_path}/idx is not a folder')
    assert not list(tmp_path.iterdir())


EVALUATE = {
    'no work folder': ([], ['--workdir is missing']),
    'absent work folder': (
        ['--workdir={folder}/absent'],
        ['{folder}/absent/config.json is missing', 'is {folder}/absent a work folder?'],
    ),
    'no checkpoint': (['--workdir={folder}'], ['no whole checkpoint in {folder}']),
    'unknown split': (
        ['--workdir={folder}', '--split=tset'],
        ['--split=tset', 'train|validation|test'],
    ),
}


@pytest.mark.parametrize('case', EVALUATE)
def test_mistake_in_the_arguments_of_evaluate(tmp_path, case):
    config = config_lib.to_dict(default.get_config())
    (tmp_path / workdir_lib.CONFIG).write_text(json.dumps(config))
    arguments, parts = (
        [text.format(folder=tmp_path) for text in texts] for texts in EVALUATE[case]
    )
    assert_fails(run_script('fmnist_jax.evaluate', *arguments), *parts)


def test_divergence_names_the_step_and_leaves_the_work_folder_whole(
    tmp_path, small_config, dataset
):
    notes = tmp_path / 'notes.txt'
    notes.write_text('mine')
    arguments = [
        'fmnist_jax.main',
        CONFIG,
        '--config.model.name=linear',
        '--config.optimizer.name=sgd',
        '--config.optimizer.learning_rate=1e38',
        f'--config.data.data_dir={small_config.data.data_dir}',
        f'--config.data.train_split={small_config.data.train_split}',
        f'--config.data.validation_split={small_config.data.validation_split}',
        f'--workdir={tmp_path}',
    ]
    line = assert_fails(run_script(*arguments), 'finite', exit_code=3)
    assert re.search(r'\bstep \d+', line)
    assert notes.read_text() == 'mine'
    config = json.loads((tmp_path / workdir_lib.CONFIG).read_text())
    assert config['optimizer']['learning_rate'] == 1e38
    for text in (tmp_path / workdir_lib.METRICS).read_text().splitlines():
        assert math.isfinite(json.loads(text)['loss'])
    again = assert_fails(run_script(*arguments), exit_code=3)
    assert again == line


RANGES = [
    ('seed', -1),
    ('seed', 2**32),
    ('batch_size', 0),
    ('batch_size', -8),
    ('num_epochs', 0),
    ('num_epochs', -1),
    ('eval_batch_size', 0),
    ('num_cpu_devices', 0),
    ('steps_per_call', 0),
    ('checkpoint.keep_last', 1),
    ('checkpoint.every_minutes', -1.0),
    ('checkpoint.every_minutes', math.nan),
    ('checkpoint.every_minutes', math.inf),
    ('logging.every_seconds', math.inf),
    ('logging.every_seconds', -0.5),
    ('optimizer.learning_rate', -0.1),
    ('optimizer.learning_rate', math.inf),
    ('optimizer.learning_rate', math.nan),
    ('optimizer.momentum', -0.1),
    ('optimizer.momentum', 1.0),
    ('optimizer.b1', 1.0),
    ('optimizer.b2', 1.5),
    ('optimizer.eps', -1e-8),
    ('optimizer.weight_decay', -0.1),
    ('optimizer.clip_norm', 0.0),
    ('optimizer.clip_norm', 'small'),
    ('optimizer.decay_rate', 0.0),
    ('optimizer.warmup', 5),
    ('optimizer.warmup', '-1 epoch'),
    ('optimizer.warmup', '5 minutes'),
    ('optimizer.decay_every', None),
    ('label_smoothing', 1.0),
    ('train_metrics', 'sometimes'),
    ('init_from', 3),
    ('data.idx_dir', 3),
    ('model.name', None),
    ('augmentation', 2),
    ('data.mean', math.nan),
    ('data.std', 0.0),
    ('data.std', -1.0),
    ('data.std', (0.5, 0.0, 0.5)),
    ('data.std', 'large'),
    ('batch_size', 2.5),
    ('batch_size', True),
    ('batch_size', None),
    ('seed', '0'),
    ('optimizer.learning_rate', '0.1'),
    ('optimizer.learning_rate', None),
    ('optimizer.name', None),
    ('precision', 32),
    ('data.train_split', 5),
    ('data.data_dir', None),
    ('data.class_names', ()),
    ('data.class_names', 'cat'),
    ('data.class_names', (None,)),
    ('data.class_names', ('cat', 3)),
    ('data.class_names', ('cat', '')),
    ('data.class_names', ('cat', 'dog', 'cat')),
    ('data.class_names', ('cat', ' dog')),
    ('data.class_names', ('cat\n', 'dog')),
    ('augmentation', ('horizontal_flip',)),
]


@pytest.mark.parametrize(('field', 'value'), RANGES)
def test_field_out_of_range_or_of_the_wrong_type_is_named(field, value):
    config = changed(default.get_config(), field, value)
    with pytest.raises(UserError) as caught:
        config_lib.validate(config)
    message = str(caught.value)
    assert message.startswith(f'{field} must be ')
    assert '\n' not in message


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('seed', 2**32 - 1),
        ('optimizer.learning_rate', 0),
        ('optimizer.momentum', 0),
        ('checkpoint.every_minutes', None),
        ('num_cpu_devices', None),
        ('data.mean', (0.1, 0.2, 0.3)),
        ('data.class_names', ('cat', "a dog's, Größe 2")),
        ('data.class_names', ['cat']),
        ('model.width', 3),
        ('data.idx_dir', '~/mine'),
    ],
)
def test_field_at_the_edge_of_its_range_is_accepted(field, value):
    config_lib.validate(changed(default.get_config(), field, value))


@pytest.mark.parametrize(
    'field', ['batchsize', 'optimizer.lr', 'data.split', 'extra.x']
)
def test_field_that_is_unknown_is_named(field):
    config = changed(default.get_config(), field, 1)
    with pytest.raises(UserError, match=f"unknown config field '{re.escape(field)}'"):
        config_lib.validate(config)


def changed(config: ConfigDict, field: str, value: object) -> ConfigDict:
    """A config with one field set, to a value of any type."""
    values = config.to_dict()
    *parents, last = field.split('.')
    holder = values
    for parent in parents:
        holder = holder.setdefault(parent, {})
    holder[last] = value
    return ConfigDict(values)


NAMES = {
    'model.name': ('bn_cn', "unknown model 'bn_cn'; did you mean 'bn_cnn'?"),
    'model.kernels': (3, "field of model 'tinyvgg' 'kernels'"),
    'optimizer.name': ('adm', "unknown optimizer.name 'adm'; did you mean 'adam'?"),
    'optimizer.schedule': ('cosin', "'cosin'; did you mean 'cosine'?"),
    'precision': ('float23', "unknown precision 'float23'; did you mean 'float32'?"),
    'augmentation': (({'name': 'flip'},), "unknown augmentation 'flip'"),
    'data.name': ('mnist', "unknown data.name 'mnist'; did you mean 'fashion_mnist'?"),
    'data.train_split': ('train[', "split 'train[' of fashion_mnist"),
    'batch_size': (641, 'batch_size 641 is more than the 640 examples of data.train_s'),
}


@pytest.mark.parametrize('field', NAMES)
def test_name_that_is_unknown_gets_the_nearest(
    small_config: ConfigDict, dataset: Dataset, field: str
):
    value, expected = NAMES[field]
    with pytest.raises(UserError) as caught:
        build_experiment(changed(small_config, field, value))
    message = str(caught.value)
    assert expected in message
    assert '\n' not in message


@pytest.mark.parametrize(
    ('name', 'problem'),
    [
        ('no_such_module:Model', 'No module named'),
        ('fmnist_jax.models:NoSuchModel', 'NoSuchModel'),
        ('fmnist_jax.models:create_model', 'is not a flax.linen.Module'),
        (':Model', 'cannot be imported'),
        ('fmnist_jax.models:', 'cannot be imported'),
    ],
)
def test_model_of_one_s_own_that_cannot_be_used_is_named(small_config, name, problem):
    small_config.model.name = name
    with pytest.raises(UserError, match=re.escape(problem)) as caught:
        build_experiment(small_config)
    assert repr(name) in str(caught.value)


def test_folder_of_data_with_differing_counts_is_named(small_config, tmp_path):
    arrays = {key: array[:100] for key, array in idx_files.parse_real().items()}
    arrays['test_labels'] = arrays['test_labels'][:50]
    folder = idx_files.write_folder(tmp_path / 'idx', arrays)
    small_config.data.update(name='mine', idx_dir=str(folder))
    with pytest.raises(UserError, match='100 test images but 50 test labels') as caught:
        build_experiment(small_config)
    assert str(folder) in str(caught.value)


def test_split_beyond_the_data_of_one_s_own_is_named(small_config, tmp_path):
    folder = idx_files.write_first(tmp_path / 'idx', 100)
    small_config.data.update(
        name='mine', idx_dir=str(folder), data_dir=str(tmp_path / 'data')
    )
    with pytest.raises(UserError, match=r"split 'train\[:640\]' of mine"):
        build_experiment(small_config)


@pytest.mark.parametrize(
    ('field', 'split', 'problem'),
    [
        ('train_split', 'train[:55000]', 'incompatible with 100 examples'),
        ('validation_split', 'train[100:]', 'is empty'),
    ],
)
def test_split_that_does_not_fit_data_of_one_s_own_says_what_would(
    tmp_path, field, split, problem
):
    folder = idx_files.write_first(tmp_path / 'idx', 100)
    config = default.get_config()
    config.data.update(
        name='mine',
        idx_dir=str(folder),
        data_dir=str(tmp_path / 'data'),
        train_split='train[:100]',
    )
    config.data[field] = split
    with pytest.raises(UserError) as caught:
        build_experiment(config)
    message = str(caught.value)
    assert f'split {split!r} of mine' in message
    assert problem in message
    assert '100 examples in train and 100 in test' in message
    assert "--config.data.validation_split='train[90%:]'" in message
    assert '\n' not in message


def test_split_of_a_data_set_names_the_data_set(dataset: Dataset):
    own = dataclasses.replace(dataset, name='mine')
    with pytest.raises(UserError, match="split 'nowhere' of mine"):
        own.split('nowhere')
    assert np.array_equal(own.split('test')[1], dataset.arrays['test_labels'])


@pytest.mark.parametrize('script', ['compare', 'show_data'])
def test_a_reader_that_has_enough_is_no_error(script, finished_run, tmp_path):
    arguments = [str(finished_run)] if script == 'compare' else []
    command = [sys.executable, '-m', f'fmnist_jax.{script}', *arguments]
    with subprocess.Popen(
        [*command, f'--output={tmp_path}'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 141
