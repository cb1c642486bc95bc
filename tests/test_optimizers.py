"""Optimizers and schedules against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from fmnist_jax.errors import UserError
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.optimizers import OPTIMIZERS, make_optimizer
from fmnist_jax.training.schedules import SCHEDULES, learning_rate

UPDATES = 5
SHAPES = {'Conv_0': {'kernel': (3, 3, 1, 4), 'bias': (4,)}, 'scale': ()}


def hyperparameters(seed: int = 0, **numbers: float | None) -> Hyperparameters:
    config = default.get_config()
    config.seed = seed
    config.optimizer.update(numbers)
    return Hyperparameters.create(config, 10, np.float32)


def random_tree(seed: int):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: np.asarray(rng.standard_normal(shape), np.float32),
        SHAPES,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def run_updates(name: str, h: Hyperparameters, rates: list[float]):
    """Parameters after each update by random gradients."""
    params = random_tree(0)
    state = make_optimizer(name, h.learning_rate, h).init(params)

    @jax.jit
    def update(params, state, gradients, rate):
        changes, state = make_optimizer(name, rate, h).update(gradients, state, params)
        return optax.apply_updates(params, changes), state

    history = []
    for i, rate in enumerate(rates):
        params, state = update(params, state, random_tree(i + 1), jnp.float32(rate))
        history.append(params)
    return history


def numpy_sgd(rates: list[float], momentum: float):
    params = jax.tree.map(np.float64, random_tree(0))
    velocity = jax.tree.map(np.zeros_like, params)
    history = []
    for i, rate in enumerate(rates):
        velocity = jax.tree.map(
            lambda v, g: momentum * v + g, velocity, random_tree(i + 1)
        )
        params = jax.tree.map(lambda p, v, rate=rate: p - rate * v, params, velocity)
        history.append(params)
    return history


def numpy_adam(rates: list[float], b1: float, b2: float, eps: float):
    params = jax.tree.map(np.float64, random_tree(0))
    mean = jax.tree.map(np.zeros_like, params)
    square = jax.tree.map(np.zeros_like, params)
    history = []
    for i, rate in enumerate(rates):
        gradients = jax.tree.map(np.float64, random_tree(i + 1))
        mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, mean, gradients)
        square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, square, gradients)

        def step(p, m, v, rate=rate, t=i + 1):
            corrected = v / (1 - b2**t)
            return p - rate * (m / (1 - b1**t)) / (np.sqrt(corrected) + eps)

        params = jax.tree.map(step, params, mean, square)
        history.append(params)
    return history


def assert_same_history(actual, expected) -> None:
    assert len(actual) == len(expected) == UPDATES
    for one, other in zip(actual, expected, strict=True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            one,
            other,
        )


RATES = [[0.1] * UPDATES, [0.1, 0.05, 0.2, 0.0, 0.01]]


@pytest.mark.parametrize('rates', RATES)
@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_sgd_is_that_of_numpy(momentum, rates):
    h = hyperparameters(momentum=momentum)
    assert_same_history(run_updates('sgd', h, rates), numpy_sgd(rates, momentum))


@pytest.mark.parametrize('rates', RATES)
@pytest.mark.parametrize(
    ('b1', 'b2', 'eps'), [(0.9, 0.999, 1e-8), (0.5, 0.9, 1e-2), (0.0, 0.99, 1e-7)]
)
def test_adam_is_that_of_numpy(b1, b2, eps, rates):
    h = hyperparameters(b1=b1, b2=b2, eps=eps)
    assert_same_history(run_updates('adam', h, rates), numpy_adam(rates, b1, b2, eps))


def test_nesterov_looks_ahead_along_the_velocity():
    h = hyperparameters(momentum=0.9)
    params = jax.tree.map(np.float64, random_tree(0))
    velocity = jax.tree.map(np.zeros_like, params)
    expected = []
    for i, rate in enumerate(RATES[1]):
        gradients = random_tree(i + 1)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
        params = jax.tree.map(
            lambda p, v, g, rate=rate: p - rate * (g + 0.9 * v),
            params,
            velocity,
            gradients,
        )
        expected.append(params)
    assert_same_history(run_updates('nesterov', h, RATES[1]), expected)


@pytest.mark.parametrize('name', ['sgd', 'adam'])
def test_weight_decay_of_kernels_is_a_part_of_the_gradient(name):
    decay = 0.3
    actual = run_updates(name, hyperparameters(weight_decay=decay), RATES[0])
    params = random_tree(0)
    optimizer = {'sgd': optax.sgd(0.1, momentum=0.0), 'adam': optax.adam(0.1)}[name]
    state = optimizer.init(params)
    for i in range(UPDATES):
        gradients = random_tree(i + 1)
        gradients['Conv_0']['kernel'] += decay * params['Conv_0']['kernel']
        changes, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(np.asarray, optax.apply_updates(params, changes))
    assert_same_history(actual[-1:] * UPDATES, [params] * UPDATES)


def test_adamw_takes_the_decay_off_the_kernels_times_the_rate():
    decay = 0.3
    h = hyperparameters(weight_decay=decay)
    with_decay = run_updates('adamw', h, [0.1])[0]
    without = run_updates('adam', hyperparameters(), [0.1])[0]
    kernel = random_tree(0)['Conv_0']['kernel']
    np.testing.assert_allclose(
        with_decay['Conv_0']['kernel'],
        without['Conv_0']['kernel'] - 0.1 * decay * kernel,
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_array_equal(
        with_decay['Conv_0']['bias'], without['Conv_0']['bias']
    )


def norm_of(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(tree))))


@pytest.mark.parametrize('share', [0.5, 2.0, None])
def test_a_gradient_is_clipped_by_the_norm_of_all_its_arrays(share):
    gradients = random_tree(1)
    norm = norm_of(gradients)
    clip_norm = None if share is None else share * norm
    after = run_updates('sgd', hyperparameters(clip_norm=clip_norm), [1.0])[0]
    moved = jax.tree.map(lambda a, b: a - b, random_tree(0), after)
    factor = min(1, share or 1)
    jax.tree.map(
        lambda m, g: np.testing.assert_allclose(m, factor * g, rtol=1e-4, atol=1e-5),
        moved,
        gradients,
    )


def test_an_unknown_name_is_a_user_error():
    h = hyperparameters()
    with pytest.raises(UserError, match=r"optimizer\.name 'adamm'.*mean 'adam'"):
        make_optimizer('adamm', h.learning_rate, h)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_state_of_an_optimizer_has_one_structure_whatever_the_numbers(name):
    def described(h: Hyperparameters):
        state = make_optimizer(name, h.learning_rate, h).init(random_tree(0))
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), state)
        return jax.tree.structure(state), shapes

    zeros = hyperparameters(learning_rate=0.0, momentum=0.0, b1=0.0, b2=0.0, eps=0.0)
    others = hyperparameters(learning_rate=1.0, momentum=0.9, b1=0.5, b2=0.5, eps=1.0)
    assert described(zeros) == described(others)


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_one_compiled_update_serves_all_numbers(name, schedule):
    traces = []

    @jax.jit
    def update(params, h, step):
        traces.append(step)
        rate = learning_rate(schedule, step, h)
        optimizer = make_optimizer(name, rate, h)
        changes, _ = optimizer.update(random_tree(1), optimizer.init(params), params)
        return optax.apply_updates(params, changes)

    small = hyperparameters(learning_rate=0.01)
    large = hyperparameters(7, learning_rate=0.1, momentum=0.9, b1=0.5, eps=1e-3)
    by_small = update(random_tree(0), small, jnp.int32(0))
    by_large = update(random_tree(0), large, jnp.int32(3))
    assert len(traces) == 1
    before = random_tree(0)['Conv_0']['kernel']
    moved = [
        np.abs(p['Conv_0']['kernel'] - before).mean() for p in (by_small, by_large)
    ]
    assert 0 < 5 * moved[0] < moved[1]


def test_hyperparameters_are_the_configs():
    config = default.get_config()
    numbers = {
        'learning_rate': 0.03,
        'momentum': 0.7,
        'b1': 0.8,
        'b2': 0.95,
        'eps': 1e-5,
        'weight_decay': 0.02,
        'clip_norm': 3.0,
        'decay_rate': 0.5,
    }
    config.optimizer.update(numbers)
    config.seed, config.num_epochs, config.batch_size = 2**32 - 1, 3, 50
    config.label_smoothing = 0.25
    config.optimizer.warmup, config.optimizer.decay_every = '0.5 epochs', '1e4 examples'
    h = Hyperparameters.create(config, 400, np.float32, dropout_rate=(0.1, 0.2))
    assert h.seed.dtype == np.uint32
    assert h.seed == 2**32 - 1
    expected = numbers | {
        'label_smoothing': 0.25,
        'warmup_steps': 200,
        'decay_steps': 200,
        'total_steps': 1200,
    }
    for name, value in expected.items():
        leaf = getattr(h, name)
        assert (leaf.shape, leaf.dtype) == ((), np.float32)
        assert leaf == np.float32(value), name
    assert h.dropout_rate == (np.float32(0.1), np.float32(0.2))


def test_no_clipping_is_an_infinite_norm():
    assert hyperparameters().clip_norm == np.inf


def test_weight_decay_on_all_decays_biases_too():
    h = hyperparameters(weight_decay=0.1)
    params = random_tree(0)
    zeros = jax.tree.map(np.zeros_like, params)
    for decayed, rest in (('kernels', 1.0), ('all', 0.99)):
        for name in ('adamw', 'sgd'):
            optimizer = make_optimizer(name, jnp.float32(0.1), h, decayed)
            updates, _ = optimizer.update(zeros, optimizer.init(params), params)
            new = optax.apply_updates(params, updates)
            np.testing.assert_allclose(
                new['Conv_0']['kernel'], 0.99 * params['Conv_0']['kernel'], rtol=1e-6
            )
            np.testing.assert_allclose(
                new['Conv_0']['bias'], rest * params['Conv_0']['bias'], rtol=1e-6
            )


def test_muon_makes_kernels_updates_orthogonal_and_leaves_the_rest_to_adam():
    h = hyperparameters(momentum=0.95, b1=0.9, b2=0.999, eps=0.5, weight_decay=0.0)
    params = {
        'Conv_0': {'kernel': np.zeros((3, 3, 8, 16), np.float32), 'bias': np.ones(16)},
        'Dense_0': {'kernel': np.zeros((40, 10), np.float32)},
    }
    params = jax.tree.map(np.float32, params)
    rng = np.random.default_rng(0)
    gradients = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), params)
    optimizer = make_optimizer('muon', jnp.float32(0.1), h)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    for name in ('Conv_0', 'Dense_0'):
        gradient = gradients[name]['kernel']
        matrix = gradient.reshape(-1, gradient.shape[-1])
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        found = np.reshape(updates[name]['kernel'], matrix.shape)
        # 0.2 * sqrt(larger side), so that its root mean square is about adam's.
        scaled = -found / (0.1 * 0.2 * max(matrix.shape) ** 0.5)
        # Five iterations bring the singular values near 1, not to it.
        values = np.linalg.svd(scaled, compute_uv=False)
        assert 0.6 < values.min() <= values.max() < 1.3
        # It is the gradient's own left and right vectors that are kept.
        overlap = left.T @ scaled @ right.T
        np.testing.assert_allclose(overlap, np.diag(np.diag(overlap)), atol=0.02)
    # The first step of adam is g / (|g| + eps) times the rate; with Nesterov's momentum
    # (Dozat, 2016), which optax gives it here, 1 + 0.9 * 0.1 / (1 - 0.9**2) times that.
    bias = gradients['Conv_0']['bias']
    first = -0.1 * (1 + 0.09 / 0.19) * bias / (np.abs(bias) + 0.5)
    np.testing.assert_allclose(updates['Conv_0']['bias'], first, rtol=1e-3)


def test_the_linear_schedule_ends_at_zero():
    h = hyperparameters(
        learning_rate=2.0, schedule='linear', warmup='10 steps', decay_rate=1.0
    )
    total = float(h.total_steps)
    rates = [float(learning_rate('linear', jnp.int32(s), h)) for s in range(int(total))]
    expected = [2.0 * (s + 1) / 11 for s in range(10)]
    expected += [2.0 * (1 - (s - 10) / (total - 10)) for s in range(10, int(total))]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-6)
