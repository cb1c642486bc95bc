"""Nothing that is loaded can run code: no pickle, no other way from data to code."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from configs import default
from fmnist_jax.data import load_dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from tests import idx_files
from tests.conftest import ROOT

FILES = [
    path
    for folder in ('fmnist_jax', 'configs', 'benchmarks', 'results')
    for path in (ROOT / folder).rglob('*.py')
]
# Modules that make objects of any class, or run what they read.
MODULES = {
    *('pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'jsonpickle'),
    *('shelve', 'marshal', 'yaml', 'multiprocessing', 'code', 'runpy'),
}
# Functions likewise, by the end of their name, and what they are called.
FUNCTIONS = {'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen'}
METHODS = {'torch.load', 'pandas.read_pickle', 'serialize_executable'}


def problems(path: Path) -> list[str]:
    """What in a file could run what it reads, with lines."""
    return [
        f'{path.relative_to(ROOT)}:{node.lineno}: {problem}'
        for node in ast.walk(ast.parse(path.read_text()))
        for problem in problems_of(node)
    ]


def problems_of(node: ast.AST) -> list[str]:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f'{node.module}.{alias.name}' for alias in node.names]
    found = [name for name in names if {name, name.split('.')[0]} & MODULES]
    found += [name for name in names if name in METHODS | FUNCTIONS]
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        found += [name] if name in FUNCTIONS | METHODS else []
        for keyword in node.keywords:
            value = getattr(keyword.value, 'value', None)
            if keyword.arg in ('allow_pickle', 'shell') and value is not False:
                found.append(ast.unparse(keyword))
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_uses_pickle_or_runs_what_it_reads(path):
    assert not problems(path)


def test_numpy_refuses_objects_unless_it_is_told_otherwise():
    assert inspect.signature(np.load).parameters['allow_pickle'].default is False


@pytest.mark.parametrize(
    'line',
    [
        'import pickle',
        'import numpy, dill as d',
        'from joblib import load',
        'from multiprocessing import Pool',
        'from os import system',
        'np.load(path, allow_pickle=True)',
        'np.load(path, allow_pickle=trusted)',
        'eval(text)',
        'subprocess.run(command, shell=True)',
        'os.system(command)',
        'torch.load(path)',
    ],
)
def test_what_could_run_code_is_noticed(line):
    assert any(problems_of(node) for node in ast.walk(ast.parse(line)))


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def config(tmp_path: Path):
    """Data of 100 real examples a split, prepared below `tmp_path`."""
    config = default.get_config().data
    idx_dir = idx_files.write_first(tmp_path / 'idx', 100)
    data_dir = tmp_path / 'data'
    config.update(name='mine', data_dir=str(data_dir), idx_dir=str(idx_dir))
    load_dataset(config, lambda line: None)
    return config


def decoded_file(config) -> Path:
    (path,) = Path(config.data_dir, config.name).glob('decoded-*.npz')
    return path


def assert_prepared_anew(config) -> None:
    log = []
    dataset = load_dataset(config, log.append)
    assert any('preparing' in line for line in log)
    expected = idx_files.parse_real()['test_images'][:100]
    np.testing.assert_array_equal(dataset.arrays['test_images'][..., 0], expected)


def test_objects_in_the_decoded_arrays_are_not_made(config, tmp_path):
    path, touched = decoded_file(config), tmp_path / 'touched'
    with np.load(path) as file:
        arrays = dict(file)
    arrays['source'] = np.array([Evil(touched)], dtype=object)
    np.savez(path, **arrays)
    assert_prepared_anew(config)
    assert not touched.exists()
    # Where they are, or this would test nothing.
    np.savez(path, **arrays)
    np.load(path, allow_pickle=True)['source']
    assert touched.exists()


def test_decoded_arrays_that_would_expand_are_not_read(config):
    path = decoded_file(config)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **arrays)
    assert_prepared_anew(config)


def test_links_in_the_data_folder_are_removed_not_followed(config, tmp_path):
    precious = tmp_path / 'precious'
    precious.mkdir()
    (precious / 'file').write_text('mine')
    folder = decoded_file(config).parent
    (folder / 'incomplete.1').symlink_to(precious)
    (folder / 'incomplete.2').write_text('no folder')
    (folder / '.decoded.3.npz').symlink_to(precious / 'file')
    (folder / '.lock').unlink()
    (folder / '.lock').symlink_to(precious / 'file')
    (version,) = folder.glob('*/1.0.0')
    version.rename(precious / 'version')
    version.symlink_to(precious / 'version')
    decoded_file(config).unlink()
    assert_prepared_anew(config)
    assert (precious / 'file').read_text() == 'mine'
    assert list((precious / 'version').iterdir())
    left = {path.name for path in folder.iterdir()}
    assert not left & {'incomplete.1', 'incomplete.2', '.decoded.3.npz'}


# No file that is written may be larger than this: as if the disk were full.
PREPARE = """
import json, resource, signal, sys
from ml_collections import ConfigDict
from fmnist_jax.data import load_dataset
from fmnist_jax.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    load_dataset(ConfigDict(json.loads(sys.argv[1])))
except UserError as error:
    print('UserError:', error)
"""


@pytest.mark.parametrize('size', [0, 30_000])
def test_a_full_disk_while_preparing_is_told_and_harms_nothing(config, size):
    path = decoded_file(config)
    path.unlink()
    done = subprocess.run(
        [sys.executable, '-c', PREPARE, json.dumps(config.to_dict()), str(size)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1].startswith('UserError: cannot prepare the data')
    assert config.data_dir in done.stdout.splitlines()[-1]
    assert not list(path.parent.glob('decoded-*'))
    assert_prepared_anew(config)


# Nothing that is unpickled may name a class or a function: Python tells of it.
WATCHED = """
import sys

def watch(event, arguments):
    if event == 'pickle.find_class':
        raise RuntimeError(f'unpickles {arguments}')

sys.addaudithook(watch)
from configs import default
from fmnist_jax.data import load_dataset
from fmnist_jax.training.evaluation.prediction import predict
load_dataset(default.get_config().data)
predict([sys.argv[2]], sys.argv[1])
import pickle
try:
    pickle.loads(pickle.dumps(print))
except RuntimeError:
    print('watched')
"""


def test_data_checkpoints_and_images_are_read_without_pickle(
    finished_run, dataset, tmp_path
):
    path = tmp_path / 'boot.png'
    Image.fromarray(dataset.arrays['test_images'][0, ..., 0]).save(path)
    done = subprocess.run(
        [sys.executable, '-c', WATCHED, finished_run, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == 'watched'


def stranger_run(finished_run: Path, folder: Path, **model) -> Path:
    """A work folder whose config names another model."""
    for file in ('config.json', 'provenance.json'):
        (folder / file).write_bytes((finished_run / file).read_bytes())
    (folder / 'checkpoints').symlink_to(finished_run / 'checkpoints')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | {'model': model}))
    return folder


@pytest.mark.parametrize('name', ['os:system', 'subprocess:Popen', 'builtins:eval'])
def test_a_run_of_a_stranger_cannot_name_any_function(finished_run, tmp_path, name):
    folder = stranger_run(finished_run, tmp_path, name=name, args='ls', shell=True)
    with pytest.raises(UserError, match=r'is not a flax\.linen\.Module class but'):
        trained.load(epath.Path(folder))


def test_a_run_of_a_stranger_brings_no_code_along(finished_run, tmp_path):
    folder = stranger_run(finished_run, tmp_path, name='evil:Net')
    (folder / 'evil.py').write_text('open("touched", "w")\n')
    with pytest.raises(UserError, match="cannot be imported: No module named 'evil'"):
        trained.load(epath.Path(folder))
    assert not (ROOT / 'touched').exists()
