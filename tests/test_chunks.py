"""Batches in chunks: which models have them, and that sums are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fmnist_jax.models import create_model
from fmnist_jax.models.layers import flatten
from fmnist_jax.training.chunks import Chunks, choose_chunks, sum_over_chunks
from tests.nets import DropoutNet, LonelyNet


class XlaNet(nn.Module):
    """A convolution of XLA's, as in a model of a user's own."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(self.num_classes)(flatten(nn.Conv(4, (3, 3))(images)))


@pytest.mark.parametrize(
    ('model', 'batch', 'chunks'),
    [
        (create_model('tinyvgg', num_classes=10), 16, Chunks(16, in_loop=True)),
        (create_model('tinyvgg', num_classes=10), 125, Chunks(25, in_loop=True)),
        (create_model('tinyvgg', num_classes=10), 127, Chunks(127)),
        (create_model('linear', num_classes=10), 64, Chunks(32, in_loop=True)),
        # Copies of the program, no more than eight.
        (XlaNet(10), 125, Chunks(25)),
        (XlaNet(10), 500, Chunks(50)),
        # What the batch must be whole for: its statistics, random numbers.
        (create_model('tinyvgg', num_classes=10, batch_norm=True), 64, Chunks(64)),
        (create_model('bn_cnn', num_classes=10, axis_name='batch'), 64, Chunks(64)),
        (LonelyNet(10), 64, Chunks(64)),
        (DropoutNet(10, axis_name='batch'), 64, Chunks(64)),
    ],
    ids=str,
)
def test_chunks_of_a_model(model, batch, chunks):
    assert choose_chunks(model, (28, 28, 1), batch) == chunks


@pytest.mark.parametrize('in_loop', [False, True])
@pytest.mark.parametrize('size', [4, 12, 24])
def test_sums_over_chunks_are_those_over_the_batch(size, in_loop):
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((24, 5)), rng.integers(0, 3, 24)

    def function(images, labels):
        return {'squares': (images**2).sum(0), 'labels': labels.sum()}

    sums = jax.jit(
        lambda *arrays: sum_over_chunks(function, Chunks(size, in_loop), *arrays)
    )(jnp.asarray(images), jnp.asarray(labels))
    np.testing.assert_allclose(sums['squares'], (images**2).sum(0), rtol=1e-5)
    assert sums['labels'] == labels.sum()
