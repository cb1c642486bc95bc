"""Metrics against scikit-learn, and the tables and progress a person sees."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from fmnist_jax.data import Dataset
from fmnist_jax.models import create_model
from fmnist_jax.reporting import console
from fmnist_jax.reporting.metrics import (
    accuracy_interval,
    calibration_bins,
    classification_report,
    confusion_matrix,
    expected_calibration_error,
    loss_and_accuracy,
)
from fmnist_jax.training.parallel import jit_once

LABELS = list(range(10))
BINS = 15


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def model_predictions(dataset: Dataset, name: str, updates: int) -> np.ndarray:
    """Log-probabilities of 2,000 real test images, after a few full-batch updates."""
    model = create_model(name, num_classes=10)

    def scaled(split):
        images, labels = dataset.split(split)
        return jnp.asarray(images / 255, jnp.float32), jnp.asarray(labels, jnp.int32)

    images, labels = scaled('train[:1000]')

    def loss(params):
        logits = model.apply(params, images, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def trained(test_images):
        params = model.init(jax.random.key(0), test_images[:1], train=False)
        for _ in range(updates):
            gradients = jax.grad(loss)(params)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
        return jax.nn.log_softmax(model.apply(params, test_images, train=False))

    return np.asarray(jit_once(trained)(scaled('test[:2000]')[0]))


@pytest.fixture(
    scope='module',
    params=[
        'random',
        'classes never predicted',
        'classes that never occur',
        'neither predicted nor occurring',
        'one example',
        'untrained model',
        'trained model',
    ],
)
def predictions(request, dataset) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities [n, 10] and labels [n]."""
    case = request.param
    rng = np.random.default_rng(len(case))
    labels = dataset.split('test[:2000]')[1].astype(np.int64)
    log_probabilities = log_softmax(3 * rng.standard_normal((2000, 10)))
    if case == 'untrained model':
        log_probabilities = model_predictions(dataset, 'tinyvgg', 0)
    elif case == 'trained model':
        log_probabilities = model_predictions(dataset, 'linear', 30)
    if case in ('classes never predicted', 'neither predicted nor occurring'):
        log_probabilities[:, [0, 4, 9]] -= 15
        log_probabilities = log_softmax(log_probabilities)
    if case in ('classes that never occur', 'neither predicted nor occurring'):
        kept = ~np.isin(labels, [0, 7])
        log_probabilities, labels = log_probabilities[kept], labels[kept]
    if case == 'one example':
        log_probabilities, labels = log_probabilities[:1], labels[:1]
    return log_probabilities.astype(np.float32), labels


@pytest.fixture
def report(predictions, dataset) -> dict:
    return classification_report(*predictions, dataset.class_names)


def test_the_cases_are_what_they_are_called(predictions, request):
    log_probabilities, labels = predictions
    case = request.node.callspec.params['predictions']
    predicted = set(log_probabilities.argmax(1))
    if case in ('classes never predicted', 'neither predicted nor occurring'):
        assert not predicted & {0, 4, 9}
    if case in ('classes that never occur', 'neither predicted nor occurring'):
        assert not set(labels) & {0, 7}
    if case == 'random':
        assert predicted == set(labels) == set(LABELS)
    if case == 'trained model':
        assert (log_probabilities.argmax(1) == labels).mean() > 0.5
    np.testing.assert_allclose(np.exp(log_probabilities).sum(1), 1, rtol=1e-5)


def test_loss_and_accuracy_are_scikit_learns(predictions, report):
    log_probabilities, labels = predictions
    probabilities = np.exp(log_probabilities.astype(np.float64))
    probabilities /= probabilities.sum(1, keepdims=True)
    loss = sklearn_metrics.log_loss(labels, probabilities, labels=LABELS)
    accuracy = sklearn_metrics.accuracy_score(labels, probabilities.argmax(1))
    assert report['loss'] == report['nll'] == pytest.approx(loss, rel=1e-6)
    assert report['accuracy'] == pytest.approx(accuracy, abs=1e-12)
    assert report['num_examples'] == len(labels)
    assert loss_and_accuracy(log_probabilities, labels) == {
        'loss': report['loss'],
        'accuracy': report['accuracy'],
    }


def test_confusion_matrix_is_scikit_learns(predictions, report):
    log_probabilities, labels = predictions
    expected = sklearn_metrics.confusion_matrix(
        labels, log_probabilities.argmax(1), labels=LABELS
    )
    np.testing.assert_array_equal(report['confusion_matrix'], expected)
    np.testing.assert_array_equal(
        confusion_matrix(log_probabilities.argmax(1), labels, 10), expected
    )


def test_precision_recall_and_f1_of_each_class_are_scikit_learns(
    predictions, report, dataset
):
    log_probabilities, labels = predictions
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, log_probabilities.argmax(1), labels=LABELS, zero_division=0
    )
    rows = report['per_class']
    assert [row['label'] for row in rows] == LABELS
    assert [row['name'] for row in rows] == list(dataset.class_names)
    for key, values in zip(('precision', 'recall', 'f1', 'support'), expected):  # noqa: B905
        np.testing.assert_allclose([row[key] for row in rows], values, rtol=1e-12)


@pytest.mark.parametrize('average', ['macro', 'weighted'])
def test_averages_are_scikit_learns(average, predictions, report):
    log_probabilities, labels = predictions
    *expected, _ = sklearn_metrics.precision_recall_fscore_support(
        labels,
        log_probabilities.argmax(1),
        labels=LABELS,
        average=average,
        zero_division=0,
    )
    row = report[f'{average}_avg']
    actual = [row[key] for key in ('precision', 'recall', 'f1')]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert row['support'] == len(labels)


def slow_calibration_error(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al.'s formula, one example at a time."""
    total = 0.0
    for b in range(BINS):
        count, hits, confidences = 0, 0, 0.0
        for row, label in zip(log_probabilities, labels, strict=True):
            confidence = math.exp(max(row))
            if b / BINS < confidence <= (b + 1) / BINS or (b == confidence == 0):
                count += 1
                hits += int(list(row).index(max(row)) == label)
                confidences += confidence
        if count:
            gap = abs(hits / count - confidences / count)
            total += count / len(labels) * gap
    return total


def test_calibration_error_is_that_of_a_plain_loop(predictions, report):
    log_probabilities, labels = predictions
    expected = slow_calibration_error(log_probabilities.astype(np.float64), labels)
    assert report['ece'] == pytest.approx(expected, abs=1e-9)
    assert 0 <= report['ece'] <= 1


@pytest.mark.parametrize(
    ('confidence', 'hits', 'expected'),
    [(0.75, 3, 0.0), (0.75, 0, 0.75), (0.75, 4, 0.25), (1.0, 2, 0.5), (0.5, 4, 0.5)],
)
def test_calibration_error_of_four_examples(confidence, hits, expected):
    with np.errstate(divide='ignore'):
        row = np.log([confidence, 1 - confidence])
    labels = np.array([0] * hits + [1] * (4 - hits))
    error = expected_calibration_error(calibration_bins(np.tile(row, (4, 1)), labels))
    assert error == pytest.approx(expected, abs=1e-12)


def test_calibration_bins_are_those_of_a_histogram(predictions, report):
    log_probabilities, labels = predictions
    confidence = np.exp(log_probabilities.max(1).astype(np.float64))
    correct = log_probabilities.argmax(1) == labels
    # SciPy's bins are closed below, ours above.
    edges = np.nextafter(np.linspace(0, 1, BINS + 1), 2)
    edges[0] = 0
    means = [
        stats.binned_statistic(confidence, x, 'mean', edges).statistic
        for x in (confidence, correct)
    ]
    counts = stats.binned_statistic(confidence, None, 'count', edges).statistic
    rows = report['calibration_bins']
    assert [row['count'] for row in rows] == counts[counts > 0].tolist()
    for key, mean in zip(('confidence', 'accuracy'), means, strict=True):
        expected = mean[~np.isnan(mean)]
        np.testing.assert_allclose([row[key] for row in rows], expected, rtol=1e-9)
    assert all(row['lower'] <= row['confidence'] <= row['upper'] for row in rows)


@pytest.mark.parametrize(('hits', 'count'), [(8964, 10_000), (0, 7), (7, 7), (1, 2)])
def test_the_interval_of_an_accuracy_is_scipys(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(method='wilson')
    assert accuracy_interval(hits, count) == pytest.approx(tuple(expected), abs=1e-12)


def test_calibration_errors_of_different_bins_do_not_cancel():
    # 0.9 confident and always wrong, 0.6 confident and always right.
    rows = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    error = expected_calibration_error(calibration_bins(rows, np.array([1, 1, 0, 0])))
    assert error == pytest.approx((0.9 + 0.4) / 2)


def test_most_confused_pairs_are_all_the_mistakes_the_most_frequent_first(
    predictions, report
):
    log_probabilities, labels = predictions
    counts = {}
    for label, predicted in zip(labels, log_probabilities.argmax(1), strict=True):
        if label != predicted:
            pair = int(label), int(predicted)
            counts[pair] = counts.get(pair, 0) + 1
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert [
        ((row['label'], row['predicted']), row['count'])
        for row in report['most_confused']
    ] == expected
    for row in report['most_confused']:
        assert row['rate'] == row['count'] / (labels == row['label']).sum()


def test_a_table_is_aligned():
    text = console.table(
        [('short', 1, '0.5'), ('a longer name', 12345, '10.25')], ('name', 'n', 'x')
    )
    assert text.splitlines() == [
        'name               n      x',
        '---------------------------',
        'short              1    0.5',
        'a longer name  12345  10.25',
    ]


def test_a_table_without_rows_is_its_header():
    assert console.table([], ('name', 'n')) == 'name  n\n-------'


@pytest.mark.parametrize(
    ('name', 'total'), [('linear', 7850), ('tinyvgg', 7740), ('bn_cnn', 55018)]
)
def test_the_parameter_table_lists_every_layer_and_their_total(name, total):
    model = create_model(name, num_classes=10)
    init = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    lines = console.parameter_table(init['params']).splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = [line.rsplit(maxsplit=1) for line in lines[2:]]
    numbers = [int(number.replace(',', '')) for _, number in rows]
    assert rows[-1][0].split() == ['total']
    assert numbers[-1] == sum(numbers[:-1]) == total
    assert [text.split()[0] for text, _ in rows[:-1]] == list(init['params'])
    for text, number in rows[:-1]:
        layer, *words = text.replace(',', '').split()
        shapes = dict(zip(words[::2], words[1::2], strict=True))
        leaves = init['params'][layer]
        assert shapes == {k: 'x'.join(map(str, v.shape)) for k, v in leaves.items()}
        assert sum(math.prod(v.shape) for v in leaves.values()) == int(
            number.replace(',', '')
        )


def test_the_per_class_table_shows_the_metrics(report, dataset):
    lines = console.per_class_table(report).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ['class', 'precision', 'recall', 'f1', 'support']
    rows = [line.rsplit(maxsplit=4) for line in lines[2:]]
    names = [*dataset.class_names, 'macro average', 'weighted average']
    assert [row[0].strip() for row in rows] == names
    averages = (report['macro_avg'], report['weighted_avg'])
    for row, metrics in zip(rows, (*report['per_class'], *averages), strict=True):
        for text, key in zip(row[1:4], ('precision', 'recall', 'f1'), strict=True):
            assert text == f'{metrics[key]:.4f}'
        assert int(row[4]) == metrics['support']
    assert sum(int(row[4]) for row in rows[:10]) == int(rows[-1][4])


def progress(every_seconds: float, *dones: int) -> None:
    report = console.ProgressReport(2, 5, 100, 0, every_seconds)
    for done in dones:
        report.update(done, loss=0.51234, accuracy=0.8, batch_size=64)
    report.close()


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    progress(0.0, 10, 50)
    printed = capsys.readouterr()
    assert printed.err == ''
    lines = printed.out.splitlines()
    assert len(lines) == 2
    for line, done in zip(lines, (10, 50), strict=True):
        assert line.startswith(
            f'epoch 2/5: step {done}/100, loss 0.5123, accuracy 0.8000, '
        )
        assert line.endswith(' s left')
    assert not {'\r', '\x1b'} & set(printed.out)


def test_progress_lines_come_no_more_often_than_asked(capsys):
    progress(3600.0, 10, 50, 99)
    assert capsys.readouterr() == ('', '')


def test_the_end_of_an_epoch_is_no_progress_line(capsys):
    # The loop prints the epoch's metrics itself.
    progress(0.0, 100)
    assert capsys.readouterr() == ('', '')
