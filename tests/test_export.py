"""Models as one file: against evaluation and NumPy, with JAX alone, and damaged."""

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax import export as jax_export

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.exporting import sealed
from fmnist_jax.training.exporting.export import export
from fmnist_jax.training.exporting.exported import ExportedModel, load
from fmnist_jax.training.record import Record
from fmnist_jax.training.state import EpochSums, TrainState
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import ROOT, make_small_config, run_script
from tests.test_bad_input import assert_fails

# What must not be needed to load a file.
UNNEEDED = ('absl', 'etils', 'flax', 'fmnist_jax', 'optax', 'orbax', 'tensorflow')


@pytest.fixture(scope='module')
def exported(finished_run, tmp_path_factory) -> tuple[Path, str]:
    """The file of the finished run, in a folder that was not there; what was printed.

    The run is tinyvgg's.
    """
    path = tmp_path_factory.mktemp('exported') / 'new folder' / "it's tiny.stablehlo"
    done = run_script(
        'fmnist_jax.export', f'--workdir={finished_run}', f'--output={path}'
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(path.parent) == [path.name]
    return path, done.stdout


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


def make_run(
    folder: Path,
    kernel: np.ndarray,
    bias: np.ndarray,
    class_names: tuple[str, ...],
    precision: str = 'float32',
) -> None:
    """The work folder of a linear model, with a checkpoint of step 7."""
    config = default.get_config()
    config.model.name = 'linear'
    config.precision = precision
    # As many as the tests have already.
    config.num_cpu_devices = 8
    config.data.mean, config.data.std = 0.25, 0.5
    workdir_lib.write_json(
        epath.Path(folder / workdir_lib.CONFIG), config_lib.to_dict(config)
    )
    data = {'class_names': class_names, 'image_shape': (28, 28, 1)}
    workdir_lib.write_json(epath.Path(folder / workdir_lib.PROVENANCE), {'data': data})
    with jax.enable_x64(precision == 'float64'):
        # Named as the model names them.
        model = create_model('linear', num_classes=len(bias))
        init = functools.partial(model.init, train=False)
        images = jnp.zeros((1, 28, 28, 1))
        shapes = jax.eval_shape(init, jax.random.key(0), images)
        by_rank = {2: kernel, 1: bias}
        params = jax.tree.map(lambda s: jnp.asarray(by_rank[s.ndim]), shapes['params'])
        state = TrainState(
            step=jnp.int32(7),
            params=params,
            batch_stats={},
            opt_state=(),
            sums=EpochSums.zeros(kernel.dtype),
            bad_step=jnp.int32(0),
        )
        Checkpoints(epath.Path(folder)).save(state, Record(), keep_last=2)


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


def flip(position: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[int(position * (len(content) - 1))] ^= 1
        return bytes(damaged)

    return change


def reseal(change: Callable[[bytes, dict], tuple[bytes, dict]]):
    """What has a right checksum, and is not right for all that."""

    def changed(content: bytes) -> bytes:
        program, about, _, _ = content.rsplit(b'\n', 3)
        return sealed.seal(*change(program, json.loads(about)))

    return changed


def sine(program: bytes, about: dict) -> tuple[bytes, dict]:
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    return jax_export.export(jax.jit(jnp.sin))(shape).serialize(), about


def from_the_future(program: bytes, about: dict) -> tuple[bytes, dict]:
    """As later versions write it: of a later format, with other operations."""
    changed, count = re.subn(rb'(StableHLO_v)\d', rb'\g<1>9', program)
    assert count == 1
    changed, count = re.subn(rb'(convolution_v)\d', rb'\g<1>9', changed)
    assert count == 1
    return changed, {**about, 'jax': '9.0'}


def seal_text(content: bytes) -> bytes:
    return content + hashlib.sha256(content).hexdigest().encode() + b'\n'


OTHER_KIND = 'is not a file of fmnist_jax.export'
# What becomes of a file, and what the message must hold.
DAMAGED = {
    'empty': (lambda _: b'', OTHER_KIND),
    'text': (lambda _: b'Fashion\nMNIST\nis\nfun\n', OTHER_KIND),
    'zeros': (lambda content: bytes(len(content)), OTHER_KIND),
    'cut in half': (lambda content: content[: len(content) // 2], OTHER_KIND),
    'cut by a byte': (lambda content: content[:-1], OTHER_KIND),
    'without its front': (lambda content: content[100:], 'is damaged'),
    'with something after': (lambda content: content + b'\n', OTHER_KIND),
    'without its two lines': (
        lambda content: content.rsplit(b'\n', 3)[0],
        OTHER_KIND,
    ),
    'first bit flipped': (flip(0), 'is damaged'),
    'bit of a weight flipped': (flip(0.4), 'is damaged'),
    'bit of the JSON flipped': (lambda c: c.replace(b'"Bag"', b'"Bog"'), 'is damaged'),
    'digit of the checksum changed': (
        lambda content: content[:-2] + (b'1\n' if content[-2:-1] == b'0' else b'0\n'),
        'is damaged',
    ),
    'line break flipped': (flip(1), OTHER_KIND),
    'of other JSON': (
        lambda content: seal_text(content.rsplit(b'\n', 3)[0] + b'\n[3]\n'),
        'not a JSON object',
    ),
    'of no JSON': (lambda _: seal_text(b'a\nb\n'), 'not a JSON object'),
    'of another program': (reseal(sine), 'not hold a classifier of images'),
    'of a program alone': (
        reseal(lambda program, _: (program, {})),
        'not hold a classifier of images',
    ),
    'of too many classes': (
        reseal(lambda p, about: (p, {**about, 'class_names': ['a'] * 11})),
        'not hold a classifier of images',
    ),
    'of no program': (
        reseal(lambda _, about: (b'nothing', about)),
        f'cannot be read by JAX {jax.__version__}',
    ),
    'newer than this JAX': (
        reseal(from_the_future),
        f'was exported by JAX 9.0 and cannot be read by JAX {jax.__version__}',
    ),
}


def assert_load_fails(path: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert '\n' not in message
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize('case', DAMAGED)
def test_a_file_that_is_damaged_or_of_another_kind_is_refused(
    exported, tmp_path, capfd, case
):
    change, problem = DAMAGED[case]
    content = exported[0].read_bytes()
    changed = change(content)
    assert changed != content
    path = tmp_path / 'file'
    path.write_bytes(changed)
    assert_load_fails(path, problem)
    # MLIR's parser prints what it thinks of a program.
    assert capfd.readouterr() == ('', '')


def test_a_file_sealed_again_is_accepted(exported, tmp_path, test_images):
    """So what is refused above is not refused for having been sealed again."""
    path = tmp_path / 'file'
    same = reseal(lambda program, about: (program, about))
    path.write_bytes(same(exported[0].read_bytes()))
    assert isinstance(load(path), ExportedModel)


def test_what_is_no_file_is_refused(tmp_path):
    assert_load_fails(tmp_path / 'absent', 'is missing')
    assert_load_fails(tmp_path, 'is a folder')
    os.mkfifo(tmp_path / 'pipe')
    assert_load_fails(tmp_path / 'pipe', 'is not an ordinary file')


# Arguments of fmnist_jax.export, and what the message must hold.
ARGUMENTS = {
    'no work folder': (['--output={folder}/file'], ['--workdir']),
    'no output': (['--workdir={run}'], ['--output']),
    'unexpected argument': (
        ['--workdir={run}', '--output={folder}/file', 'more'],
        ["unexpected argument 'more'"],
    ),
    'absent work folder': (
        ['--workdir={folder}/absent', '--output={folder}/file'],
        ['{folder}/absent/config.json is missing', 'a work folder?'],
    ),
}


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments_of_the_script(tmp_path, finished_run, case):
    arguments, parts = (
        [text.format(folder=tmp_path, run=finished_run) for text in texts]
        for texts in ARGUMENTS[case]
    )
    assert_fails(run_script('fmnist_jax.export', *arguments), *parts)
    assert not list(tmp_path.iterdir())


def assert_export_fails(
    workdir: Path, output: Path | str, *parts: str, checkpoint: str = 'best'
) -> None:
    with pytest.raises(UserError) as caught:
        export(workdir, output, checkpoint)
    message = str(caught.value)
    assert '\n' not in message
    for part in parts:
        assert part in message


def test_a_checkpoint_that_is_not_there_leaves_the_file_as_it_was(
    finished_run, tmp_path
):
    path = tmp_path / 'file'
    path.write_text('mine')
    for checkpoint, part in (
        ('7', 'no checkpoint 7 in'),
        ('bset', "must be best, last or a step, not 'bset'"),
    ):
        assert_export_fails(finished_run, path, part, checkpoint=checkpoint)
    assert path.read_text() == 'mine'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    'damage',
    [
        'no checkpoint',
        'without its manifest',
        'with half a file',
        'without a file',
        'without provenance',
    ],
)
def test_a_work_folder_that_is_not_whole_is_refused(finished_run, tmp_path, damage):
    run = tmp_path / 'run'
    shutil.copytree(finished_run, run)
    problem = f'no whole checkpoint in {run}/checkpoints'
    for step in (run / 'checkpoints').iterdir():
        largest = max(step.rglob('*'), key=lambda p: p.stat().st_size)
        assert largest.is_file()
        if damage == 'no checkpoint':
            shutil.rmtree(step)
        elif damage == 'without its manifest':
            (step / 'manifest.sha256').unlink()
        elif damage == 'with half a file':
            largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        elif damage == 'without a file':
            largest.unlink()
    if damage == 'without provenance':
        (run / 'provenance.json').unlink()
        problem = f'{run}/provenance.json is missing'
    assert_export_fails(run, tmp_path / 'file', problem)
    assert not (tmp_path / 'file').exists()


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    # Else the work folder, which is not there, would be told.
    absent = tmp_path / 'absent'
    (tmp_path / 'mine').write_text('mine')
    in_file = tmp_path / 'mine' / 'deeper' / 'file'
    assert_export_fails(absent, tmp_path, str(tmp_path), 'is a folder', '--output')
    assert_export_fails(absent, '/dev/null', '/dev/null', 'a device', '--output')
    folder = str(in_file.parent)
    assert_export_fails(absent, in_file, folder, 'mine: Not a directory', '--output')
    assert_export_fails(absent, '/proc/file', 'cannot write to /proc: ', '--output')
    assert_export_fails(absent, tmp_path / 'file', 'absent/config.json is missing')
    assert [p.name for p in tmp_path.iterdir()] == ['mine']
    assert (tmp_path / 'mine').read_text() == 'mine'


OWN_MODEL = """
from flax import linen as nn

class Own(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        rows = [images[i].reshape(-1) for i in range(images.shape[0])]
        return nn.Dense(self.num_classes)(nn.relu(images.reshape(len(rows), -1)))
"""


def test_a_model_of_one_s_own_that_needs_a_fixed_batch_is_told(
    tmp_path, data_dir, monkeypatch
):
    (tmp_path / 'fixed_batch.py').write_text(OWN_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    make_run(
        tmp_path, np.zeros((784, 10), np.float32), np.zeros(10, np.float32), ('a',) * 10
    )
    config = json.loads((tmp_path / 'config.json').read_text())
    config['model']['name'] = 'fixed_batch:Own'
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert_export_fails(
        tmp_path,
        tmp_path / 'file',
        "model 'fixed_batch:Own' cannot be exported with an open batch size: ",
        f'{tmp_path}/fixed_batch.py, line 9',
        checkpoint='last',
    )
