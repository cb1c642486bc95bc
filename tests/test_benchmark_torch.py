"""The benchmark's PyTorch, which computes what this project does.

Keras is in an environment of its own; its losses are compared in every run.
"""

import functools
import importlib

import jax
import numpy as np
import pytest

from benchmarks.workloads import NETWORKS
from fmnist_jax.training import parallel
from tests.images import GREY
from tests.nets import random_variables


@pytest.fixture
def torch_competitor():
    pytest.importorskip('torch', reason="needs the extra 'bench'")
    # A name of its own: `torch` is the package.
    return importlib.import_module('benchmarks.competitors.torch')


@pytest.mark.parametrize('name', NETWORKS)
def test_the_torch_model_computes_what_the_flax_model_does(name, torch_competitor):
    torch = torch_competitor.torch
    model, variables = random_variables(name)
    # PyTorch's running means start from 0.
    stats = jax.tree.map(np.zeros_like, variables.pop('batch_stats', {}))
    images = np.random.default_rng(0).random((4, *GREY), np.float32)
    if hasattr(model, 'dropout_rate'):
        model = model.clone(dropout_rate=(0.0,) * len(model.dropout_rate))
    apply = functools.partial(model.apply, train=True, mutable=['batch_stats'])
    expected, updates = parallel.jit_once(apply)(
        variables | {'batch_stats': stats},
        images,
        rngs={'dropout': jax.random.key(0)},
    )
    same = torch_competitor.build_model(
        NETWORKS[name].layers, variables['params'], channels=1, dropout=False
    )
    logits = same(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    means = [m.running_mean for m in same if hasattr(m, 'running_mean')]
    new_stats = updates.get('batch_stats', {}).values()
    for mean, stat in zip(means, new_stats, strict=True):
        np.testing.assert_allclose(mean, stat['mean'], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('last', [False, True])
def test_only_channels_last_has_channels_last(last, torch_competitor):
    torch = torch_competitor.torch
    chosen = torch_competitor.ChannelsLast if last else torch_competitor.Eager
    images = torch_competitor.lay_out(
        np.random.default_rng(0).random((4, *GREY), np.float32), chosen.memory_format
    )
    _, variables = random_variables('tinyvgg')
    model = torch_competitor.build_model(
        NETWORKS['tinyvgg'].layers, variables['params'], channels=1, dropout=False
    ).to(memory_format=chosen.memory_format)
    x = images[torch.tensor([2, 0])]
    for module in model[:5]:
        x = module(x)
        assert x.is_contiguous(memory_format=torch.channels_last) == last


def test_the_torch_model_drops_out_when_it_is_told_to(torch_competitor):
    layers = NETWORKS['vgg_like'].layers
    _, variables = random_variables('vgg_like')
    for dropout, expected in ((True, [0.25, 0.25, 0.5]), (False, [0, 0, 0])):
        model = torch_competitor.build_model(
            layers, variables['params'], channels=1, dropout=dropout
        )
        rates = [m.p for m in model if isinstance(m, torch_competitor.nn.Dropout)]
        assert rates == expected
