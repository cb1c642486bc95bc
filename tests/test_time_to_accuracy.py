"""`benchmarks.time_to_accuracy`: what it measures, and mistakes in its flags."""

import json

import numpy as np
import pytest

from benchmarks import timed_runs
from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.errors import DivergenceError, UserError
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import run_script
from tests.mistakes import assert_fails

SCRIPT = 'benchmarks.time_to_accuracy'


@pytest.fixture
def quick_config(small_config):
    """Trains in a moment, on as many devices as the tests have already."""
    small_config.model.name = 'linear'
    small_config.num_cpu_devices = 8
    # The last call of an epoch is a shorter one.
    small_config.steps_per_call = 4
    return small_config


def test_means_and_the_share_that_reaches_the_target():
    runs = [
        {'seconds': 1.0, 'accuracy': 0.95},
        {'seconds': 2.0, 'accuracy': 0.94},
        {'seconds': 6.0, 'accuracy': 0.93},
        {'seconds': 3.0, 'accuracy': 0.93},
    ]
    summary = timed_runs.summarize(runs, 0.94)
    assert summary['share_at_target'] == 0.5
    assert not summary['mean_reaches_target']
    for name in ('seconds', 'accuracy'):
        values = [run[name] for run in runs]
        np.testing.assert_allclose(summary[name]['mean'], np.mean(values))
        np.testing.assert_allclose(summary[name]['std'], np.std(values, ddof=1))
    assert timed_runs.summarize(runs[:2], 0.94)['mean_reaches_target']
    assert timed_runs.summarize(runs[:1], 0.94)['accuracy']['std'] is None


@pytest.mark.slow
def test_a_run_comes_to_what_training_it_comes_to(quick_config, tmp_path):
    """Beside `fmnist_jax.main`'s own loop, from the same seeds."""
    quick_config.ema_decay = 0.9
    report = timed_runs.measure(quick_config, 2, 0.5, split='validation')
    assert [run['seed'] for run in report['runs']] == [0, 1]
    for run in report['runs']:
        quick_config.seed = run['seed']
        workdir = tmp_path / str(run['seed'])
        train_and_evaluate(quick_config, workdir)
        *_, last = (workdir / 'metrics.jsonl').read_text().splitlines()
        assert run['accuracy'] == json.loads(last)['accuracy']
        assert 0 < run['seconds'] < 60
    first, second = report['runs']
    assert first['accuracy'] != second['accuracy']


@pytest.mark.slow
def test_a_quick_run(data_dir, tmp_path):
    done = run_script(
        SCRIPT,
        '--config=configs/tinyvgg.py',
        f'--config.data.data_dir={data_dir}',
        '--config.data.train_split=train[:640]',
        '--config.data.test_split=test[:500]',
        '--config.num_epochs=1',
        '--target=0.1',
        '--runs=2',
        f'--output={tmp_path}/new/measured.json',
    )
    assert done.returncode == 0, done
    report = json.loads((tmp_path / 'new' / 'measured.json').read_text())
    assert (report['split'], report['target']) == ('test', 0.1)
    assert report['num_parameters'] == 7740
    assert report['summary'] == timed_runs.summarize(report['runs'], 0.1)
    assert report['config']['num_epochs'] == 1
    assert report['devices']['platform'] == 'cpu'
    assert '2 runs: ' in done.stdout


def test_a_run_that_diverges_is_told(quick_config):
    quick_config.optimizer.learning_rate = 1e38
    with pytest.raises(DivergenceError, match=r'seed 0 diverged: .* at step'):
        timed_runs.measure(quick_config, 1, 0.5)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('init_from', 'runs/other', 'init_from must be None'),
        ('distillation.teachers', ('runs/other',), 'teachers must be empty'),
    ],
)
def test_what_was_trained_before_is_refused(field, value, message):
    config = default.get_config()
    config.num_cpu_devices = 8
    config.update_from_flattened_dict({field: value})
    config_lib.validate(config)
    with pytest.raises(UserError, match=message):
        timed_runs.measure(config, 1, 0.5)


CONFIG = '--config=configs/tinyvgg.py'


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        ((), '--config is missing'),
        ((CONFIG, '--runs=0'), '--runs=0'),
        ((CONFIG, '--target=94'), '--target=94'),
        ((CONFIG, '--output=/'), '--output: / is a folder; name a file'),
        ((CONFIG, '--output=/proc/no/file'), 'cannot write to /proc/no: '),
        ((CONFIG, '--config.batch_size=0'), 'batch_size must be '),
    ],
)
def test_mistakes_in_the_flags(arguments, part):
    assert_fails(run_script(SCRIPT, *arguments), part)
