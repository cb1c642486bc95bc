"""The kernels' convolution and max-pool against XLA's, which computes in float64."""

import functools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export, lax

from fmnist_jax.data import Dataset
from fmnist_jax.kernels import conv_general_dilated, library, max_pool
from tests.conftest import ROOT

NUMBERS = ('NHWC', 'HWIO', 'NHWC')
# Height and width, channels in and out, kernel size, padding: of all the models.
SHAPES = [
    (28, 1, 10, 3, 'SAME'),
    (28, 10, 10, 3, 'SAME'),
    (14, 10, 10, 3, 'SAME'),
    (7, 10, 10, 3, 'SAME'),
    (28, 1, 10, 3, 'VALID'),
    (26, 10, 10, 3, 'VALID'),
    (28, 1, 32, 3, 'VALID'),
    (13, 32, 32, 3, 'VALID'),
    (5, 32, 32, 3, 'VALID'),
    (28, 1, 32, 3, 'SAME'),
    (14, 32, 64, 3, 'SAME'),
    (14, 64, 64, 3, 'SAME'),
    (28, 1, 16, 3, 'SAME'),
    (28, 16, 32, 3, 'VALID'),
    (28, 1, 64, 4, 'SAME'),
    (14, 64, 64, 4, 'VALID'),
    (28, 1, 12, 5, 'VALID'),
    (12, 12, 24, 5, 'VALID'),
]


# Rounding of float32, relative to the largest number of a result.
TOLERANCE = 3e-6


def value_and_gradients(function, *arrays):
    """A function's value and its pullback of numbers that depend on nothing else."""

    @jax.jit
    def both(*arrays):
        value, pullback = jax.vjp(function, *arrays)
        numbers = np.cos(np.arange(value.size)).reshape(value.shape)
        return value, *pullback(jnp.asarray(numbers, value.dtype))

    return both(*arrays)


def assert_same(function, expected, *arrays):
    actual = value_and_gradients(function, *(jnp.asarray(x, 'float32') for x in arrays))
    with jax.enable_x64(True):
        exact = value_and_gradients(expected, *(jnp.asarray(x) for x in arrays))
    for one, other in zip(actual, exact, strict=True):
        assert one.shape == other.shape
        assert one.dtype == np.float32
        scale = np.abs(other).max(initial=1e-30)
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * scale)


def arrays_of(*shapes, seed=0):
    """Numbers that float32 has exactly."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.standard_normal(shape).astype(np.float32).astype(np.float64)
        for shape in shapes
    )


def conv_pair(**kwargs):
    """This convolution and XLA's, with the same arguments."""
    return (
        functools.partial(function, dimension_numbers=NUMBERS, **kwargs)
        for function in (conv_general_dilated, lax.conv_general_dilated)
    )


@pytest.fixture(autouse=True, scope='module')
def _kernels():
    assert library.why_not() is None


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_values_and_gradients_of_every_layer_are_those_of_xla(shape):
    """Of more images than a vector has lanes, and not a multiple."""
    side, inputs, outputs, size, padding = shape
    arrays = arrays_of((19, side, side, inputs), (size, size, inputs, outputs))
    ours, xla = conv_pair(window_strides=(1, 1), padding=padding)
    assert_same(ours, xla, *arrays)


@pytest.mark.parametrize('seed', range(24))
def test_values_and_gradients_of_any_convolution_are_those_of_xla(seed):
    """Odd sizes, one-sided padding, and what is left to XLA."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(6, 13, 2)
    kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
    inputs, outputs = (int(c) for c in rng.integers(1, 34, 2))
    kwargs = {
        'window_strides': (1, 1),
        'padding': [tuple(int(p) for p in rng.integers(0, k + 2, 2)) for k in kernel],
    }
    if seed % 4 == 1:
        kwargs['window_strides'] = tuple(int(s) for s in rng.integers(1, 3, 2))
        kwargs['rhs_dilation'] = tuple(int(d) for d in rng.integers(1, 3, 2))
    elif seed % 4 == 2:
        kwargs['feature_group_count'] = groups = int(rng.integers(1, 4))
        kwargs['lhs_dilation'] = tuple(int(d) for d in rng.integers(1, 3, 2))
        inputs, outputs = groups * inputs, groups * outputs
    groups = kwargs.get('feature_group_count', 1)
    arrays = arrays_of(
        (int(rng.integers(8, 40)), int(height), int(width), inputs),
        (*kernel, inputs // groups, outputs),
        seed=seed,
    )
    ours, xla = conv_pair(**kwargs)
    assert_same(ours, xla, *arrays)


@pytest.mark.parametrize(
    ('image_shape', 'kernel_shape', 'padding'),
    [
        # Pixels left out on all sides.
        ((9, 12, 11, 3), (3, 3, 3, 5), ((-1, -2), (-2, 0))),
        # Results of one column, and of one row; many rows at once.
        ((17, 30, 3, 2), (3, 3, 2, 4), 'VALID'),
        ((9, 3, 40, 1), (3, 3, 1, 15), 'VALID'),
        ((4, 40, 40, 2), (5, 5, 2, 3), 'SAME'),
        ((8, 4, 4, 3), (1, 1, 3, 29), ((2, 3), (4, 5))),
    ],
)
def test_unusual_shapes(image_shape, kernel_shape, padding):
    ours, xla = conv_pair(window_strides=(1, 1), padding=padding)
    assert_same(ours, xla, *arrays_of(image_shape, kernel_shape))


def test_second_derivatives():
    """Of a norm of the gradient, as in gradient penalties."""
    arrays = arrays_of((9, 6, 6, 2), (3, 3, 2, 4))

    def penalty(convolution, pool):
        def loss(images, kernel):
            return jnp.sum(pool(jnp.sin(convolution(images, kernel))) ** 2)

        def norm(*arrays):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(*arrays))

        return norm

    ours, xla = conv_pair(window_strides=(1, 1), padding='SAME')
    assert_same(penalty(ours, max_pool), penalty(xla, flax_pool), *arrays)


def test_flax_takes_it(dataset: Dataset):
    images = jnp.asarray(dataset.split('test[:40]')[0], jnp.float32) / 255
    ours = nn.Conv(10, (3, 3), conv_general_dilated=conv_general_dilated)
    variables = ours.init(jax.random.key(0), images)
    expected = nn.Conv(10, (3, 3)).apply(variables, images)
    np.testing.assert_allclose(ours.apply(variables, images), expected, atol=1e-5)


@pytest.mark.parametrize('mapped', ['kernels', 'images', 'both'])
def test_many_models_at_once(mapped):
    images, kernels = arrays_of((5, 9, 9, 9, 4), (5, 3, 3, 4, 6))
    if mapped == 'kernels':
        images = images[0]
    if mapped == 'images':
        kernels = kernels[0]
    axes = (None if mapped == 'kernels' else 0, None if mapped == 'images' else 0)
    ours, xla = (
        jax.vmap(function, axes)
        for function in conv_pair(window_strides=(1, 1), padding='SAME')
    )
    assert_same(ours, xla, images, kernels)


def test_models_mapped_twice():
    """Kernels by the inner map, images by the outer one."""
    images, kernels = arrays_of((3, 8, 6, 6, 2), (4, 3, 3, 2, 5))
    ours, xla = (
        jax.vmap(jax.vmap(function, (None, 0)), (0, None))
        for function in conv_pair(window_strides=(1, 1), padding='SAME')
    )
    assert_same(
        lambda *arrays: jax.vmap(max_pool)(ours(*arrays)[:, 0]),
        lambda *arrays: jax.vmap(flax_pool)(xla(*arrays)[:, 0]),
        images,
        kernels,
    )
    assert_same(ours, xla, images, kernels)


def flax_pool(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


@pytest.mark.parametrize(
    'shape', [(9, 28, 28, 10), (8, 7, 9, 3), (17, 2, 3, 1), (8, 5, 4, 32), (3, 6, 6, 5)]
)
def test_the_max_pool_is_that_of_flax(shape):
    """Many pixels are equal, as after a ReLU: the first has the gradient."""
    images = np.maximum(arrays_of(shape)[0].round(), 0)
    assert_same(max_pool, flax_pool, images)


def test_many_pools_at_once():
    images = arrays_of((3, 8, 4, 4, 2))[0]
    assert_same(jax.vmap(max_pool), jax.vmap(flax_pool), images)


def test_a_pool_of_what_is_no_number_is_none():
    images = jnp.zeros((8, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan)
    pooled = jax.jit(max_pool)(images)
    np.testing.assert_array_equal(
        np.isnan(pooled)[0, ..., 0], [[False, True], [False, False]]
    )
    assert not np.isnan(pooled[1:]).any()


def text_for_a_cpu(images: int, dtype: str) -> str:
    ours, _ = conv_pair(window_strides=(1, 1), padding='SAME')
    return (
        jax.jit(lambda images, kernel: max_pool(ours(images, kernel)))
        .lower(
            jax.ShapeDtypeStruct((images, 28, 28, 1), dtype),
            jax.ShapeDtypeStruct((3, 3, 1, 4), dtype),
        )
        .as_text()
    )


@pytest.mark.parametrize(
    ('images', 'dtype', 'is_ours'),
    [(4, 'float32', True), (3, 'float32', False), (8, 'bfloat16', False)],
)
def test_a_cpu_runs_the_kernels_on_enough_images_of_float32(images, dtype, is_ours):
    text = text_for_a_cpu(images, dtype)
    assert ('@fmnist_jax_convolution' in text) == is_ours
    assert ('@fmnist_jax_max_pool' in text) == is_ours
    assert ('stablehlo.convolution' in text) != is_ours
    assert ('stablehlo.reduce_window' in text) != is_ours


def loss(convolution, pool, kernel, images):
    return jnp.sum(pool(convolution(images, kernel)) ** 2)


def test_accelerators_have_xlas_own():
    """Their programs hold as many operations of XLA's as without the kernels."""
    shapes = (
        jax.ShapeDtypeStruct((3, 3, 1, 4), jnp.float32),
        jax.ShapeDtypeStruct((8, 28, 28, 1), jnp.float32),
    )
    operations = ('convolution', 'reduce_window', 'select_and_scatter')
    for platform_name in ('tpu', 'cuda'):
        texts = []
        for convolution, pool in zip(
            conv_pair(window_strides=(1, 1), padding='SAME'),
            (max_pool, flax_pool),
            strict=True,
        ):
            gradient = jax.grad(functools.partial(loss, convolution, pool))
            exported = export.export(jax.jit(gradient), platforms=[platform_name])
            texts.append(exported(*shapes).mlir_module())
        for operation in operations:
            counts = [text.count(f'stablehlo.{operation}"') for text in texts]
            counts += [text.count(f'stablehlo.{operation}(') for text in texts]
            assert counts[0] == counts[1] and counts[2] == counts[3], operation
            assert any(counts)
        assert 'custom_call' not in texts[0]


def test_one_program_for_all_platforms_and_any_batch():
    ours, xla = conv_pair(window_strides=(1, 1), padding='SAME')
    (n,) = export.symbolic_shape('n')
    kernel = jnp.ones((3, 3, 1, 4))
    exported = export.export(
        jax.jit(lambda kernel, images: max_pool(ours(images, kernel))),
        platforms=['cpu', 'cuda', 'tpu'],
    )(kernel, jax.ShapeDtypeStruct((n, 28, 28, 1), jnp.float32))
    assert '@fmnist_jax' not in exported.mlir_module()
    for batch in (1, 9):
        images = jnp.asarray(arrays_of((batch, 28, 28, 1))[0], jnp.float32)
        expected = flax_pool(xla(images, kernel))
        np.testing.assert_allclose(exported.call(kernel, images), expected, atol=1e-5)


CHECK = """
import jax, numpy as np
from jax import lax
from fmnist_jax.kernels import conv_general_dilated, library, max_pool
print(library.why_not())
rng = np.random.default_rng(0)
images = rng.standard_normal((21, 11, 9, 5)).astype(np.float32)
kernel = rng.standard_normal((3, 3, 5, 17)).astype(np.float32)
def gradients(convolution):
    def loss(*arrays):
        result = convolution(*arrays, (1, 1), 'SAME',
                             dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        return (max_pool(result) ** 2).sum()
    return jax.jit(jax.value_and_grad(loss, (0, 1)))(images, kernel)
ours, xla = (jax.tree.leaves(gradients(f))
             for f in (conv_general_dilated, lax.conv_general_dilated))
for one, other in zip(ours, xla):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
"""


def check_in_a_process(cache: Path, **environment: str) -> str:
    """Compares with XLA; what it says of the kernels."""
    done = subprocess.run(
        [sys.executable, '-c', CHECK],
        cwd=ROOT,
        env={**os.environ, 'XDG_CACHE_HOME': os.fspath(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def compiled(cache: Path) -> list[Path]:
    return sorted((cache / 'fmnist_jax').glob('*.so'))


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != 'x86_64', reason='flags of x86-64')
@pytest.mark.parametrize('flags', ['-mno-avx512f', '-mno-avx'])
def test_processors_with_shorter_vectors(flags, tmp_path):
    compiler = f'{shutil.which("gcc") or "cc"} {flags}'
    assert check_in_a_process(tmp_path, CC=compiler) == 'None'


def test_they_are_compiled_once_and_again_if_damaged(tmp_path):
    assert check_in_a_process(tmp_path) == 'None'
    (library_file,) = compiled(tmp_path)
    size = library_file.stat().st_size
    library_file.write_bytes(library_file.read_bytes()[: size // 2])
    assert check_in_a_process(tmp_path) == 'None'
    assert compiled(tmp_path) == [library_file]
    assert library_file.stat().st_size == size
    changed = library_file.stat().st_mtime_ns
    assert check_in_a_process(tmp_path) == 'None'
    assert library_file.stat().st_mtime_ns == changed


@pytest.mark.parametrize(
    ('environment', 'told'),
    [
        ({'CC': 'false'}, 'there is no C compiler that works'),
        ({'CC': '/no/such/compiler'}, 'No such file'),
        ({'FMNIST_JAX_KERNELS': '0'}, 'FMNIST_JAX_KERNELS=0'),
    ],
)
def test_without_them_xla_does_it(environment, told, tmp_path):
    assert told in check_in_a_process(tmp_path, **environment)
    assert not compiled(tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path):
    file = tmp_path / 'file'
    file.write_text('not a folder')
    assert check_in_a_process(file) == 'None'
