"""Whole runs within this process: training metrics, another run's start, profiles."""

import gzip
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax.errors import UserError
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.train import train_and_evaluate
from fmnist_jax.training.transfer import start_from


@pytest.fixture
def config(small_config: ConfigDict) -> ConfigDict:
    """A config for the devices that this process has."""
    small_config.num_cpu_devices = jax.device_count()
    small_config.model.name = 'linear'
    return small_config


def variables_of(workdir: Path) -> dict:
    """Parameters and running averages of a run's best checkpoint."""
    checkpoints = Checkpoints(epath.Path(workdir))
    return checkpoints.read_variables(checkpoints.find('best', print))


def metrics_of(workdir: Path) -> list[dict]:
    return [json.loads(x) for x in (workdir / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def bn_cnn_run(data_dir, tmp_path_factory) -> tuple[ConfigDict, Path]:
    """A finished run of the batch-normalised model, and its config."""
    from configs import default  # noqa: PLC0415

    config = default.get_config()
    config.data.data_dir = data_dir
    config.data.train_split = 'train[:640]'
    config.data.validation_split = 'train[55000:55500]'
    config.batch_size = 64
    config.num_epochs = 2
    config.num_cpu_devices = jax.device_count()
    config.model.name = 'bn_cnn'
    config.optimizer.learning_rate = 0.05
    workdir = tmp_path_factory.mktemp('bn_cnn') / 'run'
    train_and_evaluate(config, workdir)
    return config, workdir


def test_training_metrics_after_the_epoch_are_those_of_an_evaluation(config, tmp_path):
    config.train_metrics = 'after_epoch'
    config.data.train_split = 'train[:700]'  # 60 more than full batches hold.
    train_and_evaluate(config, tmp_path)
    lines = {line['epoch']: line for line in metrics_of(tmp_path) if 'seconds' in line}
    expected = evaluate(tmp_path, 'train', 'last')
    assert expected['num_examples'] == 700
    assert lines[2]['loss'] == pytest.approx(expected['loss'], rel=1e-5)
    assert lines[2]['accuracy'] == expected['accuracy']
    assert lines[1]['loss'] > lines[2]['loss']


def test_a_run_begins_where_another_ended(bn_cnn_run, tmp_path):
    """With a learning rate of 0 only BatchNorm's averages could move: none has any."""
    config, other = bn_cnn_run
    config = config.copy_and_resolve_references()
    config.init_from = str(other)
    config.optimizer.learning_rate = 0.0
    config.num_epochs = 1
    train_and_evaluate(config, tmp_path)
    lines = [x for x in metrics_of(other) if x['split'] == 'validation']
    step = max(lines, key=lambda line: line['accuracy'])['step']
    provenance = json.loads((tmp_path / 'provenance.json').read_text())
    origin = provenance['init_from']
    assert (origin['workdir'], origin['step']) == (str(other), step)
    (learned,) = origin['learned_from']
    assert learned['train_split'] == config.data.train_split
    assert learned['sha256'] == provenance['data']['sha256']
    here, there = variables_of(tmp_path), variables_of(other)
    jax.tree.map(np.testing.assert_array_equal, here['params'], there['params'])


def test_layers_that_do_not_fit_are_named_and_stay_as_drawn(bn_cnn_run):
    config, other = bn_cnn_run
    config = config.copy_and_resolve_references()
    config.unlock()
    config.model.hidden = 60
    experiment = build_experiment(config, log=lambda message: None)
    drawn = experiment.create_state()
    log: list[str] = []
    state, _ = start_from(drawn, other, log.append)
    there = variables_of(other)
    for layer in ('Conv_0', 'Conv_1', 'BatchNorm_0', 'BatchNorm_1'):
        for name, array in state.params[layer].items():
            np.testing.assert_array_equal(array, there['params'][layer][name])
            assert array.sharding == drawn.params[layer][name].sharding
    jax.tree.map(
        np.testing.assert_array_equal,
        dict(state.batch_stats),
        dict(there['batch_stats']),
    )
    for layer in ('Dense_0', 'Dense_1'):
        jax.tree.map(
            np.testing.assert_array_equal, state.params[layer], drawn.params[layer]
        )
    text = '\n'.join(log)
    assert 'taken BatchNorm_0, BatchNorm_1, Conv_0, Conv_1' in text
    assert 'drawn fresh Dense_0 (bias is [120] there and [60] here)' in text
    # Its bias would fit; a layer is taken whole or not at all.
    assert 'drawn fresh Dense_1 (kernel is [120, 10] there and [60, 10] here)' in text


def test_a_run_of_another_architecture_is_refused(bn_cnn_run, config, tmp_path):
    config.init_from = str(bn_cnn_run[1])
    with pytest.raises(UserError, match=r'no layer fits: Dense_0 \(bias is \[120\]'):
        train_and_evaluate(config, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_a_start_that_is_not_there_is_refused(config, tmp_path):
    config.init_from = str(tmp_path / 'nowhere')
    with pytest.raises(UserError, match=r'init_from: there is no work folder .*nowher'):
        train_and_evaluate(config, tmp_path / 'run')
    (tmp_path / 'empty').mkdir()
    config.init_from = str(tmp_path / 'empty')
    with pytest.raises(UserError, match='there is no whole checkpoint'):
        train_and_evaluate(config, tmp_path / 'run')


def test_a_profile_holds_what_tensorboard_and_perfetto_read(config, tmp_path):
    config.data.train_split = 'train[:1600]'
    config.num_epochs = 1
    config.steps_per_call = 4
    train_and_evaluate(config, tmp_path, profile=True)
    (trace,) = (tmp_path / 'profile').glob('plugins/profile/*/*.xplane.pb')
    assert trace.stat().st_size > 10_000
    (perfetto,) = (tmp_path / 'profile').glob('plugins/profile/*/perfetto*.json.gz')
    events = json.loads(gzip.decompress(perfetto.read_bytes()))['traceEvents']
    assert len([e for e in events if e.get('ph') == 'X' and e['dur'] >= 0]) > 100
    assert len(metrics_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'warmup': '3 epochs'}, r"warmup '3 epochs' is 30 steps.*whole run has 20"),
        ({'warmup': '20 steps', 'schedule': 'cosine'}, 'whole run has 20'),
        ({'warmup': '1 step', 'schedule': 'one_cycle'}, 'has a rise of its own'),
        ({'decay_every': '32 examples'}, "'32 examples' is less than a step"),
    ],
)
def test_a_schedule_longer_or_shorter_than_it_can_be_is_refused(
    config, fields, message
):
    config.optimizer.update(fields)
    with pytest.raises(UserError, match=message):
        build_experiment(config, log=lambda message: None)
