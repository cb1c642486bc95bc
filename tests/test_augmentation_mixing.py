"""Mixup and cutmix: pixels against NumPy, labels in the shares of pixels, partners."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation.mixing import (
    Mixable,
    cutmix,
    cutmix_by,
    mixup,
    mixup_by,
)
from fmnist_jax.data.augmentation.rectangles import Rectangle
from fmnist_jax.data.batches import Examples
from fmnist_jax.training.parallel import jit_once
from tests.augmenting import (
    NUM_CLASSES,
    augment,
    colour,
    real_examples,
    run,
)

MIXUP = {'name': 'mixup'}
CUTMIX = {'name': 'cutmix'}
WHOLE = 1 << 15


@pytest.fixture(scope='module')
def examples(dataset: Dataset) -> Examples:
    """64 real ones."""
    return real_examples(dataset, 64)


def two_classes(count: int, shape: tuple[int, int, int] = (28, 28, 1)) -> Examples:
    """White images of class 1 and black ones of class 0, as many of each."""
    labels = np.arange(count, dtype=np.int32) % 2
    images = np.zeros((count, *shape), np.uint8)
    images[labels == 1] = 255
    return Examples(jnp.asarray(images), jnp.asarray(labels))


def pairs(images: np.ndarray) -> tuple[Mixable, Mixable]:
    """Real images with labels of their own, and others."""
    labels = jnp.asarray(np.random.default_rng(0).dirichlet([1] * 10, len(images)))
    whole = Mixable(jnp.asarray(images), labels.astype(jnp.float32))
    return whole, Mixable(*(part[::-1] for part in whole))


@pytest.mark.parametrize('channels', [1, 3])
def test_mixup_averages_images_and_labels(examples, channels):
    images = np.asarray(examples.images)
    one, other = pairs(colour(images) if channels == 3 else images)
    shares = np.linspace(0, WHOLE, 64).astype(np.int32)
    mixed = jit_once(jax.vmap(mixup_by))(one, other, jnp.asarray(shares))
    share = shares[:, None] / WHOLE
    wide = share[..., None, None]
    exact = wide * np.asarray(one.image, float) + (1 - wide) * np.asarray(other.image)
    # Half up; exact, as shares are binary fractions.
    np.testing.assert_array_equal(mixed.image, np.floor(exact + 0.5))
    expected = share * one.label + (1 - share) * other.label
    np.testing.assert_allclose(mixed.label, expected, atol=1e-7)
    for part, same in zip(mixed, other, strict=True):
        np.testing.assert_array_equal(part[0], same[0])
    for part, same in zip(mixed, one, strict=True):
        np.testing.assert_array_equal(part[-1], same[-1])


RECTANGLES = ((5, 3, 15, 23), (-6, 20, 4, 40), (0, 0, 28, 28), (7, 9, 7, 20))


@pytest.mark.parametrize('corners', RECTANGLES)
def test_cutmix_pastes_the_same_place_of_the_partner(examples, corners):
    one, other = pairs(colour(examples.images)[:, :, :24])
    cut = Rectangle(*map(jnp.int32, corners))
    mixed = jit_once(jax.vmap(cutmix_by, (0, 0, None)))(one, other, cut)
    top, left, bottom, right = np.maximum(corners, 0)
    expected = np.array(one.image)
    expected[:, top:bottom, left:right] = other.image[:, top:bottom, left:right]
    np.testing.assert_array_equal(mixed.image, expected)
    pasted = np.zeros((28, 24))
    pasted[top:bottom, left:right] = 1
    share = pasted.mean()
    np.testing.assert_allclose(
        mixed.label, (1 - share) * one.label + share * other.label, atol=1e-6
    )


@pytest.mark.parametrize('entry', [{**MIXUP, 'alpha': 1}, CUTMIX])
def test_labels_have_the_shares_that_pixels_have(entry):
    images, labels = run(two_classes(512), entry)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    assert (labels[:, 2:] == 0).all()
    white = images.mean((1, 2, 3)) / 255
    # Mixup's grey is rounded to the nearest.
    error = 0.51 / 255 if entry['name'] == 'mixup' else 1e-6
    np.testing.assert_allclose(labels[:, 1], white, atol=error)
    assert ((white > 0.01) & (white < 0.99)).mean() > 0.4


@pytest.mark.parametrize('alpha', [0.2, 1, 8])
def test_shares_of_mixup_are_from_beta(alpha):
    draws = shares_of(mixup, alpha, 1.0)
    expected = np.random.default_rng(0).beta(alpha, alpha, len(draws))
    # Compared in the steps that shares are drawn in: many of a small alpha are at ends.
    steps = np.rint(draws * WHOLE), np.rint(expected * WHOLE)
    assert stats.ks_2samp(*steps).pvalue > 1e-3


def test_rectangles_of_cutmix_are_those_of_the_paper():
    """Its code: both sides in the root of the cut share, clipped, shares counted."""
    rng = np.random.default_rng(0)
    expected = []
    for share in rng.beta(1, 1, 4000):
        sides = (np.array([28, 20]) * np.sqrt(1 - share)).astype(int)
        middle = rng.integers(0, (28, 20))
        low = np.clip(middle - sides // 2, 0, (28, 20))
        high = np.clip(middle + sides // 2, 0, (28, 20))
        expected.append(28 * 20 - np.prod(high - low))
    draws = shares_of(cutmix, 1.0, 1.0, shape=(28, 20, 1))
    assert stats.ks_2samp(np.rint(draws * 28 * 20), expected).pvalue > 1e-3


@pytest.mark.parametrize('function', [mixup, cutmix])
@pytest.mark.parametrize('probability', [0.0, 0.4])
def test_examples_are_mixed_with_this_probability(function, probability):
    draws = shares_of(function, 8.0, probability)
    # Of alpha 8, a share is hardly ever whole; a box has pixels nearly always.
    error = 4 * np.sqrt(probability * (1 - probability) / len(draws)) + 1e-9
    assert np.mean(draws < 1) == pytest.approx(probability, abs=error)


def shares_of(
    function, alpha: float, probability: float, *, shape=(4, 4, 1), count: int = 4000
) -> np.ndarray:
    """The share of the example, many times, from its label."""
    if function is cutmix and shape == (4, 4, 1):
        shape = (28, 28, 1)
    example = Mixable(jnp.zeros(shape, jnp.uint8), jnp.array([1.0, 0.0]))
    partner = Mixable(jnp.zeros(shape, jnp.uint8), jnp.array([0.0, 1.0]))
    draw = functools.partial(function, alpha=float(alpha), probability=probability)
    labels = jit_once(jax.vmap(lambda key: draw(key, example, partner).label))(
        jax.random.split(jax.random.key(0), count)
    )
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    return np.asarray(labels[:, 0])


# Partners.


def test_partners_are_drawn_from_all_examples_equally_often():
    """An image tells its number; a batch of 8 finds partners among all of 40."""
    numbers = np.arange(40, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (40, 4, 4, 1))
    own = Examples(jnp.asarray(images), jnp.asarray(numbers % 10, jnp.int32))
    partners = []
    for step in range(100):
        # Of a share of nothing: the partner as it is.
        mixed, labels = run(own, {**CUTMIX, 'alpha': 0.01}, step=step)
        for number, image, label in zip(numbers, mixed, labels, strict=True):
            found = set(np.unique(image)) - {number}
            assert len(found) <= 1
            partners += found
            assert label[[number % 10, *(n % 10 for n in found)]].max() > 0
    counts = np.bincount(partners, minlength=40)
    assert counts.sum() > 1500
    assert stats.chisquare(counts).pvalue > 1e-3


def test_partners_go_through_the_operations_before_by_keys_of_their_own():
    """Images that a flip changes: own and partner are each flipped half of the time."""
    left = np.zeros((28, 28, 1), np.uint8)
    left[:, :14] = 255
    count = 2000
    images = jnp.broadcast_to(left, (count, *left.shape))
    own = Examples(images, jnp.zeros(count, jnp.int32))
    entry = {**MIXUP, 'alpha': 100}
    mixed = augment(own, {'name': 'horizontal_flip'}, entry)
    bright_left, bright_right = mixed[:, 0, 0, 0], mixed[:, 0, 27, 0]
    both = np.mean((bright_left > 200) & (bright_right < 55))
    neither = np.mean((bright_left < 55) & (bright_right > 200))
    one = np.mean((bright_left < 200) & (bright_right < 200))
    np.testing.assert_allclose([both, neither, one], [0.25, 0.25, 0.5], atol=0.05)
    # Operations after a mixing one are for the mixed image.
    mixed = augment(own, entry, {'name': 'horizontal_flip'})
    assert set(np.unique(mixed[:, 0, 0, 0])) == {0, 255}


def test_mixed_examples_can_be_mixed_again(examples):
    entries = ({**MIXUP, 'alpha': 100}, {**CUTMIX, 'alpha': 100})
    images, labels = run(examples, *entries)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    assert labels.shape == (64, NUM_CLASSES)
    # Up to four examples of ten classes.
    classes = (labels > 0).sum(1)
    assert classes.max() == 4
    assert classes.mean() > 2.5
    assert images.shape == examples.images.shape


@pytest.mark.parametrize(
    ('function', 'alpha'), [(mixup, 0.2), (cutmix, 1.0)], ids=['mixup', 'cutmix']
)
def test_the_defaults_are_the_papers(function, alpha):
    parameters = inspect.signature(function).parameters
    assert parameters['alpha'].default == alpha
    assert parameters['probability'].default == 1.0
