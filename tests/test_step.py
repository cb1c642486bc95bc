"""The training step: the same whatever the number of devices, and against NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from fmnist_jax.models.layers import Dropout, flatten
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.parallel import DeviceGroup
from fmnist_jax.training.state import TrainState
from fmnist_jax.training.step import make_train_call


def train(
    config: ConfigDict, devices: list[jax.Device], num_steps: int
) -> tuple[TrainState, list[float]]:
    """Trains on these devices; the state (as NumPy) and the loss of each step."""
    config.steps_per_call = config.steps_per_call or 1
    experiment = build_experiment(config, DeviceGroup(devices))
    state = experiment.create_state()
    examples = experiment.place(*experiment.dataset.split(config.data.train_split))
    inputs = experiment.inputs(examples)
    call = experiment.train_call(experiment.steps_per_call)
    total, losses = 0.0, []
    for step in range(0, num_steps, experiment.steps_per_call):
        epoch, within = divmod(step, experiment.steps_per_epoch)
        if within == 0:
            order = experiment.epoch_order(epoch)
            first = experiment.group.replicate(np.int32(step))
        state, progress = call(state, experiment.hyperparameters, inputs, first, order)
        losses.append((float(progress.sums.loss) - total) / config.batch_size)
        total = float(progress.sums.loss)
    return jax.device_get(state), losses


def assert_states_agree(state: TrainState, expected: TrainState, tolerance: float):
    """Compares every array of two states."""
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for (path, leaf), other in zip(
        jax.tree_util.tree_leaves_with_path(state),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(
            leaf, other, rtol=tolerance, atol=tolerance, err_msg=str(path)
        )


@pytest.fixture
def augmented_config(small_config: ConfigDict) -> ConfigDict:
    """The batch-normalised model, Adam, a schedule and augmentation at once."""
    config = small_config
    config.model.name = 'bn_cnn'
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.003
    config.optimizer.schedule = 'cosine'
    config.augmentation = (
        {'name': 'horizontal_flip'},
        {'name': 'pad_and_crop', 'padding': 2},
    )
    return config


@pytest.mark.parametrize('num_devices', [pytest.param(2, marks=pytest.mark.slow), 8])
def test_state_does_not_depend_on_the_number_of_devices(
    augmented_config, devices, num_devices
):
    config = augmented_config
    config.precision = 'float64'
    with jax.enable_x64(True):
        alone, _ = train(config, devices[:1], 20)
        spread, _ = train(config, devices[:num_devices], 20)
    assert alone.params['Conv_0']['kernel'].dtype == np.float64
    assert alone.step == spread.step == 20
    assert_states_agree(spread, alone, 1e-6)


def test_float32_losses_agree_at_first_on_any_number_of_devices(
    augmented_config, devices
):
    _, expected = train(augmented_config, devices[:1], 5)
    assert np.isfinite(expected).all()
    for num_devices in (2, 8):
        _, losses = train(augmented_config, devices[:num_devices], 5)
        np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_many_steps_a_call_equal_one_a_call(small_config, devices):
    small_config.precision = 'float64'
    with jax.enable_x64(True):
        one, _ = train(small_config, devices[:2], 10)
        small_config.steps_per_call = 5
        many, _ = train(small_config, devices[:2], 10)
    assert_states_agree(many, one, 1e-12)


def test_a_loop_on_the_device_equals_steps_in_a_row(small_config, devices):
    """Whether a program holds a loop or copies changes nothing."""
    small_config.precision = 'float64'
    with jax.enable_x64(True):
        experiment = build_experiment(small_config, DeviceGroup(devices[:2]))
        examples = experiment.place(*experiment.dataset.split('train[:640]'))
        first = experiment.group.replicate(np.int32(0))
        inputs = (
            experiment.hyperparameters,
            experiment.inputs(examples),
            first,
            experiment.epoch_order(0),
        )
        states = []
        for in_loop in (True, False):
            functions = dataclasses.replace(experiment.functions, in_loop=in_loop)
            call = make_train_call(functions, 4)
            mapped = experiment.group.map(call, num_replicated=4)
            states.append(jax.device_get(mapped(experiment.create_state(), *inputs)[0]))
    assert_states_agree(*states, 1e-12)


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_linear_model_follows_numpy(small_config, dataset, devices, smoothing):
    """Softmax regression by plain SGD, forward and backward, in NumPy."""
    config = small_config
    config.label_smoothing = smoothing
    config.model.name = 'linear'
    config.precision = 'float64'
    config.data.mean, config.data.std = 0.286, 0.353
    config.optimizer.learning_rate = 0.05
    with jax.enable_x64(True):
        experiment = build_experiment(config, DeviceGroup(devices[:2]))
        initial = jax.device_get(experiment.create_state().params)['Dense_0']
        order = np.asarray(experiment.epoch_order(0))
        state, losses = train(config, devices[:2], 10)
    kernel, bias = initial['kernel'], initial['bias']
    images, labels = dataset.split('train[:640]')
    pixels = ((images / 255 - 0.286) / 0.353).reshape(640, -1)
    for step, loss in enumerate(losses):
        batch = order[:, step].reshape(-1)
        x, one_hot = pixels[batch], np.eye(10)[labels[batch]]
        exponentials = np.exp(x @ kernel + bias)
        probabilities = exponentials / exponentials.sum(1, keepdims=True)
        expected = -np.log((probabilities * one_hot).sum(1)).mean()
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        smoothed = (1 - smoothing) * one_hot + smoothing / 10
        gradient = (probabilities - smoothed) / len(batch)
        kernel = kernel - 0.05 * x.T @ gradient
        bias = bias - 0.05 * gradient.sum(0)
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], kernel, atol=1e-12)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], bias, atol=1e-12)
    assert state.sums.count == 640


def test_bfloat16_keeps_parameters_in_float32_and_learns(small_config, devices):
    small_config.model.name = 'bn_cnn'
    small_config.precision = 'bfloat16'
    small_config.optimizer.learning_rate = 0.05
    state, losses = train(small_config, devices[:2], 10)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.batch_stats))}
    assert dtypes == {np.dtype('float32')}
    # bfloat16 has 8 bits of mantissa: near the float32 loss, and not equal to it.
    small_config.precision = 'float32'
    _, float32 = train(small_config, devices[:2], 1)
    assert 0 < abs(losses[0] - float32[0]) < 0.02
    assert losses[-1] < losses[0]


def test_first_bad_step_is_remembered(small_config, devices):
    small_config.optimizer.learning_rate = 1e30
    state, _ = train(small_config, devices[:2], 6)
    assert 1 <= state.bad_step <= 3
    small_config.optimizer.learning_rate = 0.01
    state, _ = train(small_config, devices[:2], 6)
    assert state.bad_step == 0


class DropoutModel(nn.Module):
    """A model of a user's own, with dropout."""

    num_classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.relu(nn.Dense(20)(flatten(images)))
        x = Dropout(0.5, self.axis_name)(x, train=train)
        return nn.Dense(self.num_classes)(x)


def test_dropout_does_not_depend_on_the_number_of_devices(small_config, devices):
    small_config.model.name = f'{__name__}:DropoutModel'
    small_config.precision = 'float64'
    with jax.enable_x64(True):
        alone, _ = train(small_config, devices[:1], 10)
        spread, _ = train(small_config, devices[:8], 10)
    assert_states_agree(spread, alone, 1e-9)


class RatedModel(nn.Module):
    """A model whose dropout rate is a field, and so an input of the step."""

    num_classes: int
    dropout_rate: float | jax.Array = 0.5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train):
        x = Dropout(self.dropout_rate, self.axis_name)(flatten(images), train=train)
        return nn.Dense(self.num_classes)(x)


def test_a_dropout_rate_is_an_input_of_the_step(small_config, dataset, devices):
    small_config.model.name = f'{__name__}:RatedModel'
    experiment = build_experiment(small_config, DeviceGroup(devices[:2]))
    call = experiment.train_call(1)
    losses = []
    for rate in (0.5, 0.0):
        h = experiment.hyperparameters
        h = h.replace(dropout_rate=experiment.group.replicate(np.float32(rate)))
        order = experiment.epoch_order(0)
        first = experiment.group.replicate(np.int32(0))
        examples = experiment.place(*dataset.split('train[:640]'))
        state = experiment.create_state()
        params = jax.device_get(state.params)['Dense_0']
        _, progress = call(state, h, experiment.inputs(examples), first, order)
        losses.append(float(progress.sums.loss) / 64)
    images, labels = dataset.split('train[:640]')
    batch = np.asarray(order[:, 0]).reshape(-1)
    logits = images[batch].reshape(64, -1) / 255 @ params['kernel'] + params['bias']
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    without = -log_probabilities[np.arange(64), labels[batch]].mean()
    assert losses[1] == pytest.approx(without, rel=1e-5)
    assert abs(losses[0] - without) > 1e-3


def test_the_state_is_one_where_devices_normalise_alone(small_config, devices):
    """Each device has its own statistics; the state holds their mean, on all."""
    small_config.model.name = 'tests.nets:LonelyNet'
    experiment = build_experiment(small_config, DeviceGroup(devices[:2]))
    order = experiment.epoch_order(0)
    images, labels = experiment.dataset.split('train[:640]')
    state, _ = experiment.train_call(1)(
        experiment.create_state(),
        experiment.hyperparameters,
        experiment.inputs(experiment.place(images, labels)),
        experiment.group.replicate(np.int32(0)),
        order,
    )
    mean = state.batch_stats['BatchNorm_0']['mean']
    copies = [np.asarray(shard.data) for shard in mean.addressable_shards]
    np.testing.assert_array_equal(*copies)
    batch = images[np.asarray(order[:, 0]).reshape(-1)].reshape(64, -1) / 255
    np.testing.assert_allclose(copies[0], 0.01 * batch.mean(0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype):
    x = jnp.ones((200, 500), dtype)
    rngs = {'dropout': jax.random.key(0)}
    for rate in (0.0, 0.001, 0.3, 0.999, jnp.float32(0.5)):
        y = Dropout(rate).apply({}, x, train=True, rngs=rngs)
        assert y.dtype == dtype
        kept = y != 0
        # Five standard deviations of a mean of 100,000 draws.
        assert abs(float(kept.mean()) - (1 - rate)) <= 5 * 0.5 / 100_000**0.5
        scale = np.float32(y[kept])
        tolerance = 1e-2 if dtype == jnp.bfloat16 else 1e-5
        expected = 1 / (1 - np.float32(rate))
        np.testing.assert_allclose(scale, expected, rtol=tolerance)
    assert not np.array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, train=False), x)
