"""Distillation: what is learned from teachers, and what is kept of them."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from fmnist_jax.training.ahead_of_time.programs import compile_training, with_devices
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.evaluation import evaluate as evaluate_lib
from fmnist_jax.training.parallel import DeviceGroup
from fmnist_jax.training.teachers import load_teachers
from fmnist_jax.training.train import train_and_evaluate
from fmnist_jax.training.transfer import start_from
from fmnist_jax.workdir import locate
from tests.conftest import make_small_config, run_script
from tests.mistakes import assert_fails
from tests.test_gradients import gradient_of, softmax, start_of
from tests.test_step import train


@pytest.fixture(scope='module')
def teachers(data_dir: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two linear models, normalised in ways of their own."""
    folders = []
    for seed in (1, 2):
        config = make_linear(data_dir, seed)
        folder = tmp_path_factory.mktemp('teachers') / f'seed{seed}'
        train_and_evaluate(config, folder)
        folders.append(folder)
    return folders


def make_linear(data_dir: str, seed: int) -> ConfigDict:
    config = make_small_config(data_dir)
    config.num_cpu_devices = 8
    config.model.name = 'linear'
    config.seed = seed
    config.num_epochs = 1
    config.data.mean, config.data.std = 0.1 * seed, 0.3
    return config


def teacher_probabilities(folder: Path, x: np.ndarray, temperature: float):
    model = trained.load(locate(folder), log=lambda message: None)
    layer = model.params['Dense_0']
    normal = (x - model.config.data.mean) / model.config.data.std
    logits = normal @ np.float64(layer['kernel']) + np.float64(layer['bias'])
    return softmax(logits / temperature)


@pytest.mark.parametrize('number', [1, 2])
def test_a_student_of_linear_teachers_follows_numpy(
    small_config, devices, teachers, number
):
    config, weight, temperature = small_config, 0.7, 3.0
    config.model.name = 'linear'
    config.precision = 'float64'
    config.optimizer.learning_rate = 0.05
    config.distillation.teachers = tuple(map(str, teachers[:number]))
    config.distillation.weight = weight
    config.distillation.temperature = temperature
    with jax.enable_x64(True):
        kernel, bias, batches = start_of(config, devices[:2])
        state, losses = train(config, devices[:2], 3)
    for (x, one_hot), loss in zip(batches, losses, strict=False):
        probabilities = softmax(x @ kernel + bias)
        expected = -np.log((probabilities * one_hot).sum(1)).mean()
        # What is reported is the labels' cross-entropy. Teachers compute in float32.
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        soft = [teacher_probabilities(f, x, temperature) for f in teachers[:number]]
        hard = gradient_of(kernel, bias, x, one_hot)
        softened = softmax((x @ kernel + bias) / temperature) - np.mean(soft, 0)
        # d/dz of T^2 KL(p || softmax(z / T)) is T (softmax(z / T) - p).
        difference = temperature * softened / len(x)
        kernel = kernel - 0.05 * ((1 - weight) * hard[0] + weight * x.T @ difference)
        bias = bias - 0.05 * ((1 - weight) * hard[1] + weight * difference.sum(0))
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], kernel, atol=1e-6)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], bias, atol=1e-6)


def test_teachers_see_the_students_own_images(small_config, devices, teachers):
    """Where images are changed, a student that is its teacher stays as it is."""
    config = small_config
    config.model.name = 'linear'
    config.augmentation = ({'name': 'horizontal_flip', 'probability': 1.0},)
    config.data.mean, config.data.std = 0.1, 0.3
    config.init_from = str(teachers[0])
    config.distillation.teachers = (str(teachers[0]),)
    config.distillation.weight = 1.0
    experiment = build_experiment(config, DeviceGroup(devices[:2]))
    state, _ = start_from(
        experiment.create_state(), config.init_from, lambda message: None
    )
    before = jax.device_get(state.params)
    examples = experiment.place(*experiment.dataset.split(config.data.train_split))
    state, progress = experiment.train_call(3)(
        experiment.group.replicate(state),
        experiment.hyperparameters,
        experiment.inputs(examples),
        experiment.group.replicate(np.int32(0)),
        experiment.epoch_order(0),
    )
    assert float(progress.sums.gradient_norm) < 1e-5
    for a, b in zip(
        jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


def altered(folder: Path, copy: Path, **fields) -> str:
    """A copy of a work folder whose config has other fields."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / 'config.json').read_text())
    (copy / 'config.json').write_text(json.dumps(config | fields))
    return str(copy)


def test_a_teacher_may_have_had_other_devices(teachers, dataset, tmp_path):
    folder = altered(teachers[0], tmp_path / 'teacher', num_cpu_devices=3)
    told = []
    (teacher,) = load_teachers([folder], dataset, told.append)
    assert teacher.step == 10
    assert told == [f'teacher: {folder}, step 10']
    assert len(jax.devices()) == 8


def test_a_teacher_in_float64_does_not_switch_it_on(teachers, dataset, tmp_path):
    folder = altered(teachers[0], tmp_path / 'teacher', precision='float64')
    with pytest.raises(UserError, match='teacher was trained in float64'):
        load_teachers([folder], dataset, lambda message: None)
    assert not jax.config.jax_enable_x64


def test_a_teachers_convolutions_are_in_no_loop_either(
    student_config, finished_run, tmp_path
):
    """XLA's own, for which there are no kernels in bfloat16."""
    config = student_config
    assert build_experiment(config, log=lambda message: None).functions.in_loop
    folder = altered(finished_run, tmp_path / 'teacher', precision='bfloat16')
    config.distillation.teachers = (folder,)
    experiment = build_experiment(config, log=lambda message: None)
    assert not experiment.functions.in_loop


def test_a_step_with_teachers_is_compiled_ahead_of_time(student_config, devices):
    experiment = build_experiment(student_config, log=lambda message: None)
    student_config.distillation.teachers = ()
    alone = build_experiment(student_config, log=lambda message: None)
    sizes = [
        compile_training(with_devices(one, devices[:2]))
        .program.memory_analysis()
        .argument_size_in_bytes
        for one in (experiment, alone)
    ]
    # The teacher's parameters, its weight and the temperature, in float32.
    assert sizes[0] - sizes[1] == 4 * (7850 + 2)


@pytest.fixture
def student_config(data_dir: str, teachers: list[Path]) -> ConfigDict:
    config = make_linear(data_dir, seed=3)
    config.distillation.teachers = (str(teachers[0]),)
    config.optimizer.schedule = 'constant'
    return config


def test_provenance_names_the_teachers_and_what_they_learned_from(
    student_config, teachers, tmp_path
):
    train_and_evaluate(student_config, tmp_path / 'student')
    provenance = json.loads((tmp_path / 'student' / 'provenance.json').read_text())
    (entry,) = provenance['teachers']
    assert entry['workdir'] == str(teachers[0])
    assert entry['step'] == 10
    assert entry['learned_from'][0]['train_split'] == 'train[:640]'


def test_a_run_does_not_go_on_with_another_teacher(student_config, teachers, tmp_path):
    folder = tmp_path / 'teacher'
    shutil.copytree(teachers[0], folder)
    student_config.distillation.teachers = (str(folder),)
    train_and_evaluate(student_config, tmp_path / 'student')
    shutil.rmtree(folder)
    shutil.copytree(teachers[1], folder)
    student_config.num_epochs = 2
    with pytest.raises(UserError, match='was begun with another teacher'):
        train_and_evaluate(student_config, tmp_path / 'student')
    shutil.rmtree(folder)
    shutil.copytree(teachers[0], folder)
    state = train_and_evaluate(student_config, tmp_path / 'student')
    assert int(state.step) == 20
    assert_damage_is_told(student_config, tmp_path / 'student')


def assert_damage_is_told(config: ConfigDict, folder: Path) -> None:
    """Of what `provenance.json` says of teachers."""
    path = folder / 'provenance.json'
    provenance = json.loads(path.read_text())
    config.num_epochs = 3
    for teachers in (3, [], ['one'], [{}]):
        path.write_text(json.dumps(provenance | {'teachers': teachers}))
        with pytest.raises(UserError, match=r'provenance\.json is damaged'):
            train_and_evaluate(config, folder)
    with pytest.raises(UserError, match=r'provenance\.json is damaged'):
        evaluate_lib.evaluate(folder)


def test_scoring_a_student_on_what_its_teacher_learned_from_is_told(
    student_config, tmp_path, monkeypatch
):
    """A teacher that has seen the test images hands them on."""
    # Seconds, of which nothing is read here.
    monkeypatch.setattr(evaluate_lib, 'write_report', lambda *_: None)
    config = make_linear(student_config.data.data_dir, seed=4)
    config.data.train_split = 'test[:640]'
    train_and_evaluate(config, tmp_path / 'teacher')
    student_config.distillation.teachers = (str(tmp_path / 'teacher'),)
    train_and_evaluate(student_config, tmp_path / 'student')
    metrics = evaluate_lib.evaluate(tmp_path / 'student')
    assert metrics['selection']['shared_with_train'] == 500


@pytest.mark.parametrize(
    ('flag', 'words'),
    [
        ('teachers=no,where', ['folder no,where: several are', "('one', 'two')"]),
        ("teachers=('one',", ['--config.distillation.teachers', 'quotes']),
        ("teachers=('{tmp}',)", ['distillation.teachers', 'config.json']),
        ('teachers=(3,)', ['distillation.teachers', 'tuple of texts']),
        ('weight=1.5', ['distillation.weight', 'at most 1']),
        ('temperature=0.0', ['distillation.temperature', 'above 0']),
    ],
)
def test_a_mistake_is_told_in_a_line(tmp_path, data_dir, flag, words):
    flag = flag.replace('{tmp}', str(tmp_path))
    done = run_script(
        'fmnist_jax.main',
        '--config=configs/default.py',
        f'--config.data.data_dir={data_dir}',
        f'--config.distillation.{flag}',
        f'--workdir={tmp_path / "run"}',
    )
    assert_fails(done, *words)
