"""Augmentation against NumPy, and what it may and may not depend on."""

import functools
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation import (
    OPERATIONS,
    horizontal_flip,
    make_augmentation,
    pad_and_crop,
)
from fmnist_jax.data.batches import example_keys
from fmnist_jax.errors import UserError
from fmnist_jax.training.parallel import jit_once

FLIP = {'name': 'horizontal_flip'}
CROP = {'name': 'pad_and_crop'}


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> jax.Array:
    """64 real images."""
    return jnp.asarray(dataset.split('train[:64]')[0])


def keys_of(step: int, positions) -> jax.Array:
    """The keys that training gives to these positions of a step's batch."""
    positions = np.asarray(positions, np.int32)
    return compiled_keys()(jnp.uint32(0), jnp.int32(step), positions)


@functools.cache
def compiled_keys() -> Callable:
    return jit_once(example_keys)


def augment(images: jax.Array, *operations: dict, step: int = 0) -> np.ndarray:
    keys = keys_of(step, range(len(images)))
    result = compiled(json.dumps(operations))(keys, images)
    assert result.dtype == jnp.uint8
    return np.asarray(result)


@functools.cache
def compiled(operations: str) -> Callable:
    return jit_once(make_augmentation(json.loads(operations)))


def windows(image: np.ndarray, padding: int) -> np.ndarray:
    """Every window that a crop can give, [top, left, height, width, channels]."""
    height, width, _ = image.shape
    sides = (padding, padding)
    padded = np.pad(np.asarray(image), (sides, sides, (0, 0)))
    offsets = range(2 * padding + 1)
    return np.array(
        [[padded[i : i + height, j : j + width] for j in offsets] for i in offsets]
    )


def test_no_operation_leaves_images_as_they_are(images):
    np.testing.assert_array_equal(augment(images), images)


@pytest.mark.parametrize('probability', [1, 1.0])
def test_a_certain_flip_mirrors_every_image(images, probability):
    flipped = augment(images, {**FLIP, 'probability': probability})
    np.testing.assert_array_equal(flipped, np.asarray(images)[:, :, ::-1])
    assert (flipped != images).any()


@pytest.mark.parametrize('probability', [0, 0.0])
def test_an_impossible_flip_mirrors_none(images, probability):
    np.testing.assert_array_equal(
        augment(images, {**FLIP, 'probability': probability}), images
    )


@pytest.mark.parametrize(('probability', 'entry'), [(0.5, {}), (0.2, None)])
def test_flips_occur_with_their_probability(images, probability, entry):
    entry = FLIP if entry == {} else {**FLIP, 'probability': probability}
    count = 5000
    # One image that is no mirror image of itself, over and over.
    image = np.asarray(images[0])
    repeated = jnp.broadcast_to(image, (count, *image.shape))
    result = augment(repeated, entry)
    flipped = (result == image[:, ::-1]).all((1, 2, 3))
    assert (flipped | (result == image).all((1, 2, 3))).all()
    error = 4 * np.sqrt(probability * (1 - probability) / count)
    assert flipped.mean() == pytest.approx(probability, abs=error)


@pytest.mark.parametrize('padding', [0, 1, 2, 4])
def test_every_crop_is_a_window_of_the_padded_image(images, padding):
    result = augment(images, {**CROP, 'padding': padding})
    for image, crop in zip(images, result, strict=True):
        assert (windows(image, padding) == crop).all((2, 3, 4)).any()
    if padding == 0:
        np.testing.assert_array_equal(result, images)


def test_the_default_padding_is_two(images):
    np.testing.assert_array_equal(
        augment(images, CROP), augment(images, {**CROP, 'padding': 2})
    )


@pytest.mark.parametrize('padding', [1, 2])
def test_crops_take_every_offset_equally_often(images, padding):
    image, count = images[0], 5000
    possible = windows(image, padding)
    number = (2 * padding + 1) ** 2
    possible = possible.reshape(number, -1)
    assert len(np.unique(possible, axis=0)) == number
    result = augment(
        jnp.broadcast_to(image, (count, *image.shape)), {**CROP, 'padding': padding}
    ).reshape(count, -1)
    frequency = np.array([(result == one).all(1).mean() for one in possible])
    assert frequency.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        frequency, 1 / number, atol=5 * np.sqrt(1 / number / count)
    )


def test_colour_channels_move_together(images):
    stacked = jnp.concatenate([images, 255 - images, images], axis=-1)
    result = augment(stacked, FLIP, {**CROP, 'padding': 3})
    assert result.shape == (64, 28, 28, 3)
    np.testing.assert_array_equal(result[..., 0], result[..., 2])
    for image, crop in zip(stacked[:8], result[:8], strict=True):
        both = (windows(image, 3), windows(image[:, ::-1], 3))
        assert any((found == crop).all((2, 3, 4)).any() for found in both)


def test_operations_are_applied_in_the_configs_order(images):
    certain = {**FLIP, 'probability': 1.0}
    # Mirrored last: what the crop alone gives, mirrored.
    cropped = augment(images, CROP)
    np.testing.assert_array_equal(augment(images, CROP, certain), cropped[:, :, ::-1])
    # Mirrored first: what the crop of the mirrored images gives. Its keys are those
    # of a second operation, so one that does nothing goes before it.
    nothing = {**FLIP, 'probability': 0.0}
    np.testing.assert_array_equal(
        augment(images, certain, CROP), augment(images[:, :, ::-1], nothing, CROP)
    )
    assert (augment(images, certain, CROP) != augment(images, CROP, certain)).any()


def test_the_same_operation_twice_is_drawn_twice(images):
    repeated = jnp.broadcast_to(images[0], (256, *images[0].shape))
    mirrored = np.asarray(images[0])[:, ::-1]
    once = (augment(repeated, FLIP) == mirrored).all((1, 2, 3))
    twice = (augment(repeated, FLIP, FLIP) == mirrored).all((1, 2, 3))
    # If both draws were one, the two flips would always undo each other.
    assert 0.3 < twice.mean() < 0.7
    assert 0.3 < (once != twice).mean() < 0.7


@pytest.mark.parametrize('operations', [(FLIP,), (CROP,), (CROP, FLIP)])
def test_the_same_keys_give_the_same_images(images, operations):
    first = augment(images, *operations)
    np.testing.assert_array_equal(first, augment(images, *operations))
    assert (first != augment(images, *operations, step=1)).any()


def test_positions_of_a_batch_are_drawn_independently(images):
    repeated = jnp.broadcast_to(images[0], (64, *images[0].shape))
    result = augment(repeated, CROP).reshape(64, -1)
    assert len(np.unique(result, axis=0)) > 15


@pytest.mark.parametrize('parts', [2, 4, 64])
def test_a_batch_in_parts_is_augmented_as_the_whole(images, parts):
    function = compiled(json.dumps((CROP, FLIP)))
    keys = keys_of(3, range(64))
    whole = function(keys, images)
    size = 64 // parts
    pieces = [
        function(keys_of(3, range(i, i + size)), images[i : i + size])
        for i in range(0, 64, size)
    ]
    np.testing.assert_array_equal(jnp.concatenate(pieces), whole)


def test_an_image_is_augmented_by_its_own_key_wherever_it_stands(images):
    function = compiled(json.dumps((CROP, FLIP)))
    keys = keys_of(5, range(64))
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(
        function(keys[order], images[order]), function(keys, images)[order]
    )


def test_compiled_and_uncompiled_augmentation_agree(images):
    function = make_augmentation((CROP, FLIP))
    keys = keys_of(7, range(64))
    np.testing.assert_array_equal(
        jax.jit(function)(keys, images), function(keys, images)
    )


def test_images_given_are_left_as_they_were(images):
    before = np.array(images)
    augment(images, FLIP, CROP)
    np.testing.assert_array_equal(images, before)


def test_registered_names_are_those_of_the_functions():
    assert OPERATIONS['horizontal_flip'] is horizontal_flip
    assert OPERATIONS['pad_and_crop'] is pad_and_crop


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({'name': 'horizontal_flop'}, "did you mean 'horizontal_flip'"),
        ({'name': 'make_augmentation'}, 'unknown augmentation'),
        ({'probability': 0.5}, 'unknown augmentation None'),
        ({}, 'unknown augmentation None'),
        ({**FLIP, 'prob': 0.5}, "'prob'; did you mean 'probability'"),
        ({**FLIP, 'padding': 2}, "'padding'.*Known: probability"),
        ({**CROP, 'key': 2}, "'key'.*Known: padding"),
        ({**CROP, 'image': 2}, "'image'.*Known: padding"),
        ({**FLIP, 'probability': 1.01}, 'out of range'),
        ({**FLIP, 'probability': -0.01}, 'out of range'),
        ({**FLIP, 'probability': float('nan')}, 'out of range'),
        ({**CROP, 'padding': -1}, 'out of range'),
        ({**CROP, 'padding': 1.5}, 'padding must be of type int, not 1.5'),
        ({**CROP, 'padding': True}, 'padding must be of type int, not True'),
        ({**FLIP, 'probability': '0.5'}, "must be of type float, not '0.5'"),
        ({**FLIP, 'probability': None}, 'must be of type float, not None'),
    ],
)
def test_a_mistake_in_the_config_is_a_user_error(entry, message):
    with pytest.raises(UserError, match=message):
        make_augmentation((FLIP, entry))


def test_the_config_given_is_left_as_it_was():
    entry = {**FLIP, 'probability': 0.25}
    make_augmentation((entry,))
    assert entry == {'name': 'horizontal_flip', 'probability': 0.25}
