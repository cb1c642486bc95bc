"""Models as one file: against evaluation and NumPy, and with JAX alone."""

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from fmnist_jax.data import Dataset
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.exporting.export import export
from fmnist_jax.training.exporting.exported import load
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import ROOT, make_small_config, run_script
from tests.exporting import make_run

# What must not be needed to load a file.
UNNEEDED = ('absl', 'etils', 'flax', 'fmnist_jax', 'optax', 'orbax', 'tensorflow')


@pytest.fixture(scope='module')
def evaluated(finished_run) -> np.ndarray:
    """What `evaluate` says of the 500 test images of the finished run."""
    return read_evaluation(finished_run)


@pytest.fixture(scope='module')
def test_images(dataset: Dataset) -> np.ndarray:
    return dataset.split('test[:500]')[0]


def read_evaluation(workdir: Path) -> np.ndarray:
    evaluate(workdir, 'test')
    with np.load(workdir / 'eval' / 'test' / 'predictions.npz') as file:
        return file['probabilities']


def assert_same(probabilities: np.ndarray, expected: np.ndarray) -> None:
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(1), expected.argmax(1))


def test_probabilities_are_those_of_evaluation(exported, evaluated, test_images):
    model = load(exported[0])
    assert_same(model.probabilities(test_images), evaluated)
    for count in (0, 1, 3, model.batch_size, model.batch_size + 1):
        probabilities = model.probabilities(test_images[:count])
        assert probabilities.shape == (count, 10)
        if count:
            assert_same(probabilities, evaluated[:count])
    # Or nothing was learned, and all are much the same.
    assert np.ptp(evaluated, axis=0).min() > 0.01


@pytest.mark.parametrize(
    ('model', 'precision'),
    [
        ('tests.nets:DropoutNet', 'float32'),
        pytest.param('tinyvgg', 'bfloat16', marks=pytest.mark.slow),
    ],
)
def test_so_are_those_of_models_with_batch_norm_and_of_other_precisions(
    tmp_path, data_dir, test_images, model, precision
):
    config = make_small_config(data_dir)
    config.num_cpu_devices = 8
    config.num_epochs = 1
    config.model.name = model
    config.precision = precision
    config.data.mean, config.data.std = 0.286, 0.353
    train_and_evaluate(config, tmp_path / 'run')
    export(tmp_path / 'run', tmp_path / 'file', 'last')
    probabilities = load(tmp_path / 'file').probabilities(test_images)
    assert_same(probabilities, read_evaluation(tmp_path / 'run'))
    assert np.ptp(probabilities, axis=0).min() > 0.01


def test_a_linear_model_in_float64_is_what_numpy_computes(tmp_path, test_images):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(784, 10)) / 10, rng.normal(size=10)
    make_run(tmp_path, kernel, bias, ('a', 'b', *'cdefghij'), precision='float64')
    done = run_script(
        'fmnist_jax.export',
        f'--workdir={tmp_path}',
        f'--output={tmp_path}/file',
        '--checkpoint=7',
    )
    assert done.returncode == 0, done.stderr
    logits = (test_images / 255 - 0.25).reshape(-1, 784) / 0.5 @ kernel + bias
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    # Here, 64 bits are off.
    assert jnp.zeros(1, float).dtype == jnp.float32
    probabilities = load(tmp_path / 'file').probabilities(test_images)
    assert probabilities.dtype == np.float32
    # As float32 rounds them, not as it computes them.
    np.testing.assert_allclose(probabilities, expected, rtol=1e-7)


def test_the_file_says_what_it_holds(tmp_path):
    names = ('T-shirt/top', 'Größe "2"', "靴\\n's", '<b>')
    kernel, bias = np.zeros((784, 4), np.float32), np.arange(4, dtype=np.float32)
    make_run(tmp_path, kernel, bias, names)
    export(tmp_path, tmp_path / 'file', 'last')
    model = load(tmp_path / 'file')
    assert model.class_names == names
    assert model.image_shape == (28, 28, 1)
    assert model.step == 7

    # As the documentation of the format has it.
    *before, checksum = (tmp_path / 'file').read_bytes().splitlines(keepends=True)
    assert checksum.decode() == hashlib.sha256(b''.join(before)).hexdigest() + '\n'
    about = json.loads(before[-1])
    assert about['class_names'] == list(names)
    assert about['model'] == {'name': 'linear'}
    assert about['precision'] == 'float32'
    assert about['jax'] == jax.__version__


def test_the_program_is_for_all_platforms_and_batches_and_has_no_kernels(exported):
    content = exported[0].read_bytes()
    program = jax_export.deserialize(bytearray(content))
    assert set(program.platforms) == {'cpu', 'cuda', 'tpu'}
    (images,), (probabilities,) = program.in_avals, program.out_avals
    assert images.shape[1:] == (28, 28, 1)
    assert probabilities.shape == (images.shape[0], 10)
    assert not isinstance(images.shape[0], int)
    text = str(program.mlir_module())
    assert text.count('stablehlo.convolution') >= 4
    # JAX's own check of the size of the batch.
    calls = set(re.findall(r'custom_call @"?([\w.]+)', text))
    assert calls <= {'shape_assertion'}
    assert 'ffi' not in text


def test_the_file_is_reproducible_and_tells_nothing_of_the_machine(
    exported, finished_run, tmp_path
):
    files = [tmp_path / 'once', tmp_path / 'again']
    for path in files:
        export(finished_run, path)
    assert files[0].read_bytes() == files[1].read_bytes()
    content = exported[0].read_bytes()
    for folder in (ROOT, Path(sys.prefix), Path.home(), finished_run):
        assert os.fsencode(folder) not in content
    assert jax.config.jax_hlo_source_file_canonicalization_regex is None


# The lines that `export` prints, in a process of their own.
ALONE = """
import importlib.util, sys
sys.path[:0] = {folders}
for name in {unneeded}:
    assert importlib.util.find_spec(name) is None, name
import numpy as np
images = np.load({images!r})
{printed}
assert isinstance(model.call(images[:1]), __import__('jax').Array)
np.savez({result!r}, probabilities, *(model.call(images[:n]) for n in (1, 2, 7)))
"""


def run_alone(
    command: list[str],
    folders: list[str],
    printed: str,
    images: np.ndarray,
    tmp_path: Path,
) -> list[np.ndarray]:
    """What the file says of images, and of the first 1, 2 and 7, in another Python."""
    np.save(tmp_path / 'images.npy', images)
    code = ALONE.format(
        folders=folders,
        unneeded=UNNEEDED,
        images=str(tmp_path / 'images.npy'),
        result=str(tmp_path / 'result.npz'),
        printed='\n'.join(re.findall(r'^  (.*)', printed, re.MULTILINE)),
    )
    done = subprocess.run(
        [*command, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / 'result.npz') as file:
        return [file[name] for name in file.files]


def needed_by_jax() -> set[str]:
    """The distributions that JAX requires, itself, and flatbuffers."""
    found, left = set(), {'jax', 'flatbuffers'}
    while left:
        name = left.pop()
        found.add(name)
        lines = importlib.metadata.requires(name) or ()
        names = {re.match(r'[\w-]+', x)[0] for x in lines if 'extra ==' not in x}
        left |= names - found
    return found


def test_jax_and_flatbuffers_are_enough(exported, evaluated, test_images, tmp_path):
    packages = tmp_path / 'packages'
    packages.mkdir()
    for name in needed_by_jax():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files} - {'..'}:
            if not (packages / top).exists():
                (packages / top).symlink_to(distribution.locate_file(top))
    # Nothing of this environment but the standard library, and the links.
    everything, *few = run_alone(
        [sys.executable, '-I', '-S'],
        [str(packages)],
        exported[1],
        test_images,
        tmp_path,
    )
    assert_same(everything, evaluated)
    for count, probabilities in zip((1, 2, 7), few, strict=True):
        assert_same(probabilities, evaluated[:count])


@pytest.mark.slow
def test_an_environment_with_jax_and_flatbuffers_installed_is_enough(
    exported, evaluated, test_images, tmp_path
):
    venv.create(tmp_path / 'env', with_pip=True)
    python = str(tmp_path / 'env' / 'bin' / 'python')
    install = [python, '-m', 'pip', 'install', '--quiet', '-c', 'constraints.txt']
    subprocess.run([*install, 'jax', 'flatbuffers'], cwd=ROOT, check=True)
    everything, *few = run_alone([python, '-I'], [], exported[1], test_images, tmp_path)
    assert_same(everything, evaluated)
    for count, probabilities in zip((1, 2, 7), few, strict=True):
        assert_same(probabilities, evaluated[:count])
