"""Augmentation as a whole: order, keys, copies, and what it may not depend on."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation import (
    OPERATIONS,
    check_images,
    make_augmentation,
)
from fmnist_jax.data.batches import Examples, example_keys
from fmnist_jax.errors import UserError
from fmnist_jax.training.parallel import AXIS, DeviceGroup, jit_once
from tests.augmenting import (
    NUM_CLASSES,
    augment,
    colour,
    compiled,
    copies_of,
    keys_of,
    positions,
    real_examples,
    run,
)

FLIP = {'name': 'horizontal_flip'}
CROP = {'name': 'pad_and_crop'}
# One of each, all that has a choice with it: whatever holds for any holds for all.
EACH = (
    FLIP,
    CROP,
    {'name': 'translate', 'pixels': 3, 'fill': 'edge'},
    {'name': 'rotate', 'degrees': 20, 'fill': 'black'},
    {'name': 'rand_augment'},
    {'name': 'random_erasing', 'area': (0.1, 0.2), 'value': 'random'},
    {'name': 'cutout', 'size': 5},
    {'name': 'mixup', 'alpha': 1},
    {'name': 'cutmix'},
)
# Several, which compile in seconds.
CHAIN = (CROP, {'name': 'rotate'}, {'name': 'cutmix'})


@pytest.fixture(scope='module')
def examples(dataset: Dataset) -> Examples:
    """64 real ones."""
    return real_examples(dataset, 64)


def assert_same(found: tuple, expected: tuple) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_each_operation_is_tried_here():
    assert [entry['name'] for entry in EACH] == list(OPERATIONS)


def test_no_operation_leaves_examples_as_they_are(examples):
    assert_same(run(examples), examples)


def test_only_mixing_changes_labels(examples):
    for entry in EACH:
        images, labels = run(examples, entry)
        assert (images != examples.images).any(), entry
        if OPERATIONS[entry['name']].mixes:
            assert labels.dtype == np.float32
            assert labels.shape == (64, NUM_CLASSES)
        else:
            np.testing.assert_array_equal(labels, examples.labels)


def test_flips_and_crops_are_those_of_earlier_versions(examples):
    # Made by the version before there were other operations: runs were made with it.
    images = augment(
        examples, {**CROP, 'padding': 3}, {**FLIP, 'probability': 0.4}, step=3
    )
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == '5af77a4d8a9bfa843a495a4736482b7cf2f73a65fe0fe042f45a0ef033e29f9f'


def test_operations_are_applied_in_the_configs_order(examples):
    certain = {**FLIP, 'probability': 1.0}
    # Mirrored last: what the crop alone gives, mirrored.
    cropped = augment(examples, CROP)
    np.testing.assert_array_equal(augment(examples, CROP, certain), cropped[:, :, ::-1])
    # Mirrored first: what the crop of the mirrored images gives. Its keys are those
    # of a second operation, so one that does nothing goes before it.
    nothing = {**FLIP, 'probability': 0.0}
    mirrored = examples._replace(images=examples.images[:, :, ::-1])
    np.testing.assert_array_equal(
        augment(examples, certain, CROP), augment(mirrored, nothing, CROP)
    )
    assert (augment(examples, certain, CROP) != augment(examples, CROP, certain)).any()


def test_the_same_operation_twice_is_drawn_twice(examples):
    repeated = copies_of(examples.images[0], 256)
    mirrored = np.asarray(examples.images[0])[:, ::-1]
    once = (augment(repeated, FLIP) == mirrored).all((1, 2, 3))
    twice = (augment(repeated, FLIP, FLIP) == mirrored).all((1, 2, 3))
    # If both draws were one, the two flips would always undo each other.
    assert 0.3 < twice.mean() < 0.7
    assert 0.3 < (once != twice).mean() < 0.7


@pytest.mark.parametrize('entry', EACH, ids=lambda entry: entry['name'])
def test_the_same_keys_give_the_same_and_other_steps_others(examples, entry):
    first = run(examples, entry)
    assert_same(run(examples, entry), first)
    assert (first[0] != run(examples, entry, step=1)[0]).any()


@pytest.mark.parametrize('entry', EACH, ids=lambda entry: entry['name'])
def test_positions_of_a_batch_are_drawn_independently(examples, entry):
    places = jnp.zeros(64, jnp.int32)
    function = compiled(json.dumps((entry,)))
    result, _ = function(keys_of(0, positions(64)), examples, places)
    distinct = len(np.unique(result.reshape(64, -1), axis=0))
    assert distinct >= (2 if entry == FLIP else 12)


@pytest.mark.parametrize('parts', [2, 64])
def test_a_batch_in_parts_is_augmented_as_the_whole(examples, parts):
    function = compiled(json.dumps(CHAIN))
    whole = function(keys_of(3, positions(64)), examples, positions(64))
    pieces = [
        function(keys_of(3, places), examples, places)
        for places in jnp.split(positions(64), parts)
    ]
    images, labels = (jnp.concatenate(part) for part in zip(*pieces, strict=True))
    assert_same((images, labels), whole)


def test_devices_augment_their_parts_as_one_augments_the_whole(examples, devices):
    entries = ({'name': 'translate', 'pixels': 3}, {'name': 'cutout'})
    function = make_augmentation(entries, NUM_CLASSES)

    def per_device(examples, order):
        # In a loop, as steps are.
        def step(number, places):
            first = jax.lax.axis_index(AXIS) * len(places)
            keys = example_keys(jnp.uint32(0), number, first + positions(len(places)))
            return number + 1, function(keys, examples, places)

        return jax.lax.scan(step, jnp.int32(0), order)[1]

    group = DeviceGroup(devices)
    mapped = group.map(per_device, num_replicated=1, out_axes=1)
    order = jnp.stack([positions(64), positions(64)])
    images, _ = mapped(group.replicate(examples), group.shard_batches(order))
    for step in (0, 1):
        np.testing.assert_array_equal(
            images[step].reshape(64, 28, 28, 1), augment(examples, *entries, step=step)
        )


def test_an_example_is_augmented_by_its_own_key_wherever_it_stands(examples):
    function = compiled(json.dumps(CHAIN))
    keys = keys_of(5, positions(64))
    order = jax.random.permutation(jax.random.key(0), positions(64))
    images, labels = function(keys, examples, positions(64))
    assert_same(function(keys[order], examples, order), (images[order], labels[order]))


@pytest.mark.parametrize('entries', [EACH[:5], EACH[5:7], EACH[7:8], EACH[8:]])
def test_float64_mode_gives_the_same(examples, entries):
    expected = run(examples, *entries, step=7)
    with jax.enable_x64(True):
        function = jit_once(make_augmentation(entries, NUM_CLASSES))
        result = function(keys_of(7, positions(64)), examples, positions(64))
    assert_same(result, expected)


def test_images_given_are_left_as_they_were(examples):
    before = np.array(examples.images)
    augment(examples, FLIP, CROP)
    np.testing.assert_array_equal(examples.images, before)


@pytest.mark.parametrize('shape', [(20, 24, 3), (9, 5, 1)])
def test_images_of_any_size_and_colour(examples, shape):
    height, width, channels = shape
    images = np.asarray(examples.images)[:, -4 - height : -4, -2 - width : -2]
    images = colour(images) if channels == 3 else images
    smaller = Examples(jnp.asarray(images), examples.labels)
    result = augment(smaller, CROP, {'name': 'rand_augment', 'num_ops': 1})
    assert result.shape == images.shape
    assert (result != images).any((1, 2, 3)).mean() > 0.7


@pytest.mark.parametrize(
    ('entry', 'shape', 'part'),
    [
        ({**CROP, 'padding': 20}, (28, 20, 1), "'pad_and_crop': padding must be less"),
        ({'name': 'translate', 'pixels': 9}, (9, 28, 3), 'which are 9x28, not 9'),
        ({'name': 'rand_augment'}, (28, 28, 2), 'takes images of 1 or 3 channels'),
    ],
)
def test_images_that_an_operation_does_not_take(entry, shape, part):
    augment = make_augmentation((FLIP, entry, {'name': 'mixup'}), NUM_CLASSES, 1)
    with pytest.raises(UserError) as caught:
        check_images(augment, shape)
    assert part in str(caught.value)
    assert '\n' not in str(caught.value)
    check_images(augment, (28, 28, 1))


# Originals and copies.


def test_copies_are_changed_and_originals_are_not(examples):
    copies = 3
    images, labels = run(examples, FLIP, CROP, copies=copies)
    assert len(images) == 64 * (1 + copies)
    np.testing.assert_array_equal(images[:64], examples.images)
    np.testing.assert_array_equal(labels, np.tile(examples.labels, 1 + copies))
    # As they would be changed without originals, under the keys of their places.
    places = positions(64 * (1 + copies))[64:]
    changed, _ = compiled(json.dumps((FLIP, CROP)))(
        keys_of(0, places), examples, places % 64
    )
    np.testing.assert_array_equal(images[64:], changed)
    for copy in range(copies):
        part = images[64 * (1 + copy) : 64 * (2 + copy)]
        assert (part != examples.images).any((1, 2, 3)).mean() > 0.5


def test_originals_among_mixed_copies_have_whole_labels(examples):
    images, labels = run(examples, {'name': 'mixup', 'alpha': 1}, copies=1)
    np.testing.assert_array_equal(images[:64], examples.images)
    np.testing.assert_array_equal(labels[:64], np.eye(NUM_CLASSES)[examples.labels])
    assert ((labels[64:] > 0).sum(-1) == 2).mean() > 0.7


def test_copies_of_nothing_are_refused():
    with pytest.raises(UserError) as caught:
        make_augmentation((), NUM_CLASSES, 1)
    message = str(caught.value)
    assert 'augmented_copies is 1, but augmentation is empty' in message
    assert '\n' not in message


def test_the_config_given_is_left_as_it_was():
    entry = {**FLIP, 'probability': 1}
    make_augmentation((entry,), NUM_CLASSES)
    assert entry == {'name': 'horizontal_flip', 'probability': 1}
