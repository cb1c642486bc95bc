"""Batches in chunks: which models have them, and that sums are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fmnist_jax.models import create_model
from fmnist_jax.models.layers import flatten
from fmnist_jax.training.chunks import choose_chunk, has_convolution, sum_over_chunks
from tests.nets import DropoutNet, LonelyNet


class XlaNet(nn.Module):
    """A convolution of XLA's, as in a model of a user's own."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(self.num_classes)(flatten(nn.Conv(4, (3, 3))(images)))


def tinyvgg(**kwargs):
    return create_model('tinyvgg', num_classes=10, **kwargs)


@pytest.mark.parametrize(
    ('model', 'batch', 'chunk'),
    [
        (tinyvgg(), 16, 16),
        (tinyvgg(), 32, 32),
        (tinyvgg(), 64, 32),
        # The last chunk has 29.
        (tinyvgg(), 125, 32),
        # One of 1 would leave nearly all lanes empty.
        (tinyvgg(), 33, 33),
        (tinyvgg(), 97, 64),
        (create_model('linear', num_classes=10), 64, 32),
        # What the batch must be whole for: its statistics, random numbers.
        (tinyvgg(batch_norm=True), 64, 64),
        (create_model('bn_cnn', num_classes=10, axis_name='batch'), 64, 64),
        (LonelyNet(10), 64, 64),
        (DropoutNet(10, axis_name='batch'), 64, 64),
    ],
    ids=str,
)
def test_chunks_of_a_model(model, batch, chunk):
    assert choose_chunk(model, (28, 28, 1), batch, in_loop=True) == chunk


@pytest.mark.parametrize(('batch', 'chunk'), [(125, 32), (500, 64), (1000, 128)])
def test_copies_of_a_program_are_no_more_than_eight(batch, chunk):
    assert choose_chunk(XlaNet(10), (28, 28, 1), batch, in_loop=False) == chunk


@pytest.mark.parametrize(
    ('model', 'batch', 'dtype', 'has_one'),
    [
        (tinyvgg(), 32, 'float32', False),
        (
            create_model('vgg_like', num_classes=10, axis_name='batch'),
            8,
            'float32',
            False,
        ),
        # Too few for the kernels, and of another type.
        (tinyvgg(), 3, 'float32', True),
        (tinyvgg(), 32, 'bfloat16', True),
        (XlaNet(10), 32, 'float32', True),
        (create_model('linear', num_classes=10), 32, 'bfloat16', False),
    ],
    ids=str,
)
def test_programs_with_a_convolution_of_xla(model, batch, dtype, has_one):
    assert has_convolution(model, (28, 28, 1), batch, dtype) == has_one


@pytest.mark.parametrize('in_loop', [False, True])
@pytest.mark.parametrize('chunk', [4, 7, 12, 13, 24])
def test_sums_over_chunks_are_those_over_the_batch(chunk, in_loop):
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((24, 5)), rng.integers(0, 3, 24)

    def function(images, labels):
        return {'squares': (images**2).sum(0), 'labels': labels.sum()}

    sums = jax.jit(lambda *arrays: sum_over_chunks(function, chunk, in_loop, *arrays))(
        jnp.asarray(images), jnp.asarray(labels)
    )
    np.testing.assert_allclose(sums['squares'], (images**2).sum(0), rtol=1e-5)
    assert sums['labels'] == labels.sum()
