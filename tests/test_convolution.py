"""The fast convolution and max-pool against XLA's, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export, lax

from fmnist_jax.data import Dataset
from fmnist_jax.models.convolution import conv_general_dilated, max_pool

NUMBERS = ('NHWC', 'HWIO', 'NHWC')
# Height and width, channels in and out, kernel size, padding: of all the models.
SHAPES = [
    (28, 1, 10, 3, 'SAME'),
    (28, 10, 10, 3, 'SAME'),
    (14, 10, 10, 3, 'SAME'),
    (7, 10, 10, 3, 'SAME'),
    (28, 1, 10, 3, 'VALID'),
    (26, 10, 10, 3, 'VALID'),
    (28, 1, 32, 3, 'VALID'),
    (13, 32, 32, 3, 'VALID'),
    (5, 32, 32, 3, 'VALID'),
    (28, 1, 32, 3, 'SAME'),
    (14, 32, 64, 3, 'SAME'),
    (14, 64, 64, 3, 'SAME'),
    (28, 1, 16, 3, 'SAME'),
    (28, 16, 32, 3, 'VALID'),
    (28, 1, 64, 4, 'SAME'),
    (14, 64, 64, 4, 'VALID'),
    (28, 1, 12, 5, 'VALID'),
    (12, 12, 24, 5, 'VALID'),
]


def value_and_gradients(function, *arrays):
    """A function's value and its pullback of numbers that depend on nothing else."""

    @jax.jit
    def both(*arrays):
        value, pullback = jax.vjp(function, *arrays)
        numbers = jnp.arange(value.size, dtype=value.dtype).reshape(value.shape)
        return value, *pullback(jnp.cos(numbers))

    return both(*arrays)


def assert_same(function, expected, *arrays, tolerance=1e-11):
    actual = value_and_gradients(function, *arrays)
    for one, other in zip(actual, value_and_gradients(expected, *arrays), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        scale = max(1.0, np.abs(other).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def arrays_of(image_shape, kernel_shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return tuple(
        jnp.asarray(rng.standard_normal(shape), dtype)
        for shape in (image_shape, kernel_shape)
    )


def conv_pair(**kwargs):
    """This convolution and XLA's, with the same arguments."""
    return (
        functools.partial(function, dimension_numbers=NUMBERS, **kwargs)
        for function in (conv_general_dilated, lax.conv_general_dilated)
    )


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_values_and_gradients_of_every_layer_are_those_of_xla(shape):
    side, inputs, outputs, size, padding = shape
    with jax.enable_x64(True):
        arrays = arrays_of((3, side, side, inputs), (size, size, inputs, outputs))
        ours, xla = conv_pair(window_strides=(1, 1), padding=padding)
        assert_same(ours, xla, *arrays)


@pytest.mark.parametrize('seed', range(12))
def test_values_and_gradients_of_any_convolution_are_those_of_xla(seed):
    """Odd sizes, one-sided padding, strides, dilation, groups."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(6, 13, 2)
    kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
    inputs, outputs = (int(c) for c in rng.integers(1, 14, 2))
    kwargs = {
        'window_strides': (1, 1),
        'padding': [tuple(int(p) for p in rng.integers(0, k + 1, 2)) for k in kernel],
    }
    if seed % 3 == 1:
        kwargs['window_strides'] = tuple(int(s) for s in rng.integers(1, 3, 2))
        kwargs['rhs_dilation'] = tuple(int(d) for d in rng.integers(1, 3, 2))
    elif seed % 3 == 2:
        kwargs['feature_group_count'] = groups = int(rng.integers(1, 4))
        kwargs['lhs_dilation'] = tuple(int(d) for d in rng.integers(1, 3, 2))
        inputs, outputs = groups * inputs, groups * outputs
    groups = kwargs.get('feature_group_count', 1)
    with jax.enable_x64(True):
        arrays = arrays_of(
            (int(rng.integers(1, 6)), int(height), int(width), inputs),
            (*kernel, inputs // groups, outputs),
            seed,
        )
        ours, xla = conv_pair(**kwargs)
        assert_same(ours, xla, *arrays)


def test_flax_takes_it(dataset: Dataset):
    images = jnp.asarray(dataset.split('test[:4]')[0], jnp.float32) / 255
    ours = nn.Conv(10, (3, 3), conv_general_dilated=conv_general_dilated)
    variables = ours.init(jax.random.key(0), images)
    expected = nn.Conv(10, (3, 3)).apply(variables, images)
    np.testing.assert_allclose(ours.apply(variables, images), expected, atol=1e-5)


@pytest.mark.parametrize('mapped', ['kernels', 'both'])
def test_many_kernels_at_once(mapped):
    with jax.enable_x64(True):
        images, kernels = arrays_of((5, 3, 9, 9, 4), (5, 3, 3, 4, 6))
        if mapped == 'kernels':
            images = images[0]
        axes = (0 if mapped == 'both' else None, 0)
        ours, xla = (
            jax.vmap(function, axes)
            for function in conv_pair(window_strides=(1, 1), padding='SAME')
        )
        assert_same(ours, xla, images, kernels)


def flax_pool(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


@pytest.mark.parametrize('shape', [(3, 28, 28, 10), (2, 7, 9, 3), (1, 2, 2, 1)])
def test_the_max_pool_is_that_of_flax(shape):
    """Many pixels are equal, as after a ReLU: the first has the gradient."""
    with jax.enable_x64(True):
        images = jnp.maximum(arrays_of(shape, (1,))[0].round(), 0)
        assert_same(max_pool, flax_pool, images)


def test_a_pool_of_what_is_no_number_is_none():
    images = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan)
    np.testing.assert_array_equal(
        np.isnan(max_pool(images))[0, ..., 0], [[False, True], [False, False]]
    )


def loss(convolution, pool, kernel, images):
    return jnp.sum(pool(convolution(images, kernel)) ** 2)


@pytest.mark.parametrize(
    ('images', 'channels', 'is_ours'),
    [((128, 8), (15, 31), True), ((129, 8), (3, 4), False), ((2, 8), (16, 4), False)],
)
def test_few_images_and_few_channels_are_a_product_on_a_cpu(images, channels, is_ours):
    ours, _ = conv_pair(window_strides=(1, 1), padding='SAME')
    shapes = (
        jax.ShapeDtypeStruct(
            (images[0], images[1], images[1], channels[0]), np.float32
        ),
        jax.ShapeDtypeStruct((3, 3, *channels), np.float32),
    )
    text = jax.jit(ours).lower(*shapes).as_text()
    assert ('dot_general' in text) == is_ours
    assert ('stablehlo.convolution' in text) != is_ours


def test_accelerators_have_xlas_own():
    """Their programs hold one convolution and one reduce-window, and no product."""
    ours, _ = conv_pair(window_strides=(1, 1), padding='SAME')
    shapes = jax.ShapeDtypeStruct((3, 3, 1, 4), jnp.float32)
    images = jax.ShapeDtypeStruct((8, 28, 28, 1), jnp.float32)
    function = jax.jit(functools.partial(loss, ours, max_pool))
    for platform in ('tpu', 'cuda'):
        text = export.export(function, platforms=[platform])(shapes, images)
        text = text.mlir_module()
        assert text.count('stablehlo.convolution') == 1
        assert text.count('stablehlo.reduce_window') == 1
        assert 'dot_general' not in text
        assert 'LayoutConstraint' not in text


def test_one_program_for_all_platforms_and_any_batch():
    ours, xla = conv_pair(window_strides=(1, 1), padding='SAME')
    (n,) = export.symbolic_shape('n')
    kernel = jnp.ones((3, 3, 1, 4))
    exported = export.export(
        jax.jit(lambda kernel, images: max_pool(ours(images, kernel))),
        platforms=['cpu', 'cuda', 'tpu'],
    )(kernel, jax.ShapeDtypeStruct((n, 28, 28, 1), jnp.float32))
    for batch in (1, 7):
        images = arrays_of((batch, 28, 28, 1), (1,), dtype=np.float32)[0]
        expected = flax_pool(xla(images, kernel))
        np.testing.assert_allclose(exported.call(kernel, images), expected, atol=1e-5)
