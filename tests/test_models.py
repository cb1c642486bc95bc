"""Models against NumPy, their sizes, their initial weights, and how they are found."""

import collections
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.models import MODELS, create_model
from fmnist_jax.models.arch1 import Arch1
from fmnist_jax.models.arch2 import Arch2
from fmnist_jax.models.bn_cnn import BatchNormCNN
from fmnist_jax.models.check import check_model
from fmnist_jax.models.keras_tinyvgg import KerasTinyVGG
from fmnist_jax.models.layers import Dropout
from fmnist_jax.models.linear import Linear
from fmnist_jax.models.tinyvgg import TinyVGG
from fmnist_jax.models.vgg_like import VGGLike
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.state import num_parameters

# Trainable parameters at 28x28x1 and 10 classes, from the projects' own code; the
# explainer's own images are 64x64x3.
PARAMETERS = {
    'linear': 7850,
    'linear_v0': 7960,
    'tinyvgg': 7740,
    'tinyvgg_3block': 5560,
    'tinyvgg_explainer': 4440,
    'keras_tinyvgg': 21706,
    'arch1': 848330,
    'arch2': 493772,
    'vgg_like': 1677674,
    'bn_cnn': 55018,
}

# Models whose kernels are drawn as Keras draws them; the others', as PyTorch does.
KERAS_MODELS = ('tinyvgg_explainer', 'keras_tinyvgg', 'arch1', 'arch2', 'vgg_like')

BATCH_NORM_MODELS = ('arch1', 'arch2', 'vgg_like', 'bn_cnn')
DROPOUT_RATES = {
    'arch1': (0.25, 0.25, 0.5),
    'arch2': (0.1, 0.3, 0.5),
    'vgg_like': (0.25, 0.25, 0.5),
}

IMAGE_SHAPE = (28, 28, 1)
# BatchNorm's momentum, in Flax's convention, and epsilon.
TORCH, KERAS = (0.9, 1e-5), (0.99, 1e-3)


def conv2d(
    x: np.ndarray, layer: dict[str, np.ndarray], *, same: bool = False
) -> np.ndarray:
    kernel = layer['kernel']
    height, width = kernel.shape[:2]
    if same:
        above, left = (height - 1) // 2, (width - 1) // 2
        below, right = height - 1 - above, width - 1 - left
        x = np.pad(x, ((0, 0), (above, below), (left, right), (0, 0)))
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    result = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            result += x[:, i : i + rows, j : j + columns] @ kernel[i, j]
    return result + layer['bias']


def max_pool(x: np.ndarray) -> np.ndarray:
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def dense(x: np.ndarray, layer: dict[str, np.ndarray]) -> np.ndarray:
    return x.reshape(len(x), -1) @ layer['kernel'] + layer['bias']


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


class Layers:
    """The layers of a model in NumPy, in the order in which Flax numbers them.

    Dropout keeps everything, or nothing at the positions in `dropped`.
    """

    def __init__(self, variables: dict, train: bool, dropped: tuple[int, ...]):
        self.variables, self.train, self.dropped = variables, train, dropped
        self.counts = collections.Counter()
        self.new_stats = {}

    def count(self, kind: str) -> int:
        self.counts[kind] += 1
        return self.counts[kind] - 1

    def params(self, kind: str) -> dict[str, np.ndarray]:
        return self.variables['params'][f'{kind}_{self.count(kind)}']

    def conv(self, x: np.ndarray, *, same: bool = False) -> np.ndarray:
        return conv2d(x, self.params('Conv'), same=same)

    def dense(self, x: np.ndarray) -> np.ndarray:
        return dense(x, self.params('Dense'))

    def batch_norm(self, x: np.ndarray, momentum: float, epsilon: float) -> np.ndarray:
        name = f'BatchNorm_{self.counts["BatchNorm"]}'
        layer, stats = self.params('BatchNorm'), self.variables['batch_stats'][name]
        mean, var = stats['mean'], stats['var']
        if self.train:
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
        self.new_stats[name] = {
            'mean': momentum * stats['mean'] + (1 - momentum) * mean,
            'var': momentum * stats['var'] + (1 - momentum) * var,
        }
        return (x - mean) / np.sqrt(var + epsilon) * layer['scale'] + layer['bias']

    def dropout(self, x: np.ndarray) -> np.ndarray:
        position = self.count('Dropout')
        return np.zeros_like(x) if self.train and position in self.dropped else x


def linear(layers, x, depth=1):
    for _ in range(depth):
        x = layers.dense(x)
    return x


def tinyvgg(layers, x, *, blocks=2, same=True, activation=relu, batch_norm=False):
    for _ in range(blocks):
        for _ in range(2):
            x = layers.conv(x, same=same)
            x = activation(layers.batch_norm(x, *TORCH) if batch_norm else x)
        x = max_pool(x)
    return layers.dense(x)


def keras_tinyvgg(layers, x):
    x = max_pool(relu(layers.conv(x)))
    x = max_pool(relu(layers.conv(x)))
    return layers.dense(relu(layers.conv(x)))


def arch1(layers, x):
    x = relu(layers.conv(x, same=True))
    x = layers.dropout(max_pool(relu(layers.batch_norm(layers.conv(x), *KERAS))))
    x = layers.dropout(max_pool(relu(layers.batch_norm(layers.conv(x), *KERAS))))
    return layers.dense(layers.dropout(relu(layers.dense(x))))


def arch2(layers, x):
    x = layers.batch_norm(x, *KERAS)
    x = layers.dropout(max_pool(relu(layers.conv(x, same=True))))
    x = layers.dropout(max_pool(relu(layers.conv(x))))
    x = layers.dropout(relu(layers.dense(x)))
    return layers.dense(layers.batch_norm(relu(layers.dense(x)), *KERAS))


def vgg_like(layers, x):
    for _ in range(2):
        x = layers.batch_norm(relu(layers.conv(x, same=True)), *KERAS)
        x = layers.batch_norm(relu(layers.conv(x, same=True)), *KERAS)
        x = layers.dropout(max_pool(x))
    x = layers.batch_norm(relu(layers.dense(x)), *KERAS)
    return layers.dense(layers.dropout(x))


def bn_cnn(layers, x):
    for _ in range(2):
        x = max_pool(relu(layers.batch_norm(layers.conv(x), *TORCH)))
    return layers.dense(relu(layers.dense(x)))


REFERENCES = {
    'linear': linear,
    'linear_v0': functools.partial(linear, depth=2),
    'tinyvgg': tinyvgg,
    'tinyvgg_3block': functools.partial(tinyvgg, blocks=3),
    'tinyvgg_explainer': functools.partial(tinyvgg, same=False),
    'keras_tinyvgg': keras_tinyvgg,
    'arch1': arch1,
    'arch2': arch2,
    'vgg_like': vgg_like,
    'bn_cnn': bn_cnn,
}


def run_reference(
    reference: Callable,
    variables: dict,
    images: jax.Array,
    *,
    train: bool,
    dropped: tuple[int, ...] = (),
):
    """Logits and new statistics, of NumPy in float64."""
    variables = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
    layers = Layers(variables, train, dropped)
    logits = reference(layers, np.float64(images))
    named = {f'{kind}_{i}' for kind, n in layers.counts.items() for i in range(n)}
    assert {x for x in named if not x.startswith('Dropout')} == {*variables['params']}
    return logits, layers.new_stats


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> jax.Array:
    """Sixteen real images as models see them: float32 [16, 28, 28, 1]."""
    pixels, _ = dataset.split('test[:16]')
    return jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)


def init(model: nn.Module, key: jax.Array) -> dict:
    return model.init(key, jnp.zeros((1, *IMAGE_SHAPE)), train=False)


@functools.cache
def drawn(model: nn.Module) -> dict:
    return jit_once(functools.partial(init, model))(jax.random.key(0))


def shapes_of(model: nn.Module) -> dict:
    """Shapes of what `init` draws."""
    return jax.eval_shape(functools.partial(init, model), jax.random.key(0))


def random_variables(model: nn.Module, seed: int) -> dict:
    """Variables of the right shapes, none of which has its initial value."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name in ('var', 'scale'):
            return rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if name == 'kernel' else 4
        return (rng.standard_normal(leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes_of(model))


def apply_model(model: nn.Module, variables, dropout_rate, images, *, train: bool):
    """The model's call, with rates handed over as the training step does."""
    if dropout_rate:
        model = model.clone(dropout_rate=dropout_rate)
    rngs = {'dropout': jax.random.key(0)}
    return model.apply(
        variables, images, train=train, mutable=['batch_stats'], rngs=rngs
    )


@functools.cache
def compiled(model: nn.Module, train: bool) -> Callable:
    return jit_once(functools.partial(apply_model, model, train=train))


def apply(
    model: nn.Module,
    variables: dict,
    images: jax.Array,
    *,
    train: bool,
    dropout_rate: tuple[float, ...] | None = None,
):
    """Logits, and the statistics as the call leaves them; nothing is dropped."""
    if dropout_rate is None:
        dropout_rate = (0.0,) * len(getattr(model, 'dropout_rate', ()))
    rates = tuple(jnp.float32(rate) for rate in dropout_rate)
    # On accelerators float32 products are rounded to fewer bits unless told not to.
    with jax.default_matmul_precision('highest'):
        return compiled(model, train)(variables, rates, images)


def logits_of(model: nn.Module, variables: dict, images: jax.Array) -> jax.Array:
    return apply(model, variables, images, train=False)[0]


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-4; for sums that come out near 0, of the largest's size."""
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * scale)


def run_both(name: str, images: jax.Array, *, train: bool, seed: int):
    """Logits and new statistics, of the model in float32 and of NumPy in float64."""
    model = create_model(name, num_classes=10)
    variables = random_variables(model, seed)
    logits, updates = apply(model, variables, images, train=train)
    expected = run_reference(REFERENCES[name], variables, images, train=train)
    return (logits, updates.get('batch_stats', {})), expected


@pytest.mark.parametrize('name', MODELS)
def test_every_registered_model_has_its_pinned_number_of_parameters(name):
    assert name in PARAMETERS, f'add the exact number of parameters of {name!r}'
    variables = shapes_of(create_model(name, num_classes=10))
    assert num_parameters(variables['params']) == PARAMETERS[name]


def test_the_explainers_model_has_its_published_number_of_parameters():
    model = create_model('tinyvgg_explainer', num_classes=10)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    )
    assert num_parameters(variables['params']) == 19920


def test_no_number_of_parameters_is_pinned_for_a_model_that_is_gone():
    assert PARAMETERS.keys() <= MODELS.keys()


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('name', MODELS)
def test_logits_in_evaluation_are_those_of_numpy(name, seed, images):
    (logits, _), (expected, _) = run_both(name, images, train=False, seed=seed)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected)


@pytest.mark.parametrize('name', MODELS)
def test_logits_in_training_are_those_of_numpy(name, images):
    (logits, _), (expected, _) = run_both(name, images, train=True, seed=2)
    assert_close(logits, expected)


@pytest.mark.parametrize('name', BATCH_NORM_MODELS)
def test_running_averages_after_a_training_batch_are_those_of_numpy(name, images):
    (_, new_stats), (_, expected) = run_both(name, images, train=True, seed=3)
    assert jax.tree.structure(new_stats) == jax.tree.structure(expected)
    jax.tree.map(assert_close, new_stats, expected)


def test_running_averages_stay_as_they_are_in_evaluation(images):
    model = create_model('bn_cnn', num_classes=10)
    variables = random_variables(model, 0)
    _, updates = apply(model, variables, images, train=False)
    jax.tree.map(
        np.testing.assert_array_equal,
        updates['batch_stats'],
        variables['batch_stats'],
    )


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_each_dropout_is_in_its_place_and_its_rate_an_array_input(name, images):
    model = create_model(name, num_classes=10)
    assert model.dropout_rate == DROPOUT_RATES[name]
    variables = random_variables(model, 7)
    traces = []

    @jit_once
    def call(variables, dropout_rate):
        traces.append(dropout_rate)
        return apply_model(model, variables, dropout_rate, images, train=True)[0]

    images = images[:4]
    for position in range(3):
        dropout_rate = tuple(jnp.float32(i == position) for i in range(3))
        expected, _ = run_reference(
            REFERENCES[name], variables, images, train=True, dropped=(position,)
        )
        with jax.default_matmul_precision('highest'):
            assert_close(call(variables, dropout_rate), expected)
    assert len(traces) == 1


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_nothing_is_dropped_in_evaluation(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 0)
    kept, _ = apply(model, variables, images, train=False)
    logits, _ = apply(model, variables, images, train=False, dropout_rate=(0.5,) * 3)
    np.testing.assert_array_equal(logits, kept)


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_a_rate_for_each_dropout_is_needed(name):
    model = create_model(name, num_classes=10, dropout_rate=(0.5, 0.5))
    with pytest.raises(UserError, match=r'dropout_rate must have 3 numbers.*not 2'):
        shapes_of(model)


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


ACTIVATIONS = {
    'relu': relu,
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'gelu': lambda x: x / 2 * (1 + erf(x / np.sqrt(2))),
    'sigmoid': lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_tinyvgg_with_batch_norm_and_any_activation_is_that_of_numpy(
    activation, images
):
    fields = {'num_blocks': 1, 'features': 4, 'batch_norm': True}
    model = create_model('tinyvgg', num_classes=10, activation=activation, **fields)
    variables = random_variables(model, 8)
    reference = functools.partial(
        tinyvgg, blocks=1, batch_norm=True, activation=ACTIVATIONS[activation]
    )
    images = images[:4]
    logits, updates = apply(model, variables, images, train=True)
    expected, new_stats = run_reference(reference, variables, images, train=True)
    assert_close(logits, expected)
    jax.tree.map(assert_close, updates['batch_stats'], new_stats)


@pytest.mark.parametrize('field', ['activation', 'padding', 'initializers'])
def test_a_value_that_tinyvgg_does_not_know_is_a_user_error(field):
    default = getattr(create_model('tinyvgg', num_classes=10), field)
    model = create_model('tinyvgg', num_classes=10, **{field: f'{default}x'})
    with pytest.raises(UserError, match=f'{field}.*; did you mean {default!r}'):
        shapes_of(model)


@pytest.mark.parametrize('name', MODELS)
def test_logits_of_an_image_do_not_depend_on_its_batch_mates(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 4)
    together = logits_of(model, variables, images)
    # The same image between others, in another place, and alone.
    others = jnp.concatenate([images[8:], images[:8]])
    moved = logits_of(model, variables, others)
    alone = logits_of(model, variables, images[:1])
    tolerance = {'rtol': 1e-4, 'atol': 1e-5 * np.abs(together).max()}
    np.testing.assert_allclose(moved[8:], together[:8], **tolerance)
    np.testing.assert_allclose(alone, together[:1], **tolerance)
    mates = images.at[1:].set(100 * images[1:, ::-1])
    np.testing.assert_allclose(
        logits_of(model, variables, mates)[:1], together[:1], **tolerance
    )


@pytest.mark.parametrize('name', MODELS)
def test_a_models_call_is_a_function_of_its_inputs(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 5)
    before = jax.tree.map(np.copy, variables)
    first, second = (logits_of(model, variables, images) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


@pytest.mark.parametrize('name', MODELS)
def test_images_of_other_sizes_and_other_numbers_of_classes_do(name):
    model = create_model(name, num_classes=47, axis_name='i')
    check_model(model, name, (32, 32, 3), 47)


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('tinyvgg', 3),
        ('tinyvgg_3block', 7),
        ('tinyvgg_explainer', 15),
        ('keras_tinyvgg', 17),
        ('arch1', 9),
        ('arch2', 9),
        ('vgg_like', 3),
        ('bn_cnn', 15),
    ],
)
def test_images_that_are_too_small_are_a_user_error(name, size):
    model = create_model(name, num_classes=10)
    message = f"'{name}'.*images of {size}x{size + 9} pixels are too small for it"
    with pytest.raises(UserError, match=message):
        check_model(model, name, (size, size + 9, 1), 10)
    check_model(model, name, (size + 1, size + 1, 1), 10)


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


@pytest.mark.parametrize(
    ('name', 'model_class'),
    [
        ('linear', Linear),
        ('linear_v0', Linear),
        ('tinyvgg', TinyVGG),
        ('tinyvgg_3block', TinyVGG),
        ('tinyvgg_explainer', TinyVGG),
        ('keras_tinyvgg', KerasTinyVGG),
        ('arch1', Arch1),
        ('arch2', Arch2),
        ('vgg_like', VGGLike),
        ('bn_cnn', BatchNormCNN),
    ],
)
def test_a_registered_name_gives_its_class(name, model_class):
    model = create_model(name, num_classes=7)
    assert type(model) is model_class
    assert model.num_classes == 7


def test_fields_are_handed_to_the_model():
    model = create_model('tinyvgg', num_classes=10, features=16, num_blocks=3)
    assert (model.features, model.num_blocks) == (16, 3)
    params = shapes_of(model)['params']
    assert params['Conv_5']['kernel'].shape == (3, 3, 16, 16)


def test_a_field_that_a_registered_name_sets_can_be_set_otherwise():
    model = create_model('tinyvgg_3block', num_classes=10, num_blocks=1, features=4)
    assert (model.num_blocks, model.features) == (1, 4)
    assert create_model('tinyvgg_3block', num_classes=10).num_blocks == 3
    # A list is what JSON, in which a run's config is kept, makes of a tuple.
    assert create_model('linear_v0', num_classes=10, hidden=[5, 4]).hidden == (5, 4)


@pytest.mark.parametrize('name', [*MODELS, 'tinyvgg with BatchNorm'])
def test_the_axis_name_reaches_every_layer_that_needs_it(name):
    fields = {'batch_norm': True} if 'with' in name else {}
    model = create_model(name.split()[0], num_classes=10, axis_name='i', **fields)
    found = []

    def intercept(function, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm | Dropout):
            found.append(context.module.axis_name)
        return function(*args, **kwargs)

    with nn.intercept_methods(intercept):
        shapes_of(model)
    counts = {
        'arch1': 5,
        'arch2': 5,
        'vgg_like': 8,
        'bn_cnn': 2,
        'tinyvgg with BatchNorm': 4,
    }
    assert found == ['i'] * counts.get(name, 0)


def test_a_field_that_a_model_does_not_have_is_a_user_error():
    with pytest.raises(UserError, match="'feature'; did you mean 'features'"):
        create_model('tinyvgg', num_classes=10, feature=8)
    with pytest.raises(UserError, match="'hiden'; did you mean 'hidden'"):
        create_model('linear_v0', num_classes=10, hiden=(8,))


@pytest.mark.parametrize(
    ('name', 'field', 'value'),
    [
        ('tinyvgg', 'features', 'ten'),
        ('tinyvgg', 'features', 2.5),
        ('tinyvgg_3block', 'num_blocks', '3'),
        ('tinyvgg', 'activation', None),
        ('linear', 'hidden', 10),
        ('linear', 'hidden', (10, '5')),
        ('linear', 'hidden', (0,)),
        ('bn_cnn', 'hidden', 0),
        ('arch1', 'dropout_rate', 0.5),
        ('arch1', 'dropout_rate', (0.1, 0.2)),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_user_error(name, field, value):
    with pytest.raises(UserError) as caught:
        model = create_model(name, num_classes=10, **{field: value})
        check_model(model, name, IMAGE_SHAPE, 10)
    assert '\n' not in str(caught.value)
    assert 'model' in str(caught.value)
