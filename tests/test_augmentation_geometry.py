"""Flips, crops, shifts and rotations against NumPy, SciPy and Pillow."""

import functools
import inspect

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation.geometry import rotate, rotate_by, shift_by
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError
from tests.augmenting import augment, colour, copies_of, map_images, real_examples

FLIP = {'name': 'horizontal_flip'}
CROP = {'name': 'pad_and_crop'}
TRANSLATE = {'name': 'translate'}
ROTATE = {'name': 'rotate'}


@pytest.fixture(scope='module')
def examples(dataset: Dataset) -> Examples:
    """64 real ones."""
    return real_examples(dataset, 64)


@pytest.fixture(scope='module')
def images(examples: Examples) -> np.ndarray:
    return np.asarray(examples.images)


# Flips.


@pytest.mark.parametrize('probability', [1, 1.0])
def test_a_certain_flip_mirrors_every_image(examples, images, probability):
    flipped = augment(examples, {**FLIP, 'probability': probability})
    np.testing.assert_array_equal(flipped, images[:, :, ::-1])
    assert (flipped != images).any()


@pytest.mark.parametrize('probability', [0, 0.0])
def test_an_impossible_flip_mirrors_none(examples, images, probability):
    np.testing.assert_array_equal(
        augment(examples, {**FLIP, 'probability': probability}), images
    )


@pytest.mark.parametrize(('probability', 'entry'), [(0.5, {}), (0.2, None)])
def test_flips_occur_with_their_probability(images, probability, entry):
    entry = FLIP if entry == {} else {**FLIP, 'probability': probability}
    count = 5000
    # One image that is no mirror image of itself, over and over.
    image = images[0]
    result = augment(copies_of(image, count), entry)
    flipped = (result == image[:, ::-1]).all((1, 2, 3))
    assert (flipped | (result == image).all((1, 2, 3))).all()
    error = 4 * np.sqrt(probability * (1 - probability) / count)
    assert flipped.mean() == pytest.approx(probability, abs=error)


# Shifts.


def windows(image: np.ndarray, padding: int, mode: str = 'constant') -> np.ndarray:
    """Every window that a crop can give, [top, left, height, width, channels]."""
    height, width, _ = image.shape
    sides = (padding, padding)
    padded = np.pad(image, (sides, sides, (0, 0)), mode=mode)
    offsets = range(2 * padding + 1)
    return np.array(
        [[padded[i : i + height, j : j + width] for j in offsets] for i in offsets]
    )


@pytest.mark.parametrize('padding', [0, 1, 2, 4])
def test_every_crop_is_a_window_of_the_padded_image(examples, images, padding):
    result = augment(examples, {**CROP, 'padding': padding})
    for image, crop in zip(images, result, strict=True):
        assert (windows(image, padding) == crop).all((2, 3, 4)).any()
    if padding == 0:
        np.testing.assert_array_equal(result, images)


@pytest.mark.parametrize(
    ('entry', 'reach', 'mode'),
    [
        ({**CROP, 'padding': 1}, 1, 'constant'),
        (CROP, 2, 'constant'),
        ({**TRANSLATE, 'pixels': 1}, 1, 'constant'),
        (TRANSLATE, 2, 'constant'),  # A tenth of 28, rounded down.
        ({**TRANSLATE, 'pixels': 2, 'fill': 'edge'}, 2, 'edge'),
        ({**TRANSLATE, 'fraction': 0.06, 'pixels': None, 'fill': 'edge'}, 1, 'edge'),
    ],
)
def test_shifts_take_every_offset_equally_often(images, entry, reach, mode):
    # Without black at its edges, which would be as any filling.
    image, count = (
        np.maximum(images[0], np.arange(1, 29, dtype=np.uint8)[:, None]),
        5000,
    )
    possible = windows(image, reach, mode)
    number = (2 * reach + 1) ** 2
    possible = possible.reshape(number, -1)
    assert len(np.unique(possible, axis=0)) == number
    result = augment(copies_of(image, count), entry).reshape(count, -1)
    frequency = np.array([(result == one).all(1).mean() for one in possible])
    assert frequency.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        frequency, 1 / number, atol=5 * np.sqrt(1 / number / count)
    )


@pytest.mark.parametrize(('fill', 'mode'), [('black', 'constant'), ('edge', 'nearest')])
@pytest.mark.parametrize('shift', [(3, -5), (-27, 27), (0, 0), (40, -1)])
def test_a_shift_is_scipys(images, fill, mode, shift):
    stacked = colour(images[:8])[:, :20]
    shifted = map_images(
        functools.partial(shift_by, fill=fill),
        stacked,
        *(np.full(8, number, np.int32) for number in shift),
    )
    expected = ndimage.shift(stacked, (0, *shift, 0), order=0, mode=mode)
    np.testing.assert_array_equal(shifted, expected)


@pytest.mark.parametrize(
    ('fraction', 'down', 'right'), [(0.29, 29, 2), (0.25, 25, 2), (1.0, 99, 7)]
)
def test_a_fraction_is_of_the_height_and_of_the_width(fraction, down, right):
    # A white pixel in the first corner is seen where it is shifted into the image.
    image = np.zeros((100, 8, 1), np.uint8)
    image[0, 0] = 255
    result = augment(copies_of(image, 4000), {**TRANSLATE, 'fraction': fraction})
    _, rows, columns, _ = np.nonzero(result)
    assert (rows.min(), rows.max()) == (0, down)
    assert (columns.min(), columns.max()) == (0, right)


@pytest.mark.parametrize(
    ('entry', 'argument'),
    [({**CROP, 'padding': 8}, 'padding'), ({**TRANSLATE, 'pixels': 8}, 'pixels')],
)
def test_a_shift_out_of_sight_is_refused(images, entry, argument):
    with pytest.raises(UserError) as caught:
        augment(copies_of(images[0, :8], 2), entry)
    name = entry['name']
    assert str(caught.value) == (
        f'augmentation {name!r}: {argument} must be less than the sides of the images, '
        'which are 8x28, not 8'
    )


def test_colour_channels_move_together(examples, images):
    stacked = np.concatenate([images, 255 - images, images], axis=-1)
    result = augment(
        examples._replace(images=jnp.asarray(stacked)), FLIP, {**CROP, 'padding': 3}
    )
    assert result.shape == (64, 28, 28, 3)
    np.testing.assert_array_equal(result[..., 0], result[..., 2])
    for image, crop in zip(stacked[:8], result[:8], strict=True):
        both = (windows(image, 3), windows(image[:, ::-1], 3))
        assert any((found == crop).all((2, 3, 4)).any() for found in both)


# Rotations.

ANGLES = np.random.default_rng(0).uniform(-60, 60, 64).astype(np.float32)


def rotated(images: np.ndarray, interpolation: str, fill: str) -> np.ndarray:
    function = functools.partial(rotate_by, interpolation=interpolation, fill=fill)
    return map_images(function, images, ANGLES)


def keras_rotation(
    image: np.ndarray, degrees: float, order: int, mode: str
) -> np.ndarray:
    """What Keras' `ImageDataGenerator` does of a rotation, unrounded.

    Its matrix maps rows and columns, about the middle between the outermost pixels.
    """
    theta = np.deg2rad(-degrees)
    cos, sin = np.cos(theta), np.sin(theta)
    matrix = np.array([[cos, -sin], [sin, cos]])
    middle = (np.array(image.shape[:2]) - 1) / 2
    channels = [
        ndimage.affine_transform(
            channel, matrix, middle - matrix @ middle, order=order, mode=mode
        )
        for channel in np.moveaxis(image.astype(float), -1, 0)
    ]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize('shape', [(28, 28, 1), (20, 24, 3)])
@pytest.mark.parametrize('fill', ['edge', 'black'])
@pytest.mark.parametrize('interpolation', ['bilinear', 'nearest'])
def test_a_rotation_is_scipys(images, interpolation, fill, shape):
    height, width, channels = shape
    turned = (colour(images) if channels == 3 else images)[:, :height, :width]
    mode = {'edge': 'nearest', 'black': 'grid-constant'}[fill]
    order = {'bilinear': 1, 'nearest': 0}[interpolation]
    expected = np.stack(
        [
            keras_rotation(*pair, order, mode)
            for pair in zip(turned, ANGLES, strict=True)
        ]
    )
    result = rotated(turned, interpolation, fill)
    different = result != np.rint(expected)
    # Positions are float32: bilinear values near a half may be rounded the other way,
    # nearest pixels may be the other of two that are as near.
    assert different.mean() < 2e-4
    if interpolation == 'bilinear':
        from_half = np.abs(expected[different] % 1 - 0.5)
        assert (from_half < 1e-3).all()


def test_a_rotation_is_pillows(images):
    """Counter-clockwise; Pillow rounds positions to 1/65536 pixel, and values down."""
    for interpolation, resample in (
        ('nearest', Image.Resampling.NEAREST),
        ('bilinear', Image.Resampling.BILINEAR),
    ):
        result = rotated(images, interpolation, 'black')[..., 0].astype(int)
        expected = np.stack(
            [
                Image.fromarray(image[..., 0]).rotate(float(angle), resample=resample)
                for image, angle in zip(images, ANGLES, strict=True)
            ]
        )
        # Within, whatever stands beyond.
        difference = (result - expected)[:, 7:21, 7:21]
        if interpolation == 'nearest':
            assert (difference != 0).mean() < 5e-4
        else:
            assert difference.min() >= 0
            assert difference.max() <= 1


@pytest.mark.parametrize('interpolation', ['bilinear', 'nearest'])
def test_quarter_turns_are_numpys(images, interpolation):
    for turns in (-2, -1, 0, 1, 2):
        turn = functools.partial(rotate_by, degrees=90.0 * turns)
        result = map_images(
            lambda image, turn=turn: turn(image, interpolation=interpolation), images
        )
        np.testing.assert_array_equal(result, np.rot90(images, turns, axes=(1, 2)))


def test_angles_are_uniform_and_of_either_sign(images):
    # A bright pixel right of the middle of a large image tells its angle.
    side, count, degrees = 61, 1000, 30
    image = np.zeros((side, side, 1), np.uint8)
    image[30, 58] = 255
    entry = {**ROTATE, 'degrees': degrees, 'fill': 'black'}
    result = augment(copies_of(image, count), entry)[..., 0].astype(float)
    weights = result / result.sum((1, 2), keepdims=True)
    y = (weights.sum(2) * np.arange(side)).sum(1) - 30
    x = (weights.sum(1) * np.arange(side)).sum(1) - 30
    angles = np.sort(np.rad2deg(np.arctan2(-y, x)))
    assert -degrees - 0.5 < angles[0] < -degrees + 0.5
    assert degrees - 0.5 < angles[-1] < degrees + 0.5
    uniform = np.linspace(-degrees, degrees, count)
    # Kolmogorov and Smirnov's distance.
    assert np.abs(angles - uniform).max() / (2 * degrees) < 1.9 / np.sqrt(count)


def test_the_default_is_keras_with_ten_degrees():
    parameters = inspect.signature(rotate).parameters
    defaults = {'degrees': 10.0, 'interpolation': 'bilinear', 'fill': 'edge'}
    for name, value in defaults.items():
        assert parameters[name].default == value


def test_no_degrees_turn_nothing(examples, images):
    np.testing.assert_array_equal(augment(examples, {**ROTATE, 'degrees': 0}), images)
