"""Order of examples, keys and normalisation."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from fmnist_jax.data.batches import (
    Normalization,
    epoch_order,
    example_keys,
    normalize,
    padded_order,
    stream_key,
)
from fmnist_jax.training.parallel import jit_once


def order_of(seed: int, epoch: int, num_examples: int, batch_size: int) -> np.ndarray:
    compute = jit_once(epoch_order, static_argnums=(2, 3))
    order = compute(jnp.uint32(seed), jnp.int32(epoch), num_examples, batch_size)
    assert order.dtype == jnp.int32
    return np.asarray(order)


@pytest.mark.parametrize(
    ('num_examples', 'batch_size', 'steps'),
    [
        (640, 64, 10),
        (641, 64, 10),
        (703, 64, 10),
        (55000, 32, 1718),
        (7, 7, 1),
        (3, 1, 3),
    ],
)
def test_an_epoch_is_the_full_batches_of_a_permutation(num_examples, batch_size, steps):
    order = order_of(0, 0, num_examples, batch_size)
    assert order.shape == (steps, batch_size)
    assert len(np.unique(order)) == order.size
    assert order.min() >= 0
    assert order.max() < num_examples
    if num_examples > 100:
        assert (np.diff(order.ravel()) != 1).mean() > 0.9


def test_every_example_comes_up_over_epochs():
    # Each epoch leaves out 36 of 100, others each time.
    seen = np.unique([order_of(0, epoch, 100, 64) for epoch in range(20)])
    np.testing.assert_array_equal(seen, np.arange(100))


def test_an_order_follows_from_its_seed_and_epoch():
    first = order_of(3, 4, 1000, 50)
    np.testing.assert_array_equal(first, order_of(3, 4, 1000, 50))
    for seed, epoch in ((3, 5), (4, 4), (4, 3), (2**32 - 1, 4)):
        other = order_of(seed, epoch, 1000, 50)
        assert (other == first).mean() < 0.02


def test_the_order_of_examples_does_not_depend_on_the_batch_size():
    by_50, by_200 = order_of(1, 2, 1000, 50), order_of(1, 2, 1000, 200)
    np.testing.assert_array_equal(by_50.ravel(), by_200.ravel())


def test_first_places_are_taken_by_all_examples_equally():
    epochs = jnp.arange(2000, dtype=jnp.int32)
    draw = jit_once(jax.vmap(lambda epoch: epoch_order(jnp.uint32(0), epoch, 10, 10)))
    orders = draw(epochs)
    counts = np.bincount(np.asarray(orders)[:, 0, 0], minlength=10)
    np.testing.assert_allclose(counts / 2000, 0.1, atol=5 * np.sqrt(0.09 / 2000))


@pytest.mark.parametrize(
    ('num_examples', 'batch_size', 'steps'),
    [(1000, 250, 4), (1000, 256, 4), (1, 8, 1), (8, 8, 1), (9, 8, 2), (5, 1, 5)],
)
def test_a_padded_order_covers_every_example_once(num_examples, batch_size, steps):
    order = padded_order(num_examples, batch_size)
    assert order.shape == (steps, batch_size)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(order.ravel()[:num_examples], np.arange(num_examples))
    np.testing.assert_array_equal(order.ravel()[num_examples:], 0)


@pytest.fixture(scope='module')
def images(dataset) -> jax.Array:
    """32 real images in three channels: themselves, mirrored, and as negatives."""
    images = dataset.split('train[:32]')[0]
    return jnp.asarray(
        np.concatenate([images, images[:, :, ::-1], 255 - images], axis=-1)
    )


NORMALIZATIONS = [
    Normalization(0.0, 1.0),
    Normalization(0.286, 0.353),
    Normalization((0.1, 0.2, 0.7), (0.3, 0.25, 2.0)),
    Normalization(0.5, (0.3, 0.25, 2.0)),
]


@pytest.mark.parametrize('normalization', NORMALIZATIONS)
def test_normalisation_in_float32_is_that_of_numpy(images, normalization):
    result = normalize(images, normalization, jnp.float32)
    expected = np.asarray(images) / 255.0
    expected = (expected - np.array(normalization.mean)) / np.array(normalization.std)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('normalization', NORMALIZATIONS)
def test_normalisation_in_bfloat16_is_rounded_once_from_float32(images, normalization):
    result = normalize(images, normalization, jnp.bfloat16)
    assert result.dtype == jnp.bfloat16
    exact = normalize(images, normalization, jnp.float32)
    np.testing.assert_array_equal(
        np.asarray(result), np.asarray(exact).astype(ml_dtypes.bfloat16)
    )


def test_normalisation_in_float64_keeps_every_digit(images):
    with jax.enable_x64(True):
        result = normalize(images, Normalization(0.286, 0.353), jnp.float64)
    assert result.dtype == np.float64
    expected = (np.asarray(images) / 255.0 - 0.286) / 0.353
    np.testing.assert_allclose(result, expected, rtol=1e-14, atol=1e-15)


def test_black_is_0_and_white_is_1_without_mean_and_std():
    images = jnp.array([0, 255], jnp.uint8).reshape(2, 1, 1, 1)
    result = normalize(images, Normalization(0.0, 1.0), jnp.float32)
    np.testing.assert_array_equal(result.ravel(), [0, 1])


def keys_of(seed: int, step: int, positions) -> list[tuple[int, ...]]:
    """The keys' bits."""
    keys = example_keys(
        jnp.uint32(seed), jnp.int32(step), jnp.asarray(positions, jnp.int32)
    )
    return list(map(tuple, jax.random.key_data(keys).tolist()))


def test_keys_differ_by_seed_step_and_position():
    keys = [
        key
        for seed in (0, 1, 2**32 - 1)
        for step in (0, 1, 2, 17000)
        for key in keys_of(seed, step, range(64))
    ]
    assert len(set(keys)) == len(keys) == 3 * 4 * 64


def test_a_key_follows_from_seed_step_and_position_alone():
    whole = keys_of(5, 9, range(64))
    assert keys_of(5, 9, range(64)) == whole
    assert keys_of(5, 9, range(48, 64)) == whole[48:]
    assert keys_of(5, 9, [3]) == whole[3:4]


def test_random_streams_of_one_seed_differ():
    names = ('init', 'order', 'step', 'dropout')
    keys = {
        tuple(jax.random.key_data(stream_key(seed, name)).tolist())
        for seed in (0, 1)
        for name in names
    }
    assert len(keys) == 2 * len(names)
