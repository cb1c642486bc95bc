"""RandAugment against Pillow, at torchvision's magnitudes."""

import functools
import inspect
from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation import pillow
from fmnist_jax.data.augmentation.rand_augment import apply_operation, rand_augment
from fmnist_jax.data.augmentation.strength import OPERATIONS, make_strength
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError
from fmnist_jax.training.parallel import jit_once
from tests.augmenting import augment, colour, copies_of, map_images

ENTRY = {'name': 'rand_augment'}
# What `RandAugment(…)._augmentation_space(num_bins, (height, width))` of torchvision
# 0.28 gives at (magnitude, num_bins, height, width): shear, shifts right and down,
# degrees, change of an enhancement, bits, threshold.
MAGNITUDES = MappingProxyType(
    {
        (9, 31, 28, 28): (
            *(0.09000000357627869, 3.8066465854644775, 3.8066465854644775),
            *(9.0, 0.26999998092651367, 7, 178.5),
        ),
        (0, 31, 28, 28): (0.0, 0.0, 0.0, 0.0, 0.0, 8, 255.0),
        (20, 31, 28, 28): (
            *(0.20000000298023224, 8.459214210510254, 8.459214210510254),
            *(20.0, 0.5999999642372131, 5, 85.0),
        ),
        (30, 31, 28, 28): (
            *(0.30000001192092896, 12.688821792602539, 12.688821792602539),
            *(30.0, 0.8999999761581421, 4, 0.0),
        ),
        (5, 10, 28, 28): (
            *(0.1666666716337204, 7.04934549331665, 7.04934549331665),
            *(16.666667938232422, 0.5, 6, 113.33333587646484),
        ),
        (9, 31, 20, 24): (
            *(0.09000000357627869, 3.2628400325775146, 2.7190332412719727),
            *(9.0, 0.26999998092651367, 7, 178.5),
        ),
    }
)


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> np.ndarray:
    """100 real ones."""
    return np.asarray(dataset.split('train[:100]')[0])


def references(
    key: tuple[int, int, int, int], sign: int
) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """What torchvision does with Pillow, by operation."""
    shear, right, down, degrees, change, bits, threshold = MAGNITUDES[key]
    factor = 1 + sign * change

    def affine(*matrix: float) -> Callable:
        return lambda image: image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST
        )

    def enhance(kind: Callable) -> Callable:
        return lambda image: kind(image).enhance(factor)

    return {
        'Identity': lambda image: image,
        'ShearX': affine(1, sign * shear, 0, 0, 1, 0),
        'ShearY': affine(1, 0, 0, sign * shear, 1, 0),
        'TranslateX': affine(1, 0, -sign * int(right), 0, 1, 0),
        'TranslateY': affine(1, 0, 0, 0, 1, -sign * int(down)),
        'Rotate': lambda image: image.rotate(sign * degrees),
        'Brightness': enhance(ImageEnhance.Brightness),
        'Color': enhance(ImageEnhance.Color),
        'Contrast': enhance(ImageEnhance.Contrast),
        'Sharpness': enhance(ImageEnhance.Sharpness),
        'Posterize': lambda image: ImageOps.posterize(image, bits),
        'Solarize': lambda image: ImageOps.solarize(image, threshold),
        'AutoContrast': ImageOps.autocontrast,
        'Equalize': ImageOps.equalize,
    }


def with_pillow(function: Callable, images: np.ndarray) -> np.ndarray:
    """Applies a function of a Pillow image to images [n, h, w, c]."""
    squeezed = images[..., 0] if images.shape[-1] == 1 else images
    changed = [np.asarray(function(Image.fromarray(image))) for image in squeezed]
    return np.reshape(changed, images.shape)


@functools.cache
def compiled_operation() -> Callable:
    return jit_once(jax.vmap(apply_operation, in_axes=(0, None, None, None)))


def ours(
    key: tuple[int, int, int, int], images: np.ndarray, name: str, sign: int
) -> np.ndarray:
    which = jnp.int32(OPERATIONS.index(name)), jnp.int32(sign < 0)
    return np.asarray(compiled_operation()(images, *which, make_strength(*key)))


@pytest.mark.parametrize(
    ('key', 'channels'),
    [*((key, 1) for key in MAGNITUDES), ((9, 31, 28, 28), 3), ((9, 31, 20, 24), 3)],
)
def test_every_operation_is_pillows_pixel_for_pixel(images, key, channels):
    *_, height, width = key
    cut = (colour(images) if channels == 3 else images)[:, :height, :width]
    for sign in (1, -1):
        for name, reference in references(key, sign).items():
            expected = with_pillow(reference, cut)
            result = ours(key, cut, name, sign)
            if name == 'AutoContrast':
                # See `test_autocontrast_is_the_exact_one`.
                assert np.mean(result != expected) < 0.01
            else:
                np.testing.assert_array_equal(result, expected, err_msg=name)


def test_the_list_of_operations_is_torchvisions():
    assert list(references((9, 31, 28, 28), 1)) == list(OPERATIONS)
    assert len(OPERATIONS) == 14


def test_all_but_a_few_change_real_images_at_the_default_magnitude(images):
    key = (9, 31, 28, 28)
    for name in OPERATIONS:
        changed = (ours(key, images, name, 1) != images).any((1, 2, 3))
        if name in ('Identity', 'Color'):
            assert not changed.any()
        else:
            # Many are of full contrast as they are.
            assert changed.mean() > (0.05 if name == 'AutoContrast' else 0.9), name


def test_autocontrast_is_the_exact_one(images):
    """Pillow's rounds twice: where the exact value is whole, it may be one less."""
    pixels = np.clip(images, 40, 200)
    result = map_images(pillow.autocontrast, pixels)
    low = pixels.min((1, 2), keepdims=True).astype(int)
    high = pixels.max((1, 2), keepdims=True).astype(int)
    np.testing.assert_array_equal(result, (pixels - low) * 255 // (high - low))
    expected = with_pillow(ImageOps.autocontrast, pixels)
    different = result != expected
    np.testing.assert_array_equal(result[different], expected[different] + 1)
    assert (((pixels - low) * 255 % (high - low))[different] == 0).all()


FLAT = {
    'one grey': lambda: np.full((28, 28, 1), 77, np.uint8),
    'black': lambda: np.zeros((28, 28, 1), np.uint8),
    'white': lambda: np.full((28, 28, 1), 255, np.uint8),
    'two greys': lambda: np.repeat([10, 11], 392).reshape(28, 28, 1).astype(np.uint8),
    'one white pixel': lambda: (
        np.eye(1, 784, 300, dtype=np.uint8).reshape(28, 28, 1) * np.uint8(255)
    ),
    'every grey': lambda: np.resize(np.arange(256), (28, 28, 1)).astype(np.uint8),
    'few pixels': lambda: np.array([[[3], [200]], [[7], [3]]], np.uint8),
    'a row': lambda: np.arange(0, 250, 10, dtype=np.uint8).reshape(1, 25, 1),
}


@pytest.mark.parametrize('case', FLAT)
def test_images_of_little_content_are_pillows_too(case):
    image = FLAT[case]()[None]
    for name, function in (
        ('autocontrast', ImageOps.autocontrast),
        ('equalize', ImageOps.equalize),
    ):
        result = map_images(getattr(pillow, name), image)
        np.testing.assert_array_equal(result, with_pillow(function, image))
    result = map_images(
        lambda image: pillow.blend(
            pillow.smooth(image), image, pillow.split_factor(1.9)
        ),
        image,
    )
    expected = with_pillow(lambda x: ImageEnhance.Sharpness(x).enhance(1.9), image)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('factor', [0.1, 0.37, 0.73, 1.0, 1.27, 1.63, 1.9])
def test_blending_rounds_as_pillow_does(factor):
    # All pairs of pixels.
    first, second = np.meshgrid(np.arange(256), np.arange(256))
    expected = Image.blend(
        Image.fromarray(first.astype(np.uint8)),
        Image.fromarray(second.astype(np.uint8)),
        factor,
    )
    blend = jax.jit(lambda a, b: pillow.blend(a, b, pillow.split_factor(factor)))
    result = blend(
        first[..., None].astype(np.int32), jnp.asarray(second[..., None], jnp.uint8)
    )
    np.testing.assert_array_equal(result[..., 0], expected)


def outcomes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All that one operation can make of an image, and how likely each is."""
    key = (9, 31, 28, 28)
    made = [ours(key, image[None], n, s)[0] for n in OPERATIONS for s in (1, -1)]
    distinct, counts = np.unique(made, axis=0, return_counts=True)
    return distinct, counts / len(made)


def test_operations_are_drawn_equally_often_in_both_directions(images):
    # An image that each changes otherwise.
    image = np.clip(images[0], 20, 230)
    possible, probabilities = outcomes(image)
    # Nothing (of two operations), 8 in two directions, 4 in one.
    assert len(possible) == 1 + 2 * 8 + 4
    count = 4000
    result = augment(copies_of(image, count), {**ENTRY, 'num_ops': 1})
    matches = (result[:, None] == possible[None]).all((2, 3, 4))
    assert (matches.sum(1) == 1).all()
    np.testing.assert_allclose(
        matches.mean(0),
        probabilities,
        atol=4.5 * np.sqrt(probabilities.max() / count),
    )


def test_two_operations_are_one_after_another(images):
    image = np.clip(images[0], 20, 230)
    once, probabilities = outcomes(image)
    twice = np.concatenate([outcomes(one)[0] for one in once])
    result = augment(copies_of(image, 1000), ENTRY)
    known = {one.tobytes() for one in twice}
    assert all(one.tobytes() in known for one in result)
    # Both drawn anew: as often nothing twice as twice the chance of nothing gives.
    nothing = probabilities[(once == image).all((1, 2, 3))].sum()
    unchanged = (result == image).all((1, 2, 3)).mean()
    assert unchanged == pytest.approx(nothing**2, abs=0.03)


def test_the_defaults_are_torchvisions():
    parameters = inspect.signature(rand_augment).parameters
    for name, value in {'num_ops': 2, 'magnitude': 9, 'num_bins': 31}.items():
        assert parameters[name].default == value


@pytest.mark.parametrize('channels', [2, 4])
def test_channels_that_are_no_colours_are_refused(images, channels):
    repeated = np.repeat(images[:2], channels, axis=-1)
    examples = Examples(jnp.asarray(repeated), jnp.zeros(2, jnp.int32))
    message = f'takes images of 1 or 3 channels, not of {channels}'
    with pytest.raises(UserError, match=message):
        augment(examples, ENTRY)
