"""The gradient of a batch: in parts, uphill, and with teachers, against NumPy."""

import dataclasses

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.parallel import DeviceGroup
from tests.test_step import assert_states_agree, train

# BatchNorm of one device alone, without convolutions: quickly compiled.
NORMALISED = 'tests.nets:LonelyNet'


@pytest.fixture
def linear_config(small_config: ConfigDict) -> ConfigDict:
    """Softmax regression in float64 on 640 images."""
    small_config.model.name = 'linear'
    small_config.precision = 'float64'
    small_config.optimizer.learning_rate = 0.05
    return small_config


def start_of(config: ConfigDict, devices: list[jax.Device]):
    """The weights of softmax regression at the start, and each batch's examples."""
    experiment = build_experiment(config, DeviceGroup(devices))
    layer = jax.device_get(experiment.create_state().params)['Dense_0']
    order = np.asarray(experiment.epoch_order(0))
    images, labels = experiment.dataset.split(config.data.train_split)
    pixels = images.reshape(len(images), -1) / 255
    batches = [
        (pixels[order[:, i].reshape(-1)], np.eye(10)[labels[order[:, i].reshape(-1)]])
        for i in range(order.shape[1])
    ]
    return layer['kernel'], layer['bias'], batches


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def gradient_of(kernel, bias, x, targets):
    """Of the mean cross-entropy of softmax regression."""
    difference = (softmax(x @ kernel + bias) - targets) / len(x)
    return x.T @ difference, difference.sum(0)


def test_sharpness_aware_steps_take_the_gradient_uphill(linear_config, devices):
    config, radius = linear_config, 0.5
    config.optimizer.sam_radius = radius
    with jax.enable_x64(True):
        kernel, bias, batches = start_of(config, devices[:2])
        state, losses = train(config, devices[:2], 3)
    for (x, one_hot), loss in zip(batches, losses, strict=False):
        probabilities = softmax(x @ kernel + bias)
        # Loss is that of the weights, not that uphill.
        expected = -np.log((probabilities * one_hot).sum(1)).mean()
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        g, b = gradient_of(kernel, bias, x, one_hot)
        uphill = radius / np.sqrt((g**2).sum() + (b**2).sum())
        g, b = gradient_of(kernel + uphill * g, bias + uphill * b, x, one_hot)
        kernel, bias = kernel - 0.05 * g, bias - 0.05 * b
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], kernel, atol=1e-12)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], bias, atol=1e-12)


def make_demanding(config: ConfigDict) -> None:
    """BatchNorm, dropout, augmentation and all that a gradient can be made with."""
    config.model.name = 'tests.nets:DropoutNet'
    config.precision = 'float64'
    config.optimizer.learning_rate = 0.02
    config.optimizer.sam_radius = 0.05
    config.gradient_accumulation = 2
    config.ema_decay = 0.9
    config.augmentation = ({'name': 'pad_and_crop', 'padding': 2},)


def test_what_a_step_does_depends_on_no_number_of_devices(small_config, devices):
    make_demanding(small_config)
    with jax.enable_x64(True):
        alone, _ = train(small_config, devices[:1], 10)
        spread, _ = train(small_config, devices[:4], 10)
    assert_states_agree(spread, alone, 1e-9)


def test_parts_add_up_where_no_example_touches_another(small_config, devices):
    small_config.model.name = 'linear_v0'
    small_config.precision = 'float64'
    with jax.enable_x64(True):
        whole, _ = train(small_config, devices[:2], 10)
        small_config.gradient_accumulation = 4
        parts, _ = train(small_config, devices[:2], 10)
    assert_states_agree(parts, whole, 1e-10)


def test_each_part_is_normalised_by_itself(small_config, devices):
    """A step of two parts is two halves' mean gradient, in a run of half the batch."""
    config = small_config
    config.model.name = NORMALISED
    config.precision = 'float64'
    rate = config.optimizer.learning_rate
    with jax.enable_x64(True):
        config.gradient_accumulation = 2
        together, _ = train(config, devices[:1], 1)
        start = jax.device_get(
            build_experiment(config, DeviceGroup(devices[:1])).create_state()
        )
        # Steps that change no weight show each half's gradient by its norm alone; at a
        # tiny rate, by the weights.
        config.gradient_accumulation = 1
        config.batch_size //= 2
        config.optimizer.learning_rate = rate * 1e-7
        first, _ = train(config, devices[:1], 1)
        second, _ = train(config, devices[:1], 2)

    def moved(a, b):
        return jax.tree.map(lambda x, y: (x - y) / 1e-7, a.params, b.params)

    expected = jax.tree.map(
        lambda p, a, b: p + (a + b) / 2,
        start.params,
        moved(first, start),
        moved(second, first),
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(together.params):
        wanted = dict(jax.tree_util.tree_leaves_with_path(expected))[path]
        np.testing.assert_allclose(leaf, wanted, atol=1e-6, err_msg=str(path))
    # Running averages have gone through both halves.
    for leaf, wanted in zip(
        jax.tree.leaves(together.batch_stats),
        jax.tree.leaves(second.batch_stats),
        strict=True,
    ):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-6)


def test_parts_in_a_loop_equal_parts_in_a_row(small_config, devices):
    """A device whose program holds loops, and one whose program holds copies."""
    make_demanding(small_config)
    small_config.model.name = NORMALISED
    small_config.gradient_accumulation = 4
    states = []
    with jax.enable_x64(True):
        for in_loop in (True, False):
            experiment = build_experiment(small_config, DeviceGroup(devices[:1]))
            functions = dataclasses.replace(experiment.functions, in_loop=in_loop)
            call = dataclasses.replace(experiment, functions=functions).train_call(1)
            examples = experiment.place(*experiment.dataset.split('train[:640]'))
            state, _ = call(
                experiment.create_state(),
                experiment.hyperparameters,
                experiment.inputs(examples),
                experiment.group.replicate(np.int32(0)),
                experiment.epoch_order(0),
            )
            states.append(jax.device_get(state))
    assert_states_agree(*states, 1e-10)


def test_the_average_of_the_weights_is_that_of_numpy(small_config, devices):
    config = small_config
    config.model.name = NORMALISED
    config.precision = 'float64'
    config.ema_decay = 0.3
    with jax.enable_x64(True):
        experiment = build_experiment(config, DeviceGroup(devices[:1]))
        examples = experiment.place(*experiment.dataset.split('train[:640]'))
        inputs = (
            experiment.hyperparameters,
            experiment.inputs(examples),
            experiment.group.replicate(np.int32(0)),
            experiment.epoch_order(0),
        )
        call = experiment.train_call(1)
        state = experiment.create_state()
        start, runs = jax.device_get(state), []
        for _ in range(5):
            state, _ = call(state, *inputs)
            runs.append(jax.device_get(state))
    average = {'params': start.params, 'batch_stats': start.batch_stats}
    for n, state in enumerate(runs):
        decay = min(0.3, (1 + n) / (10 + n))
        new = {'params': state.params, 'batch_stats': state.batch_stats}
        average = jax.tree.map(
            lambda a, x, decay=decay: decay * a + (1 - decay) * x, average, new
        )
        for a, b in zip(
            jax.tree.leaves(state.average), jax.tree.leaves(average), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert runs[0].scored is runs[0].average


def test_an_average_changes_nothing_of_the_training(small_config, devices):
    small_config.model.name = 'linear_v0'
    without, _ = train(small_config, devices[:2], 5)
    assert without.average == {}
    assert set(without.scored) == {'params', 'batch_stats'}
    small_config.ema_decay = 0.99
    averaged, _ = train(small_config, devices[:2], 5)
    assert_states_agree(averaged.replace(average={}), without, 0)
