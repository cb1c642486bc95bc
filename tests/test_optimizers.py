"""Optimizers and schedules against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from fmnist_jax.errors import UserError
from fmnist_jax.training.optimizers import (
    OPEN_ENDED,
    OPTIMIZERS,
    SCHEDULES,
    Hyperparameters,
    learning_rate,
    make_optimizer,
)

UPDATES = 5
SHAPES = {'Conv_0': {'kernel': (3, 3, 1, 4), 'bias': (4,)}, 'scale': ()}


def hyperparameters(total_steps: int = 100, seed: int = 0, **numbers: float):
    config = default.get_config().optimizer
    config.update(numbers)
    return Hyperparameters.create(config, seed, total_steps, np.float32)


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


def rates_of(schedule: str, h: Hyperparameters, steps: int) -> np.ndarray:
    rates = jax.vmap(lambda step: learning_rate(schedule, step, h))(
        jnp.arange(steps, dtype=jnp.int32)
    )
    assert rates.dtype == jnp.float32
    return np.asarray(rates)


def test_the_constant_schedule_stays_at_the_learning_rate():
    rates = rates_of('constant', hyperparameters(learning_rate=0.05), 100)
    np.testing.assert_array_equal(rates, np.float32(0.05))


@pytest.mark.parametrize('total_steps', [1, 7, 100, 17180])
def test_the_cosine_schedule_falls_along_half_a_cosine(total_steps):
    h = hyperparameters(total_steps, learning_rate=0.05)
    rates = rates_of('cosine', h, total_steps)
    steps = np.arange(total_steps)
    expected = 0.05 * 0.5 * (1 + np.cos(np.pi * steps / total_steps))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-8)
    schedule = optax.cosine_decay_schedule(0.05, total_steps)
    np.testing.assert_allclose(rates, schedule(steps), rtol=1e-5, atol=1e-8)
    assert rates[0] == np.float32(0.05)
    assert (np.diff(rates) <= 0).all()
    # In float32, neighbours can be equal where a run is long.
    if total_steps <= 100:
        assert (np.diff(rates) < 0).all()


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_schedules_without_an_end_do_not_depend_on_the_length_of_the_run(schedule):
    short, long = (rates_of(schedule, hyperparameters(n), 50) for n in (50, 90))
    assert (short == long).all() == (schedule in OPEN_ENDED)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_a_schedule_is_proportional_to_the_peak(schedule):
    low = rates_of(schedule, hyperparameters(learning_rate=0.01), 100)
    high = rates_of(schedule, hyperparameters(learning_rate=0.04), 100)
    np.testing.assert_allclose(high, 4 * low, rtol=1e-6)


def test_an_unknown_name_is_a_user_error():
    h = hyperparameters()
    with pytest.raises(UserError, match=r"optimizer\.name 'adamm'.*mean 'adam'"):
        make_optimizer('adamm', h.learning_rate, h)
    with pytest.raises(UserError, match=r"optimizer\.schedule 'cosin'.*mean 'cosine'"):
        learning_rate('cosin', jnp.int32(0), h)


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
    large = hyperparameters(200, 7, learning_rate=0.1, momentum=0.9, b1=0.5, eps=1e-3)
    by_small = update(random_tree(0), small, jnp.int32(0))
    by_large = update(random_tree(0), large, jnp.int32(3))
    assert len(traces) == 1
    before = random_tree(0)['Conv_0']['kernel']
    moved = [
        np.abs(p['Conv_0']['kernel'] - before).mean() for p in (by_small, by_large)
    ]
    assert 0 < 5 * moved[0] < moved[1]


def test_hyperparameters_are_the_configs():
    numbers = {
        'learning_rate': 0.03,
        'momentum': 0.7,
        'b1': 0.8,
        'b2': 0.95,
        'eps': 1e-5,
    }
    h = hyperparameters(1234, 2**32 - 1, **numbers)
    assert h.seed.dtype == np.uint32
    assert h.seed == 2**32 - 1
    assert h.total_steps == 1234
    for name, value in numbers.items():
        leaf = getattr(h, name)
        assert (leaf.shape, leaf.dtype) == ((), np.float32)
        assert leaf == np.float32(value)
