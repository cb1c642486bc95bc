"""Learning-rate schedules against NumPy and Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from fmnist_jax.errors import UserError
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.schedules import OPEN_ENDED, SCHEDULES, learning_rate


def rates_of(schedule: str, total_steps: int, **fields) -> np.ndarray:
    """The rates of all the steps of a run of one epoch."""
    config = default.get_config()
    config.num_epochs = 1
    config.optimizer.update(fields)
    h = Hyperparameters.create(config, total_steps, np.float32)
    rates = jax.vmap(lambda step: learning_rate(schedule, step, h))(
        jnp.arange(total_steps, dtype=jnp.int32)
    )
    assert rates.dtype == jnp.float32
    return np.asarray(rates)


def test_the_constant_schedule_stays_at_the_learning_rate():
    rates = rates_of('constant', 100, learning_rate=0.05)
    np.testing.assert_array_equal(rates, np.float32(0.05))


@pytest.mark.parametrize('total_steps', [1, 7, 100, 17180])
def test_the_cosine_schedule_falls_along_half_a_cosine(total_steps):
    rates = rates_of('cosine', total_steps, learning_rate=0.05)
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


@pytest.mark.parametrize('total_steps', [10, 100, 17180])
def test_one_cycle_is_that_of_optax(total_steps):
    rates = rates_of('one_cycle', total_steps, learning_rate=0.05)
    schedule = optax.cosine_onecycle_schedule(total_steps, 0.05)
    expected = jax.vmap(schedule)(jnp.arange(total_steps))
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-7)
    assert rates[0] == pytest.approx(0.05 / 25)
    assert rates.max() == pytest.approx(0.05)
    assert rates.argmax() == 3 * total_steps // 10


def test_the_exponential_schedule_is_multiplied_once_a_duration():
    rates = rates_of(
        'exponential', 100, learning_rate=0.05, decay_rate=0.5, decay_every='20 steps'
    )
    expected = 0.05 * 0.5 ** (np.arange(100) / 20)
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    np.testing.assert_allclose(rates[20::20] / rates[:-20:20], 0.5, rtol=1e-5)


def test_the_exponential_schedule_may_rise():
    rates = rates_of(
        'exponential', 100, learning_rate=1e-4, decay_rate=10, decay_every='50 steps'
    )
    assert rates[50] == pytest.approx(1e-3)


@pytest.mark.parametrize('schedule', ['constant', 'cosine', 'exponential'])
def test_warm_up_rises_in_equal_steps_to_where_the_schedule_begins(schedule):
    fields = {'learning_rate': 0.11, 'decay_every': '20 steps'}
    rates = rates_of(schedule, 100, warmup='10 steps', **fields)
    np.testing.assert_allclose(rates[:11], np.arange(1, 12) / 100, rtol=1e-5)
    alone = rates_of(schedule, 90, **fields)
    np.testing.assert_allclose(rates[10:], alone, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ('warmup', 'steps'), [('20 steps', 20), ('0.2 epochs', 20), ('640 examples', 20)]
)
def test_a_duration_may_be_in_steps_epochs_or_examples(warmup, steps):
    rates = rates_of('constant', 100, warmup=warmup)
    assert (np.diff(rates[: steps + 1]) > 0).all()
    assert (rates[steps:] == rates[-1]).all()


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_schedules_without_an_end_do_not_depend_on_the_length_of_the_run(schedule):
    fields = {'warmup': '5 steps', 'decay_every': '30 steps'}
    short, long = (rates_of(schedule, n, **fields)[:50] for n in (50, 90))
    assert (short == long).all() == (schedule in OPEN_ENDED)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_a_schedule_is_proportional_to_the_peak(schedule):
    low, high = (rates_of(schedule, 100, learning_rate=x) for x in (0.01, 0.04))
    np.testing.assert_allclose(high, 4 * low, rtol=1e-6)


def test_an_unknown_name_is_a_user_error():
    h = Hyperparameters.create(default.get_config(), 100, np.float32)
    with pytest.raises(UserError, match=r"optimizer\.schedule 'cosin'.*mean 'cosine'"):
        learning_rate('cosin', jnp.int32(0), h)
