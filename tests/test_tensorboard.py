"""What TensorBoard reads of a run, by its own reader, against what the run wrote."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from etils import epath
from ml_collections import ConfigDict
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from configs import default
from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.confusion import confusion_matrix_figure
from fmnist_jax.reporting.tensorboard import EventFile
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.train import train_and_evaluate
from tests import event_files
from tests.conftest import ROOT

TAGS = {
    'loss/train',
    'loss/validation',
    'accuracy/train',
    'accuracy/validation',
    'learning_rate',
    'gradient_norm',
    'images_per_second',
}


@pytest.fixture
def config(small_config: ConfigDict) -> ConfigDict:
    """Ten updates an epoch of a linear model, on the devices that are there."""
    small_config.num_cpu_devices = jax.device_count()
    small_config.model.name = 'linear'
    return small_config


def lines_of(workdir: Path) -> list[dict]:
    return [json.loads(x) for x in (workdir / 'metrics.jsonl').read_text().splitlines()]


def line(epoch: int, split: str, **more: float) -> dict:
    value = epoch / 3
    common = {'epoch': epoch, 'step': 10 * epoch, 'split': split}
    return {**common, 'loss': value, 'accuracy': value, **more}


def epochs(number: int) -> list[dict]:
    """The lines of so many epochs of two seconds each."""
    more = {'learning_rate': 0.1, 'gradient_norm': 2.0, 'images_per_second': 9.0}
    return [
        each
        for epoch in range(1, number + 1)
        for each in (
            line(epoch, 'train', seconds=2.0, **more),
            line(epoch, 'validation'),
        )
    ]


def make_event_file(workdir: Path) -> EventFile:
    names = tuple(f'class {label}' for label in range(10))
    return EventFile(epath.Path(workdir), default.get_config(), names)


def test_the_points_are_the_metrics(finished_run):
    events = event_files.read(finished_run)
    points = event_files.points(events)
    assert points.keys() == TAGS
    expected = {tag: [] for tag in TAGS}
    for entry in lines_of(finished_run):
        split = entry['split']
        for key in ('loss', 'accuracy'):
            expected[f'{key}/{split}'].append((entry['step'], np.float32(entry[key])))
        if split == 'train':
            for key in ('learning_rate', 'gradient_norm', 'images_per_second'):
                expected[key].append((entry['step'], np.float32(entry[key])))
    assert points == expected
    assert [step for step, _ in points['loss/train']] == [10, 20]


def test_time_is_the_time_of_training(finished_run):
    events = event_files.read(finished_run)
    _, second = (x['seconds'] for x in lines_of(finished_run) if x['split'] == 'train')
    for tag in TAGS:
        before, after = (event.wall_time for event in events.Tensors(tag))
        assert after - before == pytest.approx(second, abs=1e-5)


def test_the_picture_is_the_confusion_matrix_of_validation(finished_run):
    step, width, height, png = event_files.picture(event_files.read(finished_run))
    metrics = evaluate(finished_run, 'validation', 'last')
    assert step == metrics['checkpoint_step'] == 20
    names = tuple(row['name'] for row in metrics['per_class'])
    figure = confusion_matrix_figure(np.array(metrics['confusion_matrix']), names)
    expected = Image.open(io.BytesIO(style.to_png(figure, dpi=100)))
    shown = Image.open(io.BytesIO(png))
    assert shown.format == 'PNG'
    assert shown.size == (width, height)
    np.testing.assert_array_equal(shown, expected)


def test_hyperparameters_are_the_fields_that_decide_the_result(finished_run):
    shown = event_files.hyperparameters(event_files.read(finished_run))
    values = json.loads((finished_run / 'config.json').read_text())
    assert shown['optimizer.learning_rate'] == values['optimizer']['learning_rate']
    assert shown['batch_size'] == values['batch_size'] == 64
    assert shown['seed'] == values['seed']
    assert shown['model.name'] == values['model']['name'] == 'tinyvgg'
    assert shown['data.validation_split'] == 'train[55000:55500]'
    assert shown['optimizer.clip_norm'] == 'None'
    assert shown['augmentation'] == '[]'
    for field in ('checkpoint', 'logging', 'data.data_dir', 'num_cpu_devices'):
        assert not [name for name in shown if name.startswith(field)]
    assert len(shown) > 20


def test_what_is_no_number_or_text_is_shown_as_text(tmp_path):
    config = default.get_config()
    config.unlock()
    config.augmentation = ({'name': 'pad_and_crop', 'padding': 2},)
    config.data.mean = (0.1, 0.2)
    config.model.scale = float('inf')
    config.model.flag = True
    EventFile(epath.Path(tmp_path), config, ()).write(epochs(1))
    shown = event_files.hyperparameters(event_files.read(tmp_path))
    assert shown['augmentation'] == "[{'name': 'pad_and_crop', 'padding': 2}]"
    assert shown['data.mean'] == '[0.1, 0.2]'
    assert shown['data.std'] == 1.0
    assert shown['model.scale'] == 'inf'
    assert shown['model.flag'] is True


def test_runs_of_one_name_and_other_configs_are_told_apart(tmp_path):
    config = default.get_config()
    names = set()
    for parent in ('a', 'b', 'c'):
        config.seed = int(parent == 'c')
        workdir = tmp_path / parent / 'run'
        EventFile(epath.Path(workdir), config, ()).write(epochs(1))
        names.add(event_files.session(event_files.read(workdir)).group_name)
    assert len(names) == 2
    assert all(name.startswith('run ') for name in names)


def test_readers_that_hold_the_file_open_read_on(tmp_path):
    """As TensorBoard's two readers do, by path and by open file."""
    file = make_event_file(tmp_path)
    file.write(epochs(1))
    (path,) = (tmp_path / 'tensorboard').iterdir()
    loader = EventFileLoader(str(path))
    assert {event.step for event in loader.Load()} == {0, 10}
    with path.open('rb') as opened:
        seen = opened.read()
        for number in (2, 3):
            file.write(epochs(number))
            new = list(loader.Load())
            assert [event.step for event in new] == [10 * number] * 2
            seen += opened.read()
            assert seen == path.read_bytes()
    assert os.listdir(path.parent) == [path.name]


def test_nothing_is_left_of_what_was_there(tmp_path):
    make_event_file(tmp_path).write(epochs(3), np.eye(10, dtype=np.int64))
    make_event_file(tmp_path).write(epochs(2))
    events = event_files.read(tmp_path)
    assert event_files.points(events)['loss/train'] == [
        (10, np.float32(1 / 3)),
        (20, np.float32(2 / 3)),
    ]
    assert 'images' not in events.ActivePlugins()


def test_many_classes_have_a_picture_of_the_most_confused(tmp_path):
    names = tuple(f'class {label}' for label in range(100))
    file = EventFile(epath.Path(tmp_path), default.get_config(), names)
    file.write(epochs(1), np.ones((100, 100), np.int64))
    _, width, height, png = event_files.picture(event_files.read(tmp_path))
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (width, height)
    assert max(picture.size) < 2000


@pytest.mark.parametrize('train_metrics', ['running', 'after_epoch'])
def test_learning_rate_and_gradient_norm_follow_numpy(
    config, dataset, tmp_path, train_metrics
):
    """Softmax regression in float64: gradients before clipping and weight decay."""
    config.train_metrics = train_metrics
    config.optimizer.schedule = 'cosine'
    config.optimizer.clip_norm = 0.3
    config.optimizer.weight_decay = 0.1
    experiment = build_experiment(config, log=lambda message: None)
    initial = jax.device_get(experiment.create_state().params)['Dense_0']
    kernel, bias = (np.float64(initial[name]) for name in ('kernel', 'bias'))
    images, labels = dataset.split('train[:640]')
    pixels = images.reshape(640, -1) / 255
    rate = optax.cosine_decay_schedule(0.1, 20)
    expected = []
    for epoch in range(2):
        order = np.asarray(experiment.epoch_order(epoch))
        norms = []
        for step in range(10):
            batch = order[:, step].reshape(-1)
            x, one_hot = pixels[batch], np.eye(10)[labels[batch]]
            exponentials = np.exp(x @ kernel + bias)
            error = exponentials / exponentials.sum(1, keepdims=True) - one_hot
            gradient, gradient_bias = x.T @ error / 64, error.mean(0)
            norms.append(np.sqrt((gradient**2).sum() + (gradient_bias**2).sum()))
            scale = float(rate(10 * epoch + step))
            clip = min(1, 0.3 / norms[-1])
            kernel = kernel - scale * (clip * gradient + 0.1 * kernel)
            bias = bias - scale * clip * gradient_bias
        assert max(norms) > 0.3
        expected.append((scale, np.mean(norms)))
    train_and_evaluate(config, tmp_path)
    lines = [x for x in lines_of(tmp_path) if x['split'] == 'train']
    found = [(x['learning_rate'], x['gradient_norm']) for x in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_learning_rate_is_that_of_the_last_update(config, tmp_path):
    config.optimizer.schedule = 'one_cycle'
    train_and_evaluate(config, tmp_path)
    points = event_files.points(event_files.read(tmp_path))['learning_rate']
    schedule = optax.cosine_onecycle_schedule(20, 0.1, 0.3, 25, 1e4)
    expected = [(10, float(schedule(9))), (20, float(schedule(19)))]
    np.testing.assert_allclose(points, expected, rtol=1e-5)


def test_a_gradient_too_large_for_its_norm_is_divergence(config, tmp_path):
    """Clipping would make an update of zero of it, again and again."""
    config.data.std = 1e-25
    config.optimizer.clip_norm = 1.0
    with pytest.raises(DivergenceError, match=r'a gradient .* not finite at step 1 '):
        train_and_evaluate(config, tmp_path)


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


def kill_at_save(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The next run ends as it is about to write its checkpoint of this number."""
    save, calls = Checkpoints.save, []

    def save_or_die(*args):
        calls.append(args)
        if len(calls) == number:
            raise Killed
        save(*args)

    monkeypatch.setattr(Checkpoints, 'save', save_or_die)


def train_killed(config: ConfigDict, workdir: Path, at_save: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at_save(monkeypatch, at_save)
        with pytest.raises(Killed):
            train_and_evaluate(config, workdir)


def steps_in(workdir: Path) -> list[int]:
    points = event_files.points(event_files.read(workdir))
    return [step for step, _ in points['loss/validation']]


def test_a_killed_and_resumed_run_has_each_point_once(config, tmp_path):
    config.optimizer.schedule = 'cosine'
    config.steps_per_call = 5
    train_and_evaluate(config, tmp_path / 'whole')
    run = tmp_path / 'run'
    # After the event file of epoch 2 was written, before its checkpoint.
    train_killed(config, run, at_save=2)
    assert steps_in(run) == [10, 20]
    # Again, from the checkpoint of epoch 1, within epoch 2.
    config.checkpoint.every_minutes = 0.0
    train_killed(config, run, at_save=1)
    assert steps_in(run) == [10]
    train_and_evaluate(config, run)
    assert steps_in(run) == [10, 20]
    expected = event_files.same_in_every_run(tmp_path / 'whole')
    assert event_files.same_in_every_run(run) == expected


def test_a_run_that_starts_anew_leaves_no_point_of_before(config, tmp_path):
    config.steps_per_call = 5
    train_killed(config, tmp_path, at_save=1)
    assert steps_in(tmp_path) == [10]
    # Within epoch 1, of which there was no checkpoint.
    config.checkpoint.every_minutes = 0.0
    train_killed(config, tmp_path, at_save=1)
    assert event_files.read(tmp_path).ActivePlugins() == {'hparams'}


def test_an_extended_run_is_as_if_it_had_been_so_long(config, tmp_path):
    config.num_epochs = 3
    train_and_evaluate(config, tmp_path / 'whole')
    config.num_epochs = 2
    train_and_evaluate(config, tmp_path / 'run')
    config.num_epochs = 3
    train_and_evaluate(config, tmp_path / 'run')
    expected = event_files.same_in_every_run(tmp_path / 'whole')
    assert event_files.same_in_every_run(tmp_path / 'run') == expected
    assert expected[1][0] == 30
    assert expected[2]['num_epochs'] == 3


def test_the_start_of_training_waits_for_neither_tensorboard_nor_matplotlib():
    code = (
        'import sys, fmnist_jax.training.train; '
        "print({'tensorboard', 'matplotlib', 'tensorflow'} & sys.modules.keys())"
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
