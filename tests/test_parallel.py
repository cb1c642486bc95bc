"""Devices: which are used, what each gets, and what comes back."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from fmnist_jax.training.parallel import (
    DeviceGroup,
    available_cores,
    jit_once,
    largest_divisor,
    sum_over_devices,
)
from tests.conftest import ROOT


@pytest.mark.parametrize('number', [1, 2, 7, 12, 32, 60, 64, 97, 100, 1000])
@pytest.mark.parametrize('limit', [1, 2, 3, 5, 8, 13, 64, 2000])
def test_largest_divisor(number, limit):
    divisors = [d for d in range(1, number + 1) if number % d == 0 and d <= limit]
    assert largest_divisor(number, limit) == max(divisors)


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_available_cores_are_at_most_those_of_the_machine():
    assert 1 <= available_cores() <= os.cpu_count()


def test_cpu_devices_follow_from_the_cores_that_the_process_may_use():
    # One device without a number: one core is left to a batch of 64.
    printed = run_python(
        'import os\n'
        'os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n'
        'from fmnist_jax.training import parallel\n'
        'print(parallel.available_cores())\n'
        'parallel.configure_cpu_devices(None, batch_size=64)\n'
        'import jax\n'
        'print(jax.device_count())\n',
        JAX_PLATFORMS='cpu',
    )
    assert printed.split() == ['1', '1']


def test_a_number_of_cpu_devices_is_kept_with_threads_enough():
    printed = run_python(
        'import os\n'
        'from fmnist_jax.training import parallel\n'
        'parallel.configure_cpu_devices(6, batch_size=64)\n'
        'import jax\n'
        'print(jax.device_count(), len(parallel.DeviceGroup.for_batch(64)))\n'
        "print(os.environ['NPROC'])\n",
        JAX_PLATFORMS='cpu',
        NPROC='1',
    )
    devices, used, threads = map(int, printed.split())
    assert (devices, used) == (6, 4)
    assert threads >= devices


@pytest.mark.parametrize(
    ('batch_size', 'used'),
    [(64, 8), (8, 8), (100, 5), (12, 6), (7, 7), (13, 1), (1, 1), (3, 3), (1000, 8)],
)
def test_a_batch_is_shared_by_as_many_devices_as_divide_it(batch_size, used, devices):
    assert len(devices) == 8
    group = DeviceGroup.for_batch(batch_size)
    assert group.devices == tuple(devices[:used])
    assert len(group) == used
    text = group.describe()
    assert text.startswith(f'{used} x ')
    if used == 8:
        assert 'idle' not in text
    else:
        assert f'{8 - used} idle: they do not divide the batch' in text


@pytest.mark.parametrize('number', [1, 2, 4, 8])
def test_each_device_gets_its_slice_of_each_batch(number, devices):
    group = DeviceGroup(devices[:number])
    order = np.random.default_rng(0).permutation(5 * 16).reshape(5, 16)
    parts = group.shard_batches(order)
    size = 16 // number
    assert parts.shape == (number, 5, size)
    assert len(parts.addressable_shards) == number
    placed = {
        shard.device: np.asarray(shard.data) for shard in parts.addressable_shards
    }
    for d, device in enumerate(devices[:number]):
        expected = order[:, d * size : (d + 1) * size]
        np.testing.assert_array_equal(placed[device], expected[None])
    together = np.concatenate(list(np.asarray(parts)), axis=1)
    np.testing.assert_array_equal(together, order)


def test_a_jax_array_is_shared_as_a_numpy_array_is(devices):
    group = DeviceGroup(devices[:4])
    order = np.arange(24, dtype=np.int32).reshape(3, 8)
    np.testing.assert_array_equal(
        group.shard_batches(jnp.asarray(order)), group.shard_batches(order)
    )


def test_replicated_arrays_are_whole_on_every_device(devices):
    group = DeviceGroup(devices[:4])
    tree = {'a': np.arange(6.0, dtype=np.float32).reshape(2, 3), 'b': np.int32(7)}
    placed = group.replicate(tree)
    for key, value in tree.items():
        assert {shard.device for shard in placed[key].addressable_shards} == set(
            devices[:4]
        )
        for shard in placed[key].addressable_shards:
            np.testing.assert_array_equal(shard.data, value)


def test_abstract_values_have_shape_dtype_and_placement(devices):
    group = DeviceGroup(devices)
    tree = {'a': np.zeros((8, 3), np.float32), 'b': np.zeros(8, np.int32)}
    abstract = group.abstract(tree)
    for key, value in tree.items():
        assert (abstract[key].shape, abstract[key].dtype) == (value.shape, value.dtype)
        assert abstract[key].sharding.spec == PartitionSpec()


@pytest.mark.parametrize('number', [1, 3, 8])
def test_the_sum_over_devices_is_that_of_numpy(number, devices):
    group = DeviceGroup(devices[:number])
    rng = np.random.default_rng(1)
    shapes = {'scalar': (), 'vector': (5,), 'nested': {'kernel': (3, 3, 2, 4)}}
    tree = jax.tree.map(
        lambda shape: rng.standard_normal((number, *shape)).astype(np.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )
    mapped = group.map(sum_over_devices, num_replicated=0)
    sums = mapped(tree)
    assert jax.tree.structure(sums) == jax.tree.structure(tree)
    jax.tree.map(
        lambda total, values: np.testing.assert_allclose(
            total, values.sum(0), rtol=1e-5, atol=1e-5
        ),
        sums,
        tree,
    )


def test_a_mapped_function_gets_replicated_arguments_whole(devices):
    group = DeviceGroup(devices[:4])

    def function(weights, offset, part):
        return (part * weights).sum(keepdims=True) + offset

    mapped = group.map(function, num_replicated=2, out_axes=0)
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    parts = group.shard_batches(np.arange(24, dtype=np.float32).reshape(3, 8))
    results = mapped(group.replicate(weights), group.replicate(np.float32(10)), parts)
    expected = (np.asarray(parts) * weights).sum((1, 2)) + 10
    np.testing.assert_allclose(np.asarray(results).ravel(), expected)


def test_jit_once_computes_what_jit_computes(dataset):
    images = jnp.asarray(dataset.split('test[:32]')[0], jnp.float32) / 255

    def function(x, power):
        return {'mean': (jnp.tanh(x) ** power).mean(0), 'rows': x.sum(2)}

    once = jit_once(function, static_argnums=1)(images, 3)
    jitted = jax.jit(function, static_argnums=1)(images, 3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        once,
        jitted,
    )
