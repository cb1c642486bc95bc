"""The models in NumPy, what is known of each, and calls of both to compare."""

import collections
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fmnist_jax.models import create_model
from fmnist_jax.training.parallel import jit_once

# Trainable parameters at 28x28x1 and 10 classes, from the projects' own code; the
# explainer's own images are 64x64x3. Those of the residual networks are 288 below the
# published ones for images of 3 channels (WRN-28-10: 36,479,194), whose first
# convolution has 3 x 3 x 2 x 16 weights more; test_residual_models.py adds them up.
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
    'resnet20': 272186,
    'wrn_16_4': 2748602,
    'wrn_28_10': 36478906,
    'wrn_40_4': 8948922,
    'speednet': 1962120,
    'compact': 7490,
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
