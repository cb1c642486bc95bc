"""Models against NumPy, their sizes, their initial weights, and how they are found."""

import functools
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.models import MODELS, create_model
from fmnist_jax.models.bn_cnn import BatchNormCNN
from fmnist_jax.models.linear import Linear
from fmnist_jax.models.tinyvgg import TinyVGG
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.state import num_parameters

# Trainable parameters at 28x28x1 and 10 classes, from the projects' own code.
PARAMETERS = {'linear': 7850, 'tinyvgg': 7740, 'bn_cnn': 55018}

# Models whose every kernel and bias is drawn as PyTorch draws them.
TORCH_MODELS = ('linear', 'tinyvgg', 'bn_cnn')

IMAGE_SHAPE = (28, 28, 1)
MOMENTUM, EPSILON = 0.9, 1e-5


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


def linear(params, batch_stats, x, train):
    return dense(x, params['Dense_0']), {}


def tinyvgg(params, batch_stats, x, train):
    for block in range(2):
        for i in range(2):
            x = relu(conv2d(x, params[f'Conv_{2 * block + i}'], same=True))
        x = max_pool(x)
    return dense(x, params['Dense_0']), {}


def bn_cnn(params, batch_stats, x, train):
    new_stats = {}
    for i in range(2):
        x = conv2d(x, params[f'Conv_{i}'])
        layer, stats = params[f'BatchNorm_{i}'], batch_stats[f'BatchNorm_{i}']
        mean, var = stats['mean'], stats['var']
        if train:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        new_stats[f'BatchNorm_{i}'] = {
            'mean': MOMENTUM * stats['mean'] + (1 - MOMENTUM) * mean,
            'var': MOMENTUM * stats['var'] + (1 - MOMENTUM) * var,
        }
        x = (x - mean) / np.sqrt(var + EPSILON) * layer['scale'] + layer['bias']
        x = max_pool(relu(x))
    x = relu(dense(x, params['Dense_0']))
    return dense(x, params['Dense_1']), new_stats


REFERENCES = {'linear': linear, 'tinyvgg': tinyvgg, 'bn_cnn': bn_cnn}


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> jax.Array:
    """Sixteen real images as models see them: float32 [16, 28, 28, 1]."""
    pixels, _ = dataset.split('test[:16]')
    return jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)


def init(model: nn.Module, key: jax.Array) -> dict:
    return model.init(key, jnp.zeros((1, *IMAGE_SHAPE)), train=False)


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


@functools.cache
def compiled(model: nn.Module, train: bool) -> Callable:
    return jit_once(
        functools.partial(model.apply, train=train, mutable=['batch_stats'])
    )


def apply(model: nn.Module, variables: dict, images: jax.Array, *, train: bool):
    """Logits, and the statistics as the call leaves them."""
    # On accelerators float32 products are rounded to fewer bits unless told not to.
    with jax.default_matmul_precision('highest'):
        return compiled(model, train)(variables, images)


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
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
    expected = REFERENCES[name](
        wide['params'], wide.get('batch_stats', {}), np.float64(images), train
    )
    return (logits, updates.get('batch_stats', {})), expected


@pytest.mark.parametrize('name', MODELS)
def test_every_registered_model_has_its_pinned_number_of_parameters(name):
    assert name in PARAMETERS, f'add the exact number of parameters of {name!r}'
    variables = shapes_of(create_model(name, num_classes=10))
    assert num_parameters(variables['params']) == PARAMETERS[name]


def test_no_number_of_parameters_is_pinned_for_a_model_that_is_gone():
    assert PARAMETERS.keys() <= MODELS.keys()


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('name', REFERENCES)
def test_logits_in_evaluation_are_those_of_numpy(name, seed, images):
    (logits, _), (expected, _) = run_both(name, images, train=False, seed=seed)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected)


@pytest.mark.parametrize('name', REFERENCES)
def test_logits_in_training_are_those_of_numpy(name, images):
    (logits, _), (expected, _) = run_both(name, images, train=True, seed=2)
    assert_close(logits, expected)


def test_running_averages_after_a_training_batch_are_those_of_numpy(images):
    (_, new_stats), (_, expected) = run_both('bn_cnn', images, train=True, seed=3)
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
def test_the_number_of_logits_is_the_number_of_classes(name, images):
    model = create_model(name, num_classes=3)
    logits = logits_of(model, random_variables(model, 6), images)
    assert logits.shape == (16, 3)


@pytest.mark.parametrize('name', TORCH_MODELS)
def test_initial_kernels_and_biases_are_drawn_as_pytorch_draws_them(name):
    model = create_model(name, num_classes=10)
    keys = jax.random.split(jax.random.key(1), 100)
    draw = jit_once(jax.vmap(functools.partial(init, model)))
    params = jax.tree.map(np.float64, draw(keys)['params'])
    layers = {k: v for k, v in params.items() if not k.startswith('BatchNorm')}
    assert len(layers) == {'linear': 1, 'tinyvgg': 5, 'bn_cnn': 4}[name]
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


def test_layers_of_the_same_shape_are_drawn_independently():
    params = drawn(create_model('tinyvgg', num_classes=10))['params']
    kernels = [params[f'Conv_{i}']['kernel'].ravel() for i in (1, 2, 3)]
    correlation = np.corrcoef(kernels) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(900)


def test_batch_norm_starts_as_the_identity():
    variables = drawn(create_model('bn_cnn', num_classes=10))
    for i, channels in enumerate((12, 24)):
        layer = variables['params'][f'BatchNorm_{i}']
        stats = variables['batch_stats'][f'BatchNorm_{i}']
        np.testing.assert_array_equal(layer['scale'], np.ones(channels))
        np.testing.assert_array_equal(layer['bias'], np.zeros(channels))
        np.testing.assert_array_equal(stats['mean'], np.zeros(channels))
        np.testing.assert_array_equal(stats['var'], np.ones(channels))


@pytest.mark.parametrize(
    ('name', 'model_class'),
    [('linear', Linear), ('tinyvgg', TinyVGG), ('bn_cnn', BatchNormCNN)],
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


def test_the_axis_name_goes_to_models_that_have_such_a_field():
    assert create_model('bn_cnn', num_classes=10, axis_name='i').axis_name == 'i'
    create_model('linear', num_classes=10, axis_name='i')


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's own, importable."""
    (tmp_path / 'my_models').mkdir()
    (tmp_path / 'my_models' / 'nets.py').write_text(
        'from flax import linen as nn\n'
        'class Net(nn.Module):\n'
        '    num_classes: int\n'
        '    width: int = 5\n'
        '    @nn.compact\n'
        '    def __call__(self, images, *, train):\n'
        '        x = images.reshape(len(images), -1)\n'
        '        x = nn.Dense(self.width, name="hidden")(x)\n'
        '        return nn.Dense(self.num_classes)(x)\n'
        'class NoModule:\n'
        '    num_classes: int\n'
        'class NoClasses(nn.Module):\n'
        '    def __call__(self, images, *, train):\n'
        '        return images\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield 'my_models.nets'
    for name in ('my_models', 'my_models.nets'):
        sys.modules.pop(name, None)


def test_a_model_of_ones_own_is_found_by_module_and_class(own_module, images):
    model = create_model(f'{own_module}:Net', num_classes=4, width=6)
    variables = random_variables(model, 0)
    assert variables['params']['hidden']['kernel'].shape == (784, 6)
    assert logits_of(model, variables, images).shape == (16, 4)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('tinyvg', "did you mean 'tinyvgg'.*Known: .*bn_cnn.*linear.*tinyvgg"),
        ('BN-CNN', "unknown model 'BN-CNN'"),
        ('', "unknown model ''"),
        ('no_such_package.nets:Net', 'no_such_package.nets:Net.*cannot be imported'),
        ('fmnist_jax.models.linear:Lin', 'cannot be imported.*Lin'),
        ('.nets:Net', 'cannot be imported'),
        (':Net', 'cannot be imported'),
        ('my_models.nets:', 'cannot be imported'),
        ('my_models.nets:NoModule', 'is not a flax.linen.Module class'),
        ('my_models.nets:nn', 'is not a flax.linen.Module class'),
        ('math:sqrt', 'is not a flax.linen.Module class'),
        ('my_models.nets:NoClasses', 'num_classes'),
    ],
)
def test_a_model_that_cannot_be_had_is_a_user_error(name, message, own_module):
    with pytest.raises(UserError, match=message):
        create_model(name, num_classes=10)


def test_a_field_that_a_model_does_not_have_is_a_user_error(own_module):
    with pytest.raises(UserError, match="'feature'; did you mean 'features'"):
        create_model('tinyvgg', num_classes=10, feature=8)
    with pytest.raises(UserError, match="'widht'; did you mean 'width'"):
        create_model(f'{own_module}:Net', num_classes=10, widht=8)
