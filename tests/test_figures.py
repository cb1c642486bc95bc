"""Figures show the numbers they are given."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.calibration import reliability_figure
from fmnist_jax.reporting.figures.confusion import (
    confusion_matrix_figure,
    shown_classes,
)
from fmnist_jax.reporting.figures.learning_curves import learning_curves_figure
from fmnist_jax.reporting.learning import best, overfitting_onset
from fmnist_jax.reporting.metrics import calibration_bins, expected_calibration_error

NAMES = ('T-shirt/top', '$5 & 10', '_{x}')
MATRIX = np.array([[90, 10, 0], [5, 45, 0], [0, 1, 1]])


def curve(losses, accuracies, train_losses=None):
    """Lines of `metrics.jsonl`."""
    train_losses = train_losses or [1 / (i + 1) for i in range(len(losses))]
    lines = []
    for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
        start = {'epoch': i + 1, 'step': 10 * i + 10}
        train = {'split': 'train', 'loss': train_losses[i], 'accuracy': 0.9}
        lines.append({**start, **train})
        lines.append(
            {**start, 'split': 'validation', 'loss': loss, 'accuracy': accuracy}
        )
    return lines


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_confusion_matrix_shows_counts_coloured_by_their_share_of_the_row():
    axes, bar = confusion_matrix_figure(MATRIX, NAMES).axes
    assert texts(axes) == ['90', '10', '0', '5', '45', '0', '0', '1', '1']
    shares = MATRIX / MATRIX.sum(1, keepdims=True)
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('predicted', 'true')
    assert bar.get_ylabel() == 'share of the true class'


def test_a_class_that_never_occurs_divides_by_nothing():
    matrix = np.array([[3, 1], [0, 0]])
    image = confusion_matrix_figure(matrix, ('a', 'b')).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array()[1], [0, 0])


def test_of_many_classes_those_with_most_mistakes_are_shown():
    matrix = np.diag(np.full(100, 50))
    confused = [7, 13, 99]
    matrix[7, 13], matrix[99, 13], matrix[13, 7] = 5, 4, 3
    assert set(confused) <= set(shown_classes(matrix))
    assert len(shown_classes(matrix)) == 40
    assert shown_classes(matrix, limit=3) == confused
    axes = confusion_matrix_figure(matrix, tuple(map(str, range(100)))).axes[0]
    assert axes.get_title() == 'The 40 of 100 classes most confused'
    assert axes.images[0].get_array().shape == (40, 40)
    assert shown_classes(MATRIX) == [0, 1, 2]


def test_the_reliability_diagram_shows_the_bins():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 10), scale=2)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    bins = calibration_bins(log_probabilities, rng.integers(0, 10, 500))
    ece = expected_calibration_error(bins)
    upper, lower = reliability_figure(bins, ece).axes
    accuracy, gap = (
        [patch.get_height() for patch in bars] for bars in upper.containers
    )
    assert accuracy == [row['accuracy'] for row in bins]
    confidence = [row['confidence'] for row in bins]
    assert np.add(accuracy, gap) == pytest.approx(confidence)
    assert [bar.get_x() for bar in lower.patches] == [row['lower'] for row in bins]
    assert sum(bar.get_height() for bar in lower.patches) == 500
    assert f'{ece:.4f}' in upper.get_title()


def test_learning_curves_show_the_metrics_and_mark_their_turning_points():
    lines = curve([0.9, 0.5, 0.6, 0.7], [0.5, 0.7, 0.8, 0.8])
    loss, accuracy = learning_curves_figure(lines, scored_epoch=3.0).axes
    for axes, key in ((loss, 'loss'), (accuracy, 'accuracy')):
        for line in axes.lines[:2]:
            own = [x[key] for x in lines if x['split'] == line.get_label()]
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
            np.testing.assert_array_equal(line.get_ydata(), own)
    marks = {
        m.get_label(): m.get_xdata()[0] for m in (*loss.lines[2:], *accuracy.lines[2:])
    }
    assert marks == {'overfitting from epoch 2': 2, 'best epoch, 3': 3}
    loss, accuracy = learning_curves_figure(lines, scored_epoch=1.5).axes
    assert 'scored, 1.5' in [line.get_label() for line in accuracy.lines]


@pytest.mark.parametrize(
    ('validation', 'train', 'onset'),
    [
        ([3, 2, 1], [3, 2, 1], None),  # still learning
        ([3, 1, 2], [3, 2, 1], 2),
        ([1, 2, 3], [3, 2, 1], 1),
        ([3, 1, 2], [3, 2, 2.5], None),  # it got worse at both: no overfitting
        ([3, 1, 1], [3, 2, 1], 2),  # the earliest on ties
        ([3], [3], None),
    ],
)
def test_overfitting_begins_where_validation_loss_was_lowest(validation, train, onset):
    lines = curve(validation, [0.5] * len(validation), train)
    assert overfitting_onset(lines) == onset
    assert best(lines)['epoch'] == 1


def test_one_epoch_is_seen():
    figure = learning_curves_figure(curve([0.5], [0.7]), 1.0)
    image = Image.open(io.BytesIO(style.to_png(figure, dpi=60))).convert('RGB')
    colors = {color for _, color in image.getcolors(2**20)}
    for name in (style.BLUE, style.VERMILION):
        assert tuple(round(255 * x) for x in to_rgb(name)) in colors


def test_the_same_figure_gives_the_same_bytes_and_names_stay_text():
    first, second = (
        {
            'png': style.to_png(confusion_matrix_figure(MATRIX, NAMES)),
            'pdf': style.to_pdf(confusion_matrix_figure(MATRIX, NAMES)),
            'svg': style.to_svg(confusion_matrix_figure(MATRIX, NAMES)),
        }
        for _ in range(2)
    )
    assert first == second
    assert '>$5 &amp; 10</text>' in first['svg']
    assert first['svg'].startswith('<svg')


def test_nothing_is_left_behind():
    before = dict(mpl.rcParams)
    style.to_png(confusion_matrix_figure(MATRIX, NAMES))
    assert dict(mpl.rcParams) == before
