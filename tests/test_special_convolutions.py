"""Convolutions with strides and depthwise ones against XLA's, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export, lax

from fmnist_jax.kernels import conv_general_dilated
from fmnist_jax.training.parallel import jit_once

NUMBERS = ('NHWC', 'HWIO', 'NHWC')


def value_and_gradients(convolution, images, kernel, **kwargs):
    kwargs['dimension_numbers'] = NUMBERS

    @jit_once
    def both(images, kernel):
        value, pullback = jax.vjp(
            lambda x, k: convolution(x, k, **kwargs), images, kernel
        )
        numbers = np.cos(np.arange(value.size)).reshape(value.shape)
        return value, *pullback(jnp.asarray(numbers, value.dtype))

    return both(images, kernel)


@pytest.mark.parametrize(
    ('image', 'kernel_shape', 'strides', 'padding'),
    [
        # Of the models: strided 3x3 and 1x1, depthwise.
        ((28, 28, 16), (3, 3, 16, 32), (2, 2), ((1, 1), (1, 1))),
        ((7, 7, 8), (3, 3, 8, 4), (2, 2), ((1, 1), (1, 1))),
        ((14, 14, 8), (1, 1, 8, 12), (2, 2), ((0, 0), (0, 0))),
        ((28, 28, 20), (3, 3, 1, 20), (1, 1), ((1, 1), (1, 1))),
        ((14, 14, 9), (3, 3, 1, 9), (2, 2), ((1, 1), (1, 1))),
        # Others.
        ((9, 6, 3), (2, 4, 3, 5), (3, 1), ((0, 2), (1, 0))),
        ((6, 6, 3), (3, 3, 3, 5), (2, 2), 'SAME'),
        ((5, 4, 3), (1, 2, 3, 2), (3, 3), 'VALID'),
        ((9, 6, 3), (2, 4, 1, 3), (3, 2), ((0, 2), (1, 0))),
        ((7, 5, 4), (5, 5, 1, 4), (1, 1), 'SAME'),
        # Left to XLA: other groups, several kernels a channel.
        ((6, 6, 4), (3, 3, 2, 6), (1, 1), 'SAME'),
        ((6, 6, 2), (3, 3, 1, 4), (2, 2), 'SAME'),
    ],
)
def test_values_and_gradients_are_those_of_xla(image, kernel_shape, strides, padding):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((5, *image))
    kernel = rng.standard_normal(kernel_shape)
    kwargs = {
        'window_strides': strides,
        'padding': padding,
        'feature_group_count': image[-1] // kernel_shape[2],
    }
    actual = value_and_gradients(
        conv_general_dilated, np.float32(images), np.float32(kernel), **kwargs
    )
    with jax.enable_x64(True):
        expected = value_and_gradients(
            lax.conv_general_dilated, images, kernel, **kwargs
        )
    for mine, xlas in zip(actual, expected, strict=True):
        assert mine.shape == xlas.shape
        np.testing.assert_allclose(mine, xlas, rtol=0, atol=3e-6 * np.abs(xlas).max())


def lowered(convolution, platform, batch=8, **kwargs) -> str:
    """The program of a value and its gradients for a platform."""

    def loss(x, k):
        return (convolution(x, k, dimension_numbers=NUMBERS, **kwargs) ** 2).sum()

    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in (
            (batch, 8, 8, 4),
            (3, 3, 4 // kwargs.get('feature_group_count', 1), 4),
        )
    ]
    step = jax.jit(jax.grad(loss, (0, 1)))
    checks = [
        export.DisabledSafetyCheck.custom_call(f'fmnist_jax_{name}')
        for name in (
            'convolution',
            'convolution_images_gradient',
            'convolution_kernel_gradient',
        )
    ]
    exported = export.export(step, platforms=[platform], disabled_checks=checks)
    return exported(*shapes).mlir_module()


@pytest.mark.parametrize(
    'kwargs',
    [
        {'window_strides': (2, 2), 'padding': 'SAME'},
        {'window_strides': (1, 1), 'padding': 'SAME', 'feature_group_count': 4},
    ],
)
def test_a_cpu_has_kernels_and_accelerators_have_xlas_own(kwargs):
    on_cpu = lowered(conv_general_dilated, 'cpu', **kwargs)
    assert 'stablehlo.convolution' not in on_cpu
    assert '@fmnist_jax_convolution' in on_cpu
    on_tpu = lowered(conv_general_dilated, 'tpu', **kwargs)
    assert '@fmnist_jax' not in on_tpu
    # The value's, which its gradients do not need, is left out.
    assert on_tpu.count('stablehlo.convolution') >= 2


@pytest.mark.parametrize(
    'kwargs',
    [
        {'strides': 2, 'padding': 1},
        {'feature_group_count': 6},
        {'kernel_dilation': 2},
    ],
)
def test_flax_takes_it(kwargs):
    x = np.random.default_rng(0).standard_normal((8, 9, 9, 6)).astype(np.float32)
    mine = nn.Conv(6, (3, 3), conv_general_dilated=conv_general_dilated, **kwargs)
    plain = nn.Conv(6, (3, 3), **kwargs)

    @jit_once
    def both(x):
        variables = plain.init(jax.random.key(0), x)
        return mine.apply(variables, x), plain.apply(variables, x)

    np.testing.assert_allclose(*both(x), atol=1e-5)


def test_many_models_at_once():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((4, 8, 8, 3)), jnp.float32)
    kernels = jnp.asarray(rng.standard_normal((2, 3, 3, 1, 3)), jnp.float32)

    def gradient(kernel):
        def loss(kernel):
            y = conv_general_dilated(
                x, kernel, (1, 1), 'SAME', None, None, NUMBERS, feature_group_count=3
            )
            return (y**2).sum()

        return jax.grad(loss)(kernel)

    @jit_once
    def both(kernels):
        return jax.vmap(gradient)(kernels), [gradient(kernel) for kernel in kernels]

    for together, alone in zip(*both(kernels), strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
