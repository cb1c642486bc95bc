"""Statistics of pixels, against NumPy and the literature."""

import tracemalloc

import numpy as np
import pytest

from fmnist_jax.data import Dataset
from fmnist_jax.data.statistics import pixel_mean_and_std


def test_mean_and_std_of_fashion_mnist_are_those_in_the_literature(dataset: Dataset):
    (mean,), (std,) = pixel_mean_and_std(dataset.arrays['train_images'])
    assert (round(mean, 4), round(std, 4)) == (0.2860, 0.3530)


@pytest.mark.parametrize(
    'shape', [(1, 1, 1, 1), (3, 5, 4, 3), (2, 1100, 1000, 1), (700, 32, 64, 3)]
)
def test_mean_and_std_are_those_of_numpy(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mean, std = pixel_mean_and_std(images)
    scaled = images / 255
    # NumPy rounds on the way.
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-10)


@pytest.mark.parametrize('value', [0, 1, 254, 255])
def test_std_of_equal_pixels_is_exactly_0(value):
    images = np.full((5, 9, 9, 1), value, np.uint8)
    assert pixel_mean_and_std(images) == ((value / 255,), (0.0,))


def test_statistics_take_little_memory(dataset: Dataset):
    images = dataset.arrays['train_images']
    tracemalloc.start()
    pixel_mean_and_std(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 2
