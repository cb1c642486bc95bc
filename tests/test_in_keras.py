"""The recipes of S1 and S3 in Keras, on few images."""

import numpy as np
import pytest

from tests.reference_models import PARAMETERS

keras = pytest.importorskip(
    'keras', reason='needs Keras; see results/reproduction/in_keras.py'
)
in_keras = pytest.importorskip('results.reproduction.in_keras')


@pytest.mark.slow
@pytest.mark.parametrize('row', in_keras.ROWS)
def test_a_recipe_learns(row):
    first, *_, last = in_keras.train(row, 0, 'train[:2000]', num_epochs=5)
    assert last['train_loss'] < first['train_loss']
    assert last['train_accuracy'] > first['train_accuracy']
    assert 0 < last['test_accuracy'] < 100
    assert ('validation_loss' in last) == row.startswith('keras_cnns')


@pytest.mark.parametrize('name', ['keras_tinyvgg', 'arch1'])
def test_models_have_as_many_parameters_as_ours(name):
    row = 'keras_tinyvgg' if name == 'keras_tinyvgg' else 'keras_cnns-arch1'
    layers = in_keras.ROWS[row].layers()
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    assert sum(np.prod(x.shape) for x in model.trainable_weights) == PARAMETERS[name]


def test_images_are_divided_with_their_copies_in_any_order(dataset):
    images, labels = in_keras._pixels(*dataset.split('train[:100]'))
    np.random.seed(0)
    more, classes = in_keras._with_copies(images, labels, 2)
    np.testing.assert_array_equal(more[:100], images)
    np.testing.assert_array_equal(classes, [*labels] * 3)
    # Turned and mirrored: other images, of nearly the same brightness.
    assert not np.isclose(more[100:200], more[200:]).all((1, 2, 3)).any()
    assert abs(more[100:] - np.tile(images, (2, 1, 1, 1))).mean() > 0.01
    means = more.mean((1, 2, 3)).reshape(3, 100)
    np.testing.assert_allclose(means[1:], np.tile(means[:1], (2, 1)), atol=0.05)
    # Numbers for classes, so that an image tells which its label is.
    (first, numbers), (rest, others) = in_keras._divide(more, np.arange(300))
    assert (len(first), len(rest)) == (240, 60)
    np.testing.assert_array_equal(np.sort([*numbers, *others]), np.arange(300))
    assert (np.diff(numbers) < 0).any()
    np.testing.assert_array_equal(first, more[numbers])
    np.testing.assert_array_equal(rest, more[others])
