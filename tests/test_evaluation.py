"""A small run, trained and then evaluated, against scikit-learn."""

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn import metrics as sklearn_metrics

from configs import default
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.training.evaluation import evaluate as evaluate_lib
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.state import TrainState
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import run_script

LABELS = list(range(10))
STEPS_PER_EPOCH = 10
MEAN, STD = 0.286, 0.353


@pytest.fixture(autouse=True)
def without_report(request, monkeypatch):
    """Seconds an evaluation; tests/test_report.py is about reports."""
    if 'report' not in request.node.name:
        monkeypatch.setattr(evaluate_lib, 'write_report', lambda *_: None)


@pytest.fixture(scope='module')
def run_config(data_dir) -> ConfigDict:
    """Four epochs on 650 real images, 10 left out of each; bn_cnn has it all."""
    config = default.get_config()
    config.model.name = 'bn_cnn'
    config.data.data_dir = data_dir
    config.data.train_split = 'train[:650]'
    config.data.validation_split = 'train[55000:55100]'
    config.data.test_split = 'test[:300]'
    config.data.mean = MEAN
    config.data.std = STD
    config.batch_size = 64
    config.num_epochs = 4
    # Divides none of the splits.
    config.eval_batch_size = 72
    config.optimizer.name = 'adam'
    # High enough to spoil after the first epoch what that has learned.
    config.optimizer.learning_rate = 0.1
    config.augmentation = ({'name': 'pad_and_crop', 'padding': 1},)
    # As many as the tests have already.
    config.num_cpu_devices = 8
    return config


@pytest.fixture(scope='module')
def run(run_config, tmp_path_factory) -> tuple[Path, TrainState]:
    """The work folder of a finished run, and its last state."""
    workdir = tmp_path_factory.mktemp('runs') / 'run'
    state = train_and_evaluate(run_config, workdir)
    return workdir, jax.device_get(state)


@pytest.fixture(scope='module')
def workdir(run) -> Path:
    return run[0]


def validation_lines(workdir: Path) -> list[dict]:
    lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    return [line for line in lines if line['split'] == 'validation']


def read(workdir: Path, split: str) -> tuple[dict, np.ndarray, np.ndarray]:
    """What `evaluate` wrote: metrics, labels and probabilities."""
    folder = workdir / 'eval' / split

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    text = (folder / 'metrics.json').read_text()
    metrics = json.loads(text, parse_constant=refuse)
    with np.load(folder / 'predictions.npz') as file:
        return metrics, file['labels'], file['probabilities']


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers_in(item)
    elif not isinstance(value, str):
        yield value


@pytest.mark.parametrize('split', ['test', 'validation', 'train'])
def test_metrics_are_what_scikit_learn_makes_of_the_predictions(
    split, workdir, run_config, dataset
):
    returned = evaluate(workdir, split)
    metrics, labels, probabilities = read(workdir, split)
    assert metrics == returned

    _, expected_labels = dataset.split(run_config.data[f'{split}_split'])
    np.testing.assert_array_equal(labels, expected_labels)
    assert probabilities.shape == (len(labels), 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    count = {'test': 300, 'validation': 100, 'train': 650}[split]
    assert metrics['num_examples'] == len(labels) == count
    assert metrics['num_parameters'] == 55018
    assert all(map(math.isfinite, numbers_in(metrics)))

    predicted = probabilities.argmax(1)
    matrix = sklearn_metrics.confusion_matrix(labels, predicted, labels=LABELS)
    assert metrics['confusion_matrix'] == matrix.tolist()
    accuracy = sklearn_metrics.accuracy_score(labels, predicted)
    assert metrics['accuracy'] == pytest.approx(accuracy, abs=1e-12)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    loss = sklearn_metrics.log_loss(labels, exact, labels=LABELS)
    assert metrics['loss'] == metrics['nll'] == pytest.approx(loss, rel=1e-5)
    assert 0 <= metrics['ece'] <= 1

    keys = ('precision', 'recall', 'f1', 'support')
    table = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=LABELS, zero_division=0
    )
    for label, row in enumerate(metrics['per_class']):
        assert row.keys() == {'label', 'name', *keys}
        assert (row['label'], row['name']) == (label, dataset.class_names[label])
        values = [column[label] for column in table]
        assert [row[key] for key in keys] == pytest.approx(values)
    for average in ('macro', 'weighted'):
        row = metrics[f'{average}_avg']
        *values, _ = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=LABELS, average=average, zero_division=0
        )
        assert row.keys() == set(keys)
        assert [row[key] for key in keys] == pytest.approx([*values, count])
    np.fill_diagonal(matrix, 0)
    assert sum(row['count'] for row in metrics['most_confused']) == matrix.sum()
    top = metrics['most_confused'][0]
    assert top.keys() == {'label', 'predicted', 'count', 'rate'}
    assert top['count'] == matrix.max() == matrix[top['label'], top['predicted']]
    assert top['rate'] == top['count'] / metrics['per_class'][top['label']]['support']


@pytest.mark.parametrize('epoch', [3, 4])
def test_validation_metrics_are_those_logged_while_training(epoch, workdir):
    step = epoch * STEPS_PER_EPOCH
    line = validation_lines(workdir)[epoch - 1]
    assert (line['epoch'], line['step']) == (epoch, step)
    metrics = evaluate(workdir, 'validation', str(step))
    assert metrics['checkpoint_step'] == step
    assert metrics['loss'] == pytest.approx(line['loss'], abs=1e-6)
    assert metrics['accuracy'] == pytest.approx(line['accuracy'], abs=1e-6)


def test_the_best_checkpoint_is_that_of_highest_validation_accuracy(workdir):
    lines = validation_lines(workdir)
    accuracies = [line['accuracy'] for line in lines]
    best = lines[accuracies.index(max(accuracies))]
    # Or this test could not tell best from last.
    assert best is not lines[-1]
    metrics = evaluate(workdir, 'validation')
    assert metrics['checkpoint_step'] == best['step']
    assert metrics['accuracy'] == pytest.approx(best['accuracy'], abs=1e-6)
    assert metrics['loss'] == pytest.approx(best['loss'], abs=1e-6)
    assert evaluate(workdir, 'validation', 'best') == metrics


def test_the_last_checkpoint_is_the_state_at_the_end(run, run_config, dataset):
    workdir, state = run
    metrics = evaluate(workdir, 'test', 'last')
    assert metrics['checkpoint_step'] == int(state.step) == 4 * STEPS_PER_EPOCH
    _, _, probabilities = read(workdir, 'test')

    images, _ = dataset.split(run_config.data.test_split)
    model = create_model('bn_cnn', num_classes=10)
    variables = {'params': state.params, 'batch_stats': state.batch_stats}
    images = jnp.asarray((images / 255 - MEAN) / STD, jnp.float32)
    logits = jit_once(model.apply)(variables, images)
    np.testing.assert_allclose(
        probabilities, jax.nn.softmax(logits), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize('eval_batch_size', [1, 300, 5000])
def test_metrics_do_not_depend_on_the_batch_they_are_computed_in(
    eval_batch_size, workdir, tmp_path
):
    expected = evaluate(workdir, 'test')
    other = tmp_path / 'run'
    other.mkdir()
    for name in ('checkpoints', 'provenance.json'):
        (other / name).symlink_to(workdir / name)
    config = json.loads((workdir / 'config.json').read_text())
    config['eval_batch_size'] = eval_batch_size
    (other / 'config.json').write_text(json.dumps(config))
    metrics = evaluate(other, 'test')
    assert metrics['confusion_matrix'] == expected['confusion_matrix']
    assert metrics['loss'] == pytest.approx(expected['loss'], rel=1e-5)


def test_a_checkpoint_that_is_not_there_is_a_user_error(workdir, tmp_path):
    with pytest.raises(UserError, match=r'no checkpoint 7 .*there are: .*40'):
        evaluate(workdir, 'test', '7')
    with pytest.raises(UserError, match=r"best, last or a step, not 'bset'"):
        evaluate(workdir, 'test', 'bset')
    with pytest.raises(UserError, match=r'config\.json is missing'):
        evaluate(tmp_path / 'nothing')


@pytest.fixture
def copied(finished_run, tmp_path) -> Path:
    """A work folder to spoil."""
    shutil.copytree(finished_run, tmp_path / 'run')
    return tmp_path / 'run'


def without_checkpoints(workdir: Path) -> None:
    shutil.rmtree(workdir / 'checkpoints')


def half_written(workdir: Path) -> None:
    for path in (workdir / 'checkpoints').iterdir():
        (path / 'manifest.sha256').unlink()


def truncated(workdir: Path) -> None:
    for path in workdir.glob('checkpoints/*/state/manifest.ocdbt'):
        path.write_bytes(path.read_bytes()[:10])


def split_out_of_range(workdir: Path) -> None:
    config = json.loads((workdir / 'config.json').read_text())
    config['data']['test_split'] = 'test[20000:]'
    (workdir / 'config.json').write_text(json.dumps(config))


def file_in_the_way(workdir: Path) -> None:
    shutil.rmtree(workdir / 'eval', ignore_errors=True)
    (workdir / 'eval').write_text('mine')


def without_provenance(workdir: Path) -> None:
    (workdir / 'provenance.json').unlink()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (without_checkpoints, 'there is no whole checkpoint in'),
        (half_written, 'there is no whole checkpoint in'),
        (truncated, 'there is no whole checkpoint in'),
        (split_out_of_range, "split 'test[20000:]' of fashion_mnist cannot be taken"),
        (file_in_the_way, 'run/eval: Not a directory; evaluate writes its results'),
        (without_provenance, 'provenance.json is missing'),
    ],
)
def test_a_work_folder_that_is_not_whole_is_a_user_error(spoil, message, copied):
    spoil(copied)
    before = {path: path.stat().st_mtime_ns for path in copied.rglob('*')}
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        evaluate(copied)
    assert '\n' not in str(caught.value)
    now = {p: p.stat().st_mtime_ns for p in copied.rglob('*') if 'eval' not in str(p)}
    assert now.items() <= before.items()


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('config.json', '[]', 'config.json is damaged'),
        ('config.json', '{"a', 'config.json cannot be read'),
        ('provenance.json', '[]', 'provenance.json is damaged'),
        ('provenance.json', '{}', 'does not say data.name'),
        ('provenance.json', '{"data": []}', 'does not say data.name'),
    ],
)
def test_a_damaged_file_is_a_user_error(name, content, message, copied):
    (copied / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        evaluate(copied)


def test_what_a_run_started_from_counts_as_its_own(small_config, tmp_path):
    """Weights learned from the test split stay so when another run trains on them."""
    config = small_config
    config.num_cpu_devices, config.num_epochs = 8, 1
    config.data.train_split = 'test[:200]'
    first = tmp_path / 'first'
    train_and_evaluate(config, first)
    config.data.train_split = 'train[:640]'
    config.init_from = str(first)
    train_and_evaluate(config, tmp_path / 'second')
    config.init_from = str(tmp_path / 'second')
    train_and_evaluate(config, tmp_path / 'third')
    shutil.rmtree(first)
    selection = evaluate(tmp_path / 'third')['selection']
    assert selection['shared_with_train'] == 200
    assert selection['words'].startswith('Yes: the model was trained on 200')
    assert 'unknown_origin' not in selection

    path = tmp_path / 'third' / 'provenance.json'
    provenance = json.loads(path.read_text())
    del provenance['init_from']['learned_from']
    path.write_text(json.dumps(provenance))
    selection = evaluate(tmp_path / 'third')['selection']
    assert selection['unknown_origin'] == str(tmp_path / 'second')
    assert 'it is not known what that was learned from' in selection['words']


def test_a_run_without_an_epoch_has_a_report(copied):
    """Killed within the first epoch: there is a checkpoint, and no metrics yet."""
    step = max(int(path.name) for path in (copied / 'checkpoints').iterdir())
    folder = copied / 'checkpoints' / str(step)
    metadata = folder / 'record' / 'metadata'
    metadata.write_text(json.dumps({'metrics': [], 'epoch_seconds': 1.0}))
    for other in (copied / 'checkpoints').iterdir():
        if other != folder:
            shutil.rmtree(other)
    lines = (folder / 'manifest.sha256').read_text().splitlines()
    digest = hashlib.sha256(metadata.read_bytes()).hexdigest()
    sealed = [
        f'{digest}  record/metadata' if line.endswith('  record/metadata') else line
        for line in lines
    ]
    (folder / 'manifest.sha256').write_text('\n'.join(sealed) + '\n')
    with pytest.raises(UserError, match='no checkpoint from the end of an epoch yet'):
        evaluate(copied)
    metrics = evaluate(copied, checkpoint='last')
    assert metrics['checkpoint_step'] == step
    page = (copied / 'eval' / 'test' / 'report.html').read_text()
    assert 'No epoch has ended yet' in page


def test_the_script_writes_what_the_function_returns(workdir):
    expected = evaluate(workdir, 'validation', 'last')
    (workdir / 'eval' / 'validation' / 'metrics.json').unlink()
    done = run_script(
        'fmnist_jax.evaluate',
        f'--workdir={workdir}',
        '--split=validation',
        '--checkpoint=last',
    )
    assert done.returncode == 0, done.stderr
    metrics, _, _ = read(workdir, 'validation')
    assert metrics.keys() == expected.keys()
    assert metrics['confusion_matrix'] == expected['confusion_matrix']
    assert metrics['loss'] == pytest.approx(expected['loss'], abs=1e-6)
    assert f'accuracy {metrics["accuracy"]:.4f}' in done.stdout
    for name in ('Ankle boot', 'macro average', 'weighted average'):
        assert name in done.stdout


@pytest.mark.parametrize('flags', [('--split=tset',), ('--checkpoint=99',)])
def test_a_mistake_in_the_flags_ends_the_script_with_one_line(flags, workdir):
    done = run_script('fmnist_jax.evaluate', f'--workdir={workdir}', *flags)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith('error: ')
