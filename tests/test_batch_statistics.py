"""S4's evaluation, against NumPy."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from fmnist_jax.training.train import train_and_evaluate
from results import keep
from results.reproduction import batch_statistics
from tests.conftest import make_small_config, run_script
from tests.mistakes import assert_fails


@pytest.fixture(scope='module')
def bn_run(data_dir, tmp_path_factory) -> Path:
    """A small real run with BatchNorm, all of whose checkpoints are kept."""
    config = make_small_config(data_dir)
    config.model.name = 'bn_cnn'
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.01
    config.num_cpu_devices = 8
    workdir = tmp_path_factory.mktemp('bn') / 'run'
    train_and_evaluate(config, workdir)
    return workdir


def convolve(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], (1, 2))
    return np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2))) + bias


def normalize(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """By the batch's own mean and variance, with PyTorch's epsilon."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def bn_cnn(params: dict, images: np.ndarray) -> np.ndarray:
    """S4's network in training mode, in NumPy and float64."""
    p = {
        layer: {k: np.asarray(v, float) for k, v in params[layer].items()}
        for layer in params
    }
    x = images.astype(float)
    for i in range(2):
        x = convolve(x, p[f'Conv_{i}']['kernel'], p[f'Conv_{i}']['bias'])
        x = normalize(x, p[f'BatchNorm_{i}']['scale'], p[f'BatchNorm_{i}']['bias'])
        n, h, w, c = x.shape
        x = np.maximum(x, 0).reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = x.reshape(len(x), -1) @ p['Dense_0']['kernel'] + p['Dense_0']['bias']
    return np.maximum(x, 0) @ p['Dense_1']['kernel'] + p['Dense_1']['bias']


@pytest.mark.slow
def test_batch_statistics_are_those_of_all_test_images(bn_run, dataset):
    result = batch_statistics.score(bn_run)
    assert json.loads((bn_run / keep.BATCH_STATISTICS).read_text()) == result
    assert [epoch['step'] for epoch in result['epochs']] == [10, 20]
    images, labels = dataset.split('test[:500]')
    assert result['num_examples'] == 500
    for epoch in result['epochs']:
        model = trained.load(epath.Path(bn_run), str(epoch['step']), log=lambda m: None)
        for name, factor in (('raw', 1.0), ('scaled', 1 / 255)):
            logits = bn_cnn(model.params, images * factor)
            assert epoch[name]['accuracy'] == (logits.argmax(1) == labels).mean()
            peak = logits.max(1, keepdims=True)
            log_sums = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
            losses = log_sums - logits[np.arange(500), labels]
            assert epoch[name]['loss'] == pytest.approx(losses.mean(), rel=1e-4)
    # It is not what evaluation mode gives.
    lines = (bn_run / 'metrics.jsonl').read_text().splitlines()
    validation = [json.loads(x) for x in lines if '"validation"' in x]
    assert validation[-1]['loss'] != pytest.approx(result['epochs'][-1]['raw']['loss'])


def test_batch_statistics_of_what_has_none(bn_run, finished_run, tmp_path):
    done = run_script('results.reproduction.batch_statistics', str(finished_run))
    assert_fails(done, "'tinyvgg' has no BatchNorm")
    with pytest.raises(UserError, match=r'config\.json is missing'):
        batch_statistics.score(tmp_path)
    shutil.copytree(bn_run, tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '10')
    with pytest.raises(UserError, match='no checkpoint 10 in'):
        batch_statistics.score(tmp_path / 'run')
