"""Views, calibration, ensembles and robustness of small real runs."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

from fmnist_jax.data.corruptions import CORRUPTIONS, corrupt
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.training import trained
from fmnist_jax.training.evaluation import evaluate as evaluate_lib
from fmnist_jax.training.evaluation.ensemble import evaluate_ensemble
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.evaluation.robustness import measure_robustness
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import make_small_config, run_script
from tests.mistakes import assert_fails

LABELS = list(range(10))


@pytest.fixture(autouse=True)
def without_report(request, monkeypatch):
    """Seconds an evaluation; only tests of reports need it."""
    if 'report' not in request.node.name:
        monkeypatch.setattr(evaluate_lib, 'write_report', lambda *_: None)


@pytest.fixture(scope='module')
def linear_run(data_dir, tmp_path_factory) -> Path:
    """A run of another model on the same data."""
    config = make_small_config(data_dir)
    config.model = {'name': 'linear'}
    config.num_epochs, config.seed = 1, 1
    # Shared by five of the devices; the other run's, by eight.
    config.batch_size = 65
    config.num_cpu_devices = 8
    workdir = tmp_path_factory.mktemp('runs') / 'linear'
    train_and_evaluate(config, workdir)
    return workdir


@pytest.fixture
def copied(linear_run, tmp_path) -> Path:
    """A work folder to spoil."""
    ignored = shutil.ignore_patterns('eval')
    shutil.copytree(linear_run, tmp_path / 'copied', ignore=ignored)
    return tmp_path / 'copied'


def change(path: Path, *keys: str, value) -> None:
    """Sets a value in a file of JSON."""
    values = json.loads(path.read_text())
    holder = values
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    path.write_text(json.dumps(values))


def predictions(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that `evaluate` wrote."""
    with np.load(folder / 'predictions.npz') as file:
        return file['labels'], file['probabilities']


def normalised(probabilities: np.ndarray) -> np.ndarray:
    exact = probabilities.astype(np.float64)
    return exact / exact.sum(1, keepdims=True)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of 15 bins, one image after the other."""
    bins = [[] for _ in range(15)]
    for row, label in zip(probabilities, labels, strict=True):
        place = int(np.ceil(row.max() * 15)) - 1
        bins[place].append(row.max() - (row.argmax() == label))
    return sum(abs(sum(gaps)) for gaps in bins) / len(labels)


def test_flipped_views_are_the_mean_over_both_sides(finished_run, dataset):
    single = evaluate(finished_run)
    before = (finished_run / 'eval' / 'test' / 'metrics.json').read_bytes()
    metrics = evaluate(finished_run, views='flip')
    assert (finished_run / 'eval' / 'test' / 'metrics.json').read_bytes() == before
    folder = finished_run / 'eval' / 'test-flip'
    assert json.loads((folder / 'metrics.json').read_text()) == metrics
    assert metrics['views'] == 'flip'
    assert {'views', 'calibration'}.isdisjoint(single)
    assert metrics.keys() == {*single, 'views'}

    images, labels = dataset.split('test[:500]')
    model = create_model('tinyvgg', num_classes=10)
    params = trained.load(epath.Path(finished_run)).params
    data = json.loads((finished_run / 'config.json').read_text())['data']
    apply = jit_once(model.apply)
    both = [
        jax.nn.softmax(
            apply(
                {'params': params}, jnp.float32((x / 255 - data['mean']) / data['std'])
            )
        )
        for x in (images, np.flip(images, axis=2))
    ]
    held, probabilities = predictions(folder)
    np.testing.assert_array_equal(held, labels)
    assert np.abs(both[0] - both[1]).max() > 0.01
    np.testing.assert_allclose(probabilities, (both[0] + both[1]) / 2, atol=1e-5)
    assert metrics['accuracy'] == accuracy_score(labels, probabilities.argmax(1))
    loss = log_loss(labels, normalised(probabilities), labels=LABELS)
    assert metrics['nll'] == pytest.approx(loss, rel=1e-5)


def test_calibration_is_fitted_on_validation_alone(finished_run, capsys):
    plain = evaluate(finished_run)
    folder = finished_run / 'eval' / 'test'
    before = (folder / 'predictions.npz').read_bytes()
    metrics = evaluate(finished_run, calibrate=True)
    assert (folder / 'predictions.npz').read_bytes() == before
    calibration = metrics.pop('calibration')
    assert metrics == plain
    assert calibration['split_spec'] == 'train[55000:55500]'
    assert calibration['num_examples'] == 500
    temperature = calibration['temperature']
    assert f'at temperature {temperature:.4f}, fitted on val' in capsys.readouterr().out

    evaluate(finished_run, 'validation')
    labels, probabilities = predictions(finished_run / 'eval' / 'validation')

    def loss(candidate):
        scaled = normalised(probabilities.astype(float) ** (1 / candidate))
        return log_loss(labels, scaled, labels=LABELS)

    assert loss(temperature) < loss(1) - 1e-4
    assert loss(temperature) <= min(map(loss, temperature * np.linspace(0.9, 1.1, 21)))
    labels, probabilities = predictions(folder)
    scaled = normalised(probabilities.astype(float) ** (1 / temperature))
    assert calibration['nll'] == pytest.approx(log_loss(labels, scaled, labels=LABELS))
    expected = calibration_error(scaled, labels)
    assert calibration['ece'] == pytest.approx(expected, abs=1e-6)
    assert sum(bin['count'] for bin in calibration['calibration_bins']) == 500


@pytest.mark.parametrize(
    ('split', 'field', 'spec', 'message'),
    [
        ('validation', 'test_split', 'test[:9]', 'shares 500 images with validation'),
        ('test', 'validation_split', 'test[400:]', 'shares 100 images with test'),
        ('test', 'validation_split', 'train[600:700]', 'was trained on 40 of its'),
    ],
)
def test_a_temperature_that_says_nothing_of_new_images_is_refused(
    split, field, spec, message, copied
):
    change(copied / 'config.json', 'data', field, value=spec)
    with pytest.raises(UserError, match=message) as caught:
        evaluate(copied, split, calibrate=True)
    assert '\n' not in str(caught.value)
    assert not (copied / 'eval').exists()
    evaluate(copied, split)


def test_unknown_views_are_refused(finished_run):
    with pytest.raises(UserError, match="unknown views 'flop'; did you mean 'flip'"):
        evaluate(finished_run, views='flop')
    done = run_script('fmnist_jax.evaluate', '--workdir=nowhere', '--views=flop')
    assert_fails(done, '--views=flop', 'none|flip')


def test_an_ensemble_is_the_mean_of_its_members(finished_run, linear_run, tmp_path):
    members = [str(finished_run), str(linear_run)]
    alone = [evaluate(member) for member in members]
    each = [predictions(Path(member) / 'eval' / 'test') for member in members]
    folder = tmp_path / 'ensemble'
    metrics = evaluate_ensemble(folder, members)
    labels, probabilities = predictions(folder / 'eval' / 'test')
    np.testing.assert_array_equal(labels, each[0][0])
    expected = (each[0][1] + each[1][1]) / 2
    assert np.abs(each[0][1] - each[1][1]).max() > 0.1
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert metrics['accuracy'] == accuracy_score(labels, expected.argmax(1))
    loss = log_loss(labels, normalised(expected), labels=LABELS)
    assert metrics['nll'] == pytest.approx(loss, rel=1e-5)
    assert json.loads((folder / 'eval/test/metrics.json').read_text()) == metrics

    assert metrics['num_parameters'] == 7740 + 7850
    held = json.loads((folder / 'ensemble.json').read_text())
    assert held['num_parameters'] == metrics['num_parameters']
    assert held['members'] == metrics['members']
    for row, name, one in zip(held['members'], members, alone, strict=True):
        assert row['workdir'] == name
        assert row['checkpoint_step'] == one['checkpoint_step']
        assert row['num_parameters'] == one['num_parameters']
    assert alone[0].keys() - metrics.keys() == {'checkpoint_step'}
    assert metrics['selection']['shared_with_train'] == 0
    assert metrics['selection']['members'] == [one['selection'] for one in alone]

    # Fitted to the mean, not to a member.
    both = evaluate_ensemble(folder, members, views='flip', calibrate=True)
    assert (folder / 'eval' / 'test-flip' / 'predictions.npz').exists()
    flipped = [evaluate(member, views='flip', calibrate=True) for member in members]
    temperatures = [one['calibration']['temperature'] for one in flipped]
    assert both['calibration']['temperature'] < min(temperatures)


def test_of_an_ensemble_the_member_that_knows_the_split_counts(
    linear_run, copied, tmp_path
):
    """One started from weights that were learned from test images."""
    sha256 = json.loads((copied / 'provenance.json').read_text())['data']['sha256']
    learned = [
        {
            'train_split': 'test[:70]',
            'validation_split': 'train[:9]',
            'sha256': sha256,
        }
    ]
    origin = {'workdir': 'before', 'step': 1, 'learned_from': learned}
    change(copied / 'provenance.json', 'init_from', value=origin)
    metrics = evaluate_ensemble(tmp_path / 'e', [str(linear_run), str(copied)])
    assert metrics['selection']['shared_with_train'] == 70
    assert metrics['selection']['words'].startswith(f'Of {copied}: Yes: the model was')
    shared = [one['shared_with_train'] for one in metrics['selection']['members']]
    assert shared == [0, 70]


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        ('config.json/data/test_split', 'test[:499]', 'data.test_split: test['),
        ('config.json/data/train_split', 'train[:9]', 'data.train_split: trai'),
        ('provenance.json/data/class_names', list('ab'), 'classes: T-shirt'),
        ('provenance.json/data/sha256', {'a': 'b'}, 'the SHA-256 of their data'),
        ('provenance.json/data/sha256', [], 'data.sha256 is no object'),
        ('provenance.json/data', {}, 'does not say data.name'),
    ],
)
def test_members_of_other_data_are_refused(place, value, message, linear_run, copied):
    name, *keys = place.split('/')
    change(copied / name, *keys, value=value)
    folder = copied.parent / 'ensemble'
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        evaluate_ensemble(folder, [str(linear_run), str(copied)])
    assert '\n' not in str(caught.value)
    assert str(copied) in str(caught.value)
    assert not folder.exists()


def test_a_work_folder_that_holds_something_else_is_refused(
    linear_run, copied, tmp_path
):
    members = [str(linear_run), str(copied)]
    with pytest.raises(UserError, match='copied is the work folder of a run'):
        evaluate_ensemble(copied, members)
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(UserError, match='Not a directory'):
        evaluate_ensemble(tmp_path / 'file', members)
    held = tmp_path / 'held' / 'ensemble.json'
    held.parent.mkdir()
    for content, message in (
        ('{"members": [{"workdir": "a"}, {"workdir": "b"}]}', 'another ensemble, of a'),
        ('{"members": 3}', 'is damaged: it has no list of members'),
        ('[]', 'is damaged'),
        ('{', 'cannot be read'),
    ):
        held.write_text(content)
        with pytest.raises(UserError, match=message) as caught:
            evaluate_ensemble(held.parent, members)
        assert '\n' not in str(caught.value)
        assert held.read_text() == content


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        (['{run}'], '--members names 1 run; an ensemble has two or more'),
        ([], '--members names 0 run'),
        (['{run}', ''], '--members has an empty name'),
        (['{run}', '{run}/../linear'], 'twice; name each run once'),
        (['{run}', '{run}/absent'], 'absent/config.json is missing'),
    ],
)
def test_members_that_cannot_be_are_refused(members, message, linear_run, tmp_path):
    names = [name.format(run=linear_run) for name in members]
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        evaluate_ensemble(tmp_path / 'ensemble', names)
    assert '\n' not in str(caught.value)


def test_a_report_names_members_and_shows_both_reliability_diagrams(
    finished_run, linear_run, tmp_path, open_page
):
    folder = tmp_path / 'three cheers'
    members = [str(finished_run), str(linear_run)]
    metrics = evaluate_ensemble(folder, members, views='flip', calibrate=True)
    calibration = metrics['calibration']
    page = open_page(folder / 'eval' / 'test-flip' / 'report.html').page
    text = page.inner_text('main')
    assert 'the mean of 2 models on fashion_mnist' in text
    assert page.locator('h1').inner_text().startswith('three cheers: ')
    for part in (*members, 'tinyvgg', 'linear', '15,590', 'views flip'):
        assert part in text
    assert page.locator('#members').count() == 1
    assert page.locator('#learning').count() == 0
    assert f'becomes {calibration["ece"]:.4f}' in text
    titles = page.locator('svg').text_content()
    assert f'Expected calibration error {metrics["ece"]:.4f}' in titles
    assert f'At temperature {calibration["temperature"]:.4f}' in titles


@pytest.mark.slow
def test_the_script_of_an_ensemble(finished_run, copied, tmp_path):
    # Of the other's devices, in a process that has none yet.
    change(copied / 'config.json', 'num_cpu_devices', value=None)
    done = run_script('fmnist_jax.ensemble', f'--workdir={tmp_path}/e')
    assert_fails(done, '--members is missing')
    done = run_script(
        'fmnist_jax.ensemble',
        f'--workdir={tmp_path}/e',
        f'--members={finished_run},{copied}',
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / 'e' / 'eval/test/metrics.json').read_text())
    assert f'mean of 2 models: loss {metrics["loss"]:.4f}' in done.stdout


def test_robustness_is_the_accuracy_on_corrupted_images(finished_run, dataset, capsys):
    clean = evaluate(finished_run)
    result = measure_robustness(finished_run)
    folder = finished_run / 'eval' / 'test'
    assert json.loads((folder / 'robustness.json').read_text()) == result
    assert result['clean_accuracy'] == clean['accuracy']
    for key in ('checkpoint_step', 'num_examples', 'split_spec', 'selection'):
        assert result[key] == clean[key]
    images, labels = dataset.split('test[:500]')
    model = trained.load(epath.Path(finished_run))
    assert result['corruptions'].keys() == CORRUPTIONS.keys()
    for name, severity in (('contrast', 5), ('gaussian_noise', 1), ('rotation', 3)):
        said = model.probabilities(corrupt(images, name, severity))
        found = result['corruptions'][name]['accuracy'][severity - 1]
        assert found == accuracy_score(labels, said.argmax(1))
    every = [row['accuracy'] for row in result['corruptions'].values()]
    assert np.shape(every) == (5, 5)
    assert result['mean_corruption_accuracy'] == pytest.approx(np.mean(every))
    assert result['corruptions']['rotation']['mean'] == pytest.approx(np.mean(every[2]))
    assert result['mean_corruption_accuracy'] < result['clean_accuracy']
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith('gaussian blur '))
    shown = [f'{100 * x:.2f}' for x in (*every[1], np.mean(every[1]))]
    assert re.findall(r'[\d.]+(?= %)', row) == shown
    with Image.open(folder / 'robustness.png') as image:
        image.load()
        assert min(image.size) > 500
    # Beside what evaluation wrote.
    assert json.loads((folder / 'metrics.json').read_text()) == clean


def test_probabilities_that_are_not_finite_are_refused(
    linear_run, copied, tmp_path, monkeypatch
):
    def nothing(self):
        return lambda images: np.full((len(images), 10), np.nan, np.float32)

    monkeypatch.setattr(trained.TrainedModel, 'predictor', nothing)
    message = f'step 9 of {copied} gives probabilities that are not finite on the test'
    for score in (
        lambda: evaluate(copied),
        lambda: measure_robustness(copied),
        lambda: evaluate_ensemble(tmp_path / 'e', [str(copied), str(linear_run)]),
    ):
        with pytest.raises(UserError, match=message) as caught:
            score()
        assert '\n' not in str(caught.value)
    assert not (copied / 'eval').exists()
    assert not (tmp_path / 'e').exists()


def test_mistakes_in_the_flags_of_robustness():
    assert_fails(run_script('fmnist_jax.robustness'), '--workdir is missing')
    done = run_script('fmnist_jax.robustness', '--workdir=nowhere', '--split=tset')
    assert_fails(done, '--split=tset')


def test_mistakes_in_the_flags_of_an_ensemble(tmp_path):
    assert_fails(run_script('fmnist_jax.ensemble'), '--workdir is missing')
    # Told by what evaluates.
    workdir = f'--workdir={tmp_path / "together"}'
    done = run_script('fmnist_jax.ensemble', workdir, '--members=nowhere')
    assert_fails(done, 'two')
