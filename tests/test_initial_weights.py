"""The weights that models begin with: as PyTorch or Keras draws them."""

import functools

import jax
import numpy as np
import pytest

from fmnist_jax.models import create_model
from fmnist_jax.training.parallel import jit_once
from tests.reference_models import (
    BATCH_NORM_MODELS,
    KERAS_MODELS,
    drawn,
    init,
)


@pytest.mark.parametrize('name', ['linear', 'linear_v0', 'tinyvgg', 'bn_cnn'])
def test_initial_kernels_and_biases_are_drawn_as_pytorch_draws_them(name):
    model = create_model(name, num_classes=10)
    keys = jax.random.split(jax.random.key(1), 100)
    draw = jit_once(jax.vmap(functools.partial(init, model)))
    params = jax.tree.map(np.float64, draw(keys)['params'])
    layers = {k: v for k, v in params.items() if not k.startswith('BatchNorm')}
    assert len(layers) == {'linear': 1, 'linear_v0': 2, 'tinyvgg': 5, 'bn_cnn': 4}[name]
    for layer in layers.values():
        fan_in = np.prod(layer['kernel'].shape[1:-1])
        bound = 1 / np.sqrt(fan_in)
        for values in (layer['kernel'], layer['bias']):
            assert np.abs(values).max() <= bound * (1 + 1e-6)
            assert np.abs(values).max() > 0.98 * bound
            # Within five standard errors of what a uniform distribution has.
            error = 5 / np.sqrt(values.size)
            assert abs(values.mean()) < error * bound / np.sqrt(3)
            np.testing.assert_allclose(
                values.std(), bound / np.sqrt(3), rtol=error * np.sqrt(0.2)
            )
            assert len(np.unique(values[:, ..., 0])) > 0.99 * len(keys)


@pytest.mark.parametrize('name', KERAS_MODELS)
def test_initial_kernels_and_biases_are_drawn_as_keras_draws_them(name):
    params = drawn(create_model(name, num_classes=10))['params']
    layers = {k: v for k, v in params.items() if not k.startswith('BatchNorm')}
    assert len(layers) >= 4
    for layer in layers.values():
        kernel = np.float64(layer['kernel'])
        area = np.prod(kernel.shape[:-2])
        bound = np.sqrt(6 / (area * sum(kernel.shape[-2:])))
        assert np.abs(kernel).max() <= bound * (1 + 1e-6)
        assert np.abs(kernel).max() > (1 - 10 / kernel.size) * bound
        # Within five standard errors of what a uniform distribution has.
        error = 5 / np.sqrt(kernel.size)
        assert abs(kernel.mean()) < error * bound / np.sqrt(3)
        np.testing.assert_allclose(
            kernel.std(), bound / np.sqrt(3), rtol=error * np.sqrt(0.2)
        )
        np.testing.assert_array_equal(layer['bias'], np.zeros(kernel.shape[-1]))


@pytest.mark.parametrize(
    ('name', 'layer', 'array', 'values'),
    [
        ('linear', 'Dense_0', 'kernel', (-0.03194518, 0.01845141)),
        ('tinyvgg', 'Conv_0', 'kernel', (0.15566286, -0.07020736)),
        ('tinyvgg', 'Dense_0', 'bias', (0.00873371, 0.03227291)),
        ('bn_cnn', 'Conv_1', 'kernel', (-0.00567373, 0.00865848)),
    ],
)
def test_a_seed_gives_the_weights_that_committed_results_began_with(
    name, layer, array, values
):
    params = drawn(create_model(name, num_classes=10))['params']
    np.testing.assert_allclose(params[layer][array].ravel()[:2], values, rtol=1e-5)


def test_layers_of_the_same_shape_are_drawn_independently():
    params = drawn(create_model('tinyvgg', num_classes=10))['params']
    kernels = [params[f'Conv_{i}']['kernel'].ravel() for i in (1, 2, 3)]
    correlation = np.corrcoef(kernels) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(900)


@pytest.mark.parametrize('name', BATCH_NORM_MODELS)
def test_batch_norm_starts_as_the_identity(name):
    variables = drawn(create_model(name, num_classes=10))
    for layer, stats in variables['batch_stats'].items():
        params = variables['params'][layer]
        for values, expected in (
            (params['scale'], 1),
            (params['bias'], 0),
            (stats['mean'], 0),
            (stats['var'], 1),
        ):
            np.testing.assert_array_equal(values, expected)
