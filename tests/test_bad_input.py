"""A mistake in the input gives an exit code and one line that says what is wrong."""

import json
import math
import re
import subprocess
import sys

import pytest

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails

CONFIG = '--config=configs/default.py'

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
