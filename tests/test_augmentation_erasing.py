"""Random erasing and cutout: which rectangles, how often, and filled with what."""

import jax
import numpy as np
import pytest
from scipy import stats

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation.erasing import draw_rectangle
from fmnist_jax.data.batches import Examples
from fmnist_jax.training.parallel import jit_once
from tests.augmenting import augment, copies_of, real_examples

ERASING = {'name': 'random_erasing'}
CUTOUT = {'name': 'cutout'}
WHITE = np.full((28, 28, 1), 255, np.uint8)


@pytest.fixture(scope='module')
def examples(dataset: Dataset) -> Examples:
    """64 real ones."""
    return real_examples(dataset, 64)


def extents(masks: np.ndarray) -> np.ndarray:
    """Top, left, height and width of the pixels in each mask, which are a rectangle."""
    found = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        found.append((rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1))
        assert mask.sum() == len(rows) * len(columns) == found[-1][2] * found[-1][3]
    return np.array(found)


@pytest.mark.parametrize('probability', [0, 0.3, 1])
def test_rectangles_are_erased_with_this_probability(probability):
    count = 2000
    result = augment(copies_of(WHITE, count), {**ERASING, 'probability': probability})
    masks = result[..., 0] == 0
    erased = masks.any((1, 2))
    # Of ten rectangles one fits but for one time in thousands.
    error = 4 * np.sqrt(probability * (1 - probability) / count) + 0.002
    assert erased.mean() == pytest.approx(probability, abs=error)
    assert (result[~masks] == 255).all()
    extents(masks[erased])


def test_what_is_not_erased_stays(examples):
    images = np.asarray(examples.images)
    result = augment(examples, {**ERASING, 'probability': 1})
    different = (result != images)[..., 0]
    assert (result[different] == 0).all()
    assert different.any((1, 2)).mean() > 0.9


def test_rectangles_are_drawn_as_the_paper_and_torchvision_draw_them():
    area, ratio, side, count = (0.02, 0.33), (0.3, 3.3), 200, 4000
    draw = jit_once(jax.vmap(lambda key: draw_rectangle(key, side, side, area, ratio)))
    top, left, bottom, right = map(
        np.asarray, draw(jax.random.split(jax.random.key(0), count))
    )
    height, width = bottom - top, right - left
    assert min(top.min(), left.min(), height.min(), width.min()) >= 0
    assert max(bottom.max(), right.max()) <= side
    shares, ratios = height * width / side**2, height / width
    assert area[0] * 0.95 < shares.min() < area[0] * 1.1
    assert area[1] * 0.95 < shares.max() < area[1] * 1.02
    assert ratio[0] * 0.95 < ratios.min() < ratio[0] * 1.1
    assert ratio[1] * 0.9 < ratios.max() < ratio[1] * 1.05
    # The same by rejection, one rectangle at a time.
    expected = np.array(list(reference_rectangles(count, side, area, ratio)))
    for one, other in (
        (shares, expected[:, 0] * expected[:, 1] / side**2),
        (ratios, expected[:, 0] / expected[:, 1]),
        (top, expected[:, 2]),
        (left, expected[:, 3]),
    ):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def reference_rectangles(count, side, area, ratio):
    """Height, width, top and left."""
    rng = np.random.default_rng(0)
    while count:
        pixels = rng.uniform(*area) * side**2
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        height, width = round(np.sqrt(pixels * aspect)), round(np.sqrt(pixels / aspect))
        if height < side and width < side:
            count -= 1
            top = rng.integers(0, side - height + 1)
            yield height, width, top, rng.integers(0, side - width + 1)


def test_what_never_fits_erases_nothing(examples):
    entry = {**ERASING, 'probability': 1, 'area': (1, 1), 'ratio': [1, 1]}
    np.testing.assert_array_equal(augment(examples, entry), examples.images)


def test_random_pixels_are_uniform_and_differ():
    entry = {**ERASING, 'probability': 1, 'area': [0.3, 0.3], 'value': 'random'}
    black = np.zeros((28, 28, 3), np.uint8)
    result = augment(copies_of(black, 200), entry)
    pixels = result[result.any(-1)]
    assert len(pixels) > 200 * 0.28 * 784
    counts = np.bincount(pixels.ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    correlation = np.corrcoef(pixels.T.astype(float))
    assert np.abs(correlation - np.eye(3)).max() < 0.03
    assert (result[0] != result[1]).any()


@pytest.mark.parametrize('size', [1, 5, 8, 27, 40])
def test_cutout_hides_a_square_about_any_pixel(size):
    count = 4000
    masks = augment(copies_of(WHITE, count), {**CUTOUT, 'size': size})[..., 0] == 0
    # Each pixel is hidden by the squares about the pixels around it.
    reached = [
        sum(0 <= row - (middle - size // 2) < size for middle in range(28))
        for row in range(28)
    ]
    expected = np.outer(reached, reached) / 28**2
    error = 5 * np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(masks.mean(0) - expected) <= error).all()
    top, left, height, width = extents(masks).T
    inside = (top > 0) & (left > 0) & (top + height < 28) & (left + width < 28)
    assert (height[inside] == size).all()
    assert (width[inside] == size).all()
    assert inside.any() == (size < 27)


def test_cutout_keeps_the_rest(examples):
    images = np.asarray(examples.images)
    result = augment(examples, CUTOUT)
    assert (result[result != images] == 0).all()
    np.testing.assert_array_equal(result, augment(examples, {**CUTOUT, 'size': 8}))


def test_cutout_of_no_size_hides_nothing(examples):
    result = augment(examples, {**CUTOUT, 'size': 0})
    np.testing.assert_array_equal(result, examples.images)
