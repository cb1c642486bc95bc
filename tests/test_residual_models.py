"""Residual, compact and fast networks: against PyTorch, their sizes and their parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from fmnist_jax.data import Dataset
from fmnist_jax.data.statistics import whitening_filters
from fmnist_jax.errors import UserError
from fmnist_jax.models import MODELS, create_model
from fmnist_jax.models.check import check_model
from fmnist_jax.models.initializers import dirac_kernel
from fmnist_jax.models.layers import StochasticDepth
from fmnist_jax.models.residual import drop_rates
from fmnist_jax.models.speednet import FASHION_MNIST_WHITENING, Whitening
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.state import num_parameters
from tests.reference_models import (
    IMAGE_SHAPE,
    PARAMETERS,
    apply,
    assert_close,
    logits_of,
    random_variables,
    shapes_of,
)


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> jax.Array:
    """Eight real images as models see them: float32 [8, 28, 28, 1]."""
    pixels, _ = dataset.split('test[:8]')
    return jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        ('resnet20', {'depth': 8, 'shortcut': 'projection'}),
        ('resnet20', {'depth': 8, 'shortcut': 'padding'}),
        ('wrn_16_4', {'depth': 10, 'widening': 2}),
        slow('resnet20', {'shortcut': 'projection'}),
        slow('resnet20', {'shortcut': 'padding'}),
        slow('wrn_16_4', {}),
    ],
)
@pytest.mark.parametrize('train', [False, True])
def test_logits_and_running_means_are_those_of_pytorch(name, fields, train, images):
    pytest.importorskip('torch', reason="needs the extra 'bench'")
    from tests import torch_models  # noqa: PLC0415 - imports torch

    model = create_model(name, num_classes=10, **fields)
    variables = random_variables(model, 1)
    logits, updates = apply(model, variables, images, train=train, dropout_rate=())
    if name == 'resnet20':
        reference = functools.partial(torch_models.resnet, shortcut=fields['shortcut'])
    else:
        reference = torch_models.wide_resnet
    expected, mean = reference(variables, images, train=train)
    assert_close(logits, expected)
    assert_close(updates['batch_stats']['BatchNorm_0']['mean'], mean)


def residual_size(widths, blocks, *, pre_activation, projection_norm):
    """Parameters of a residual network for images of one channel, added up."""
    total, channels = 9 * 16, 16
    for width in widths:
        for block in range(blocks):
            total += 9 * channels * width + 9 * width * width
            total += 2 * (channels if pre_activation else width) + 2 * width
            if block == 0 and channels != width:
                total += channels * width + 2 * width * projection_norm
            channels = width
    # BatchNorm after the stem, or before the head; the head.
    return total + 2 * (channels if pre_activation else 16) + 10 * channels + 10


def test_parameters_add_up():
    assert PARAMETERS['resnet20'] == residual_size(
        (16, 32, 64), 3, pre_activation=False, projection_norm=1
    )
    for name, blocks, k in (('16_4', 2, 4), ('28_10', 4, 10), ('40_4', 6, 4)):
        assert PARAMETERS[f'wrn_{name}'] == residual_size(
            (16 * k, 32 * k, 64 * k), blocks, pre_activation=True, projection_norm=0
        )
    # Biases of 8 filters; three groups' kernels; biases of BatchNorm; the head.
    kernels = 9 * (8 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert PARAMETERS['speednet'] == 8 + kernels + 2 * (64 + 256 + 256) + 2560
    # Kernels; BatchNorm's scales and biases; the head.
    kernels = 9 * (1 * 8 + 8 * 12 + 12 * 18 + 18 * 26)
    assert PARAMETERS['compact'] == kernels + 2 * (8 + 12 + 18 + 26) + 26 * 10 + 10


def test_the_papers_resnet20_has_its_parameters():
    params = shapes_of(create_model('resnet20', num_classes=10, shortcut='padding'))
    # 269,722 for images of three channels.
    assert num_parameters(params['params']) == 269722 - 3 * 3 * 2 * 16


SMALL = [
    ('resnet20', {'depth': 8, 'stochastic_depth': 0.2}),
    ('speednet', {'width': 4}),
    ('compact', {'squeeze_excite': 4, 'stem': 0, 'head': 'average_max'}),
    (
        'compact',
        {
            'block': 'bottleneck',
            'pool': 'stride',
            'head': 'flatten',
            'activation': 'hard_swish',
            'squeeze_excite': 2,
            'widths': (8, 12),
            'depths': (1, 1),
            'stochastic_depth': 0.2,
        },
    ),
    slow('wrn_16_4', {'depth': 10, 'widening': 1, 'dropout_rate': 0.1}),
    slow('compact', {'block': 'basic', 'widths': (8, 8), 'depths': (1, 2)}),
]


@pytest.mark.parametrize(
    ('name', 'fields'),
    [*SMALL, *(slow(n, {}) for n in ('resnet20', 'wrn_16_4', 'speednet', 'compact'))],
)
def test_every_parameter_learns_and_real_images_are_learnt(name, fields, dataset):
    pixels, labels = dataset.split('train[:32]')
    images = jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)
    model = create_model(name, num_classes=10, **fields)
    variables = jit_once(lambda: model.init(jax.random.key(0), images))()

    @jit_once
    def step(variables, key):
        def loss(params):
            logits, updates = model.apply(
                {**variables, 'params': params},
                images,
                train=True,
                mutable=['batch_stats'],
                rngs={'dropout': key},
            )
            losses = jax.nn.log_softmax(logits)[jnp.arange(32), labels]
            return -losses.mean(), updates

        (value, updates), gradients = jax.value_and_grad(loss, has_aux=True)(
            variables['params']
        )
        params = jax.tree.map(lambda p, g: p - 0.05 * g, variables['params'], gradients)
        return {**updates, 'params': params}, value, gradients

    losses = []
    for number in range(8):
        variables, value, gradients = step(variables, jax.random.key(number))
        if number == 0:
            for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
                assert np.abs(leaf).max() > 0, path
        losses.append(float(value))
    assert np.mean(losses[-2:]) < losses[0]


@pytest.mark.parametrize('name', ['resnet20', 'wrn_16_4', 'speednet', 'compact'])
def test_models_compute_in_bfloat16_throughout(name):
    model = create_model(name, num_classes=10)
    half = functools.partial(jax.tree.map, lambda x: x.astype(jnp.bfloat16))

    def logits(variables, images):
        variables = {**variables, 'params': half(variables['params'])}
        return model.apply(variables, images, train=True, mutable=['batch_stats'])[0]

    images = jax.ShapeDtypeStruct((4, *IMAGE_SHAPE), jnp.bfloat16)
    assert jax.eval_shape(logits, shapes_of(model), images).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        ('speednet', {'width': 4}),
        (
            'compact',
            {
                'block': 'bottleneck',
                'widths': (8, 12),
                'depths': (1, 1),
                'pool': 'stride',
                'head': 'average_max',
                'squeeze_excite': 4,
            },
        ),
    ],
)
def test_they_are_exported_with_an_open_batch(name, fields, images):
    model = create_model(name, num_classes=10, **fields)
    variables = random_variables(model, 3)
    (n,) = export.symbolic_shape('n')
    exported = export.export(
        jax.jit(functools.partial(model.apply, variables, train=False)),
        platforms=['cpu', 'tpu'],
    )(jax.ShapeDtypeStruct((n, *IMAGE_SHAPE), jnp.float32))
    expected = logits_of(model, variables, images)
    assert_close(exported.call(images), expected)
    assert_close(exported.call(images[:1]), expected[:1])


def test_dropout_of_wide_networks_is_an_array_input(images):
    fields = {'depth': 10, 'widening': 1}
    without = create_model('wrn_16_4', num_classes=10, **fields)
    with_rate = create_model('wrn_16_4', num_classes=10, dropout_rate=0.5, **fields)
    variables = random_variables(without, 2)

    @jit_once
    def call(rate):
        model = with_rate.clone(dropout_rate=rate)
        return model.apply(
            variables,
            images,
            train=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )[0]

    expected, _ = apply(without, variables, images, train=True, dropout_rate=())
    assert_close(call(jnp.float32(0)), expected)
    assert np.abs(call(jnp.float32(0.5)) - expected).max() > 0.01


def test_stochastic_depth_keeps_the_expectation_and_drops_examples_whole():
    branch = StochasticDepth(0.3)
    x = jnp.ones((4000, 2, 3))
    key = jax.random.key(0)
    y = branch.apply({}, x, train=True, rngs={'dropout': key})
    kept = np.asarray(y[:, 0, 0]) > 0
    np.testing.assert_array_equal(y[~kept], 0)
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-6)
    # Five standard errors.
    assert abs(y.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / 4000)
    np.testing.assert_array_equal(branch.apply({}, x, train=False), x)


def test_stochastic_depth_of_rate_0_draws_nothing():
    x = jnp.ones((4, 2))
    np.testing.assert_array_equal(StochasticDepth(0.0).apply({}, x, train=True), x)


@pytest.mark.parametrize('num_devices', [2, 4])
def test_stochastic_depth_does_not_depend_on_the_number_of_devices(num_devices):
    x = jax.random.normal(jax.random.key(1), (64, 3))
    rngs = {'dropout': jax.random.key(2)}
    alone = StochasticDepth(0.5).apply({}, x, train=True, rngs=rngs)

    def call(x):
        return StochasticDepth(0.5, 'i').apply({}, x, train=True, rngs=rngs)

    spread = jax.pmap(call, axis_name='i')(x.reshape(num_devices, -1, 3))
    np.testing.assert_array_equal(spread.reshape(x.shape), alone)
    assert 0 < np.count_nonzero(alone[:, 0]) < 64


def test_the_probability_of_being_dropped_rises_linearly():
    np.testing.assert_allclose(drop_rates(0.5, 5), [0.1, 0.2, 0.3, 0.4, 0.5])
    assert drop_rates(0.0, 3) == [0, 0, 0]


def test_whitening_filters_are_those_of_the_training_images(dataset):
    pixels, _ = dataset.split('train[:55000]')
    filters = whitening_filters(pixels).reshape(-1)
    np.testing.assert_allclose(FASHION_MNIST_WHITENING, filters, rtol=0, atol=6e-5)


def test_responses_to_real_patches_are_white(dataset):
    pixels, _ = dataset.split('test[:2000]')
    images = jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)
    variables = {'params': {'bias': jnp.zeros(8)}}
    y = Whitening(FASHION_MNIST_WHITENING).apply(variables, images)
    np.testing.assert_allclose(y[..., 4:], -y[..., :4], rtol=1e-6)
    responses = np.float64(y[..., :4]).reshape(-1, 4)
    # Other images than the filters were made from.
    np.testing.assert_allclose(
        responses.T @ responses / len(responses), np.eye(4), atol=0.05
    )
    # Which the patches themselves are not: neighbours are correlated.
    assert np.corrcoef(images[:, :, 1:].ravel(), images[:, :, :-1].ravel())[0, 1] > 0.8


def test_colours_are_whitened_each_alone_or_together(dataset):
    pixels, _ = dataset.split('test[:200]')
    # Three channels that are correlated.
    others = (pixels[::-1], pixels // 2 + np.roll(pixels, 1, axis=0) // 2)
    colours = np.concatenate([pixels, *others], 3)
    filters = whitening_filters(colours)
    assert filters.shape == (12, 2, 2, 3)
    mean, std = colours.mean((0, 1, 2)) / 255, colours.std((0, 1, 2)) / 255
    images = jnp.asarray((colours / 255 - mean) / std, jnp.float32)
    variables = {'params': {'bias': jnp.zeros(24)}}
    together = Whitening(tuple(filters.ravel())).apply(variables, images)
    responses = np.float64(together[..., :12]).reshape(-1, 12)
    np.testing.assert_allclose(
        responses.T @ responses / len(responses), np.eye(12), atol=0.08
    )
    each = Whitening(FASHION_MNIST_WHITENING).apply(variables, images)
    one = Whitening(FASHION_MNIST_WHITENING).apply(
        {'params': {'bias': jnp.zeros(8)}}, images[..., 1:2]
    )
    np.testing.assert_allclose(each[..., 1:12:3], one[..., :4], atol=1e-4)


@pytest.mark.parametrize('shape', [(3, 3, 4, 6), (3, 3, 4, 4), (3, 3, 4, 2)])
def test_dirac_kernels_pass_channels_on(shape):
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 4)).astype(np.float32)

    @jit_once
    def draw_and_apply(key):
        kernel = dirac_kernel(key, shape)
        numbers = ('NHWC', 'HWIO', 'NHWC')
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), 'SAME', dimension_numbers=numbers
        )
        return kernel, y

    kernel, y = draw_and_apply(jax.random.key(0))
    shared = min(shape[2:])
    np.testing.assert_allclose(y[..., :shared], x[..., :shared], atol=1e-6)
    others = np.asarray(kernel[..., shared:])
    assert np.abs(others).max(initial=0) <= 1 / 6
    assert np.count_nonzero(others) == others.size


@pytest.mark.parametrize(
    ('name', 'fields', 'message'),
    [
        ('resnet20', {'depth': 21}, r'depth must be 6n \+ 2, such as 20, not 21'),
        ('wrn_16_4', {'depth': 2}, r'depth must be 6n \+ 4, such as 10, not 2'),
        ('resnet20', {'shortcut': 'pad'}, "shortcut 'pad'; did you mean 'padding'"),
        ('resnet20', {'stochastic_depth': 1.0}, 'below 1, not 1.0'),
        ('wrn_16_4', {'stochastic_depth': -0.1}, 'at least 0 and below 1'),
        ('wrn_16_4', {'widening': 0}, 'one of its fields is 0'),
        ('speednet', {'width': 0}, 'one of its fields is 0'),
        ('speednet', {'whitening': (1.0, 2.0)}, 'must have 4x4 numbers.*not 2'),
        ('compact', {'block': 'bottle'}, "did you mean 'bottleneck'"),
        ('compact', {'head': 'mean'}, 'head.*average_max'),
        ('compact', {'pool': 'strides'}, "did you mean 'stride'"),
        ('compact', {'activation': 'swish'}, "did you mean 'hard_swish'"),
        ('compact', {'widths': (4, 8)}, 'a number for each stage, not 2 and 3'),
        ('compact', {'widths': (), 'depths': ()}, 'not 0 and 0'),
        ('compact', {'depths': (1, 0, 1)}, 'depths must be .* at least 1'),
        ('compact', {'squeeze_excite': -1}, 'squeeze_excite .* at least 0, not -1'),
        ('compact', {'expansion': 0}, 'expansion .* at least 1, not 0'),
        ('compact', {'stochastic_depth': 0.1}, "'conv' has no residual branch"),
        (
            'compact',
            {'block': 'bottleneck', 'stochastic_depth': 0.1},
            "'bottleneck' has no residual branch",
        ),
    ],
)
def test_fields_that_make_no_model_are_user_errors(name, fields, message):
    with pytest.raises(UserError, match=message) as caught:
        check_model(create_model(name, num_classes=10, **fields), name, IMAGE_SHAPE, 10)
    assert '\n' not in str(caught.value)


def test_every_family_here_is_registered():
    assert {'resnet20', 'wrn_16_4', 'wrn_28_10', 'wrn_40_4', 'speednet'} < {*MODELS}
