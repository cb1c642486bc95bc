"""Preparing through TFDS: order, splits, speed, interruption, damage, imports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from configs import default
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.data.builder import VERSION, IdxDataset
from fmnist_jax.errors import UserError
from tests import idx_files
from tests.conftest import ROOT

# Prepares the data set of a config given as JSON, and prints its checksums.
LOAD = """
import hashlib, json, sys
from ml_collections import ConfigDict
from fmnist_jax.data import load_dataset
dataset = load_dataset(ConfigDict(json.loads(sys.argv[1])))
for key, array in sorted(dataset.arrays.items()):
    print('sha256', key, hashlib.sha256(array.tobytes()).hexdigest())
print('modules', *sys.modules)
"""


@pytest.fixture(scope='module')
def idx_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 real examples of each split."""
    return idx_files.write_first(tmp_path_factory.mktemp('idx') / 'tiny', 300)


@pytest.fixture(scope='module')
def prepared(idx_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    """A config of prepared data; a test that damages them makes its own."""
    config = tiny_config(idx_dir, tmp_path_factory.mktemp('data'))
    load_dataset(config)
    return config


@pytest.fixture(scope='module')
def tiny(prepared: ConfigDict) -> Dataset:
    return load_dataset(prepared)


@pytest.fixture(scope='module')
def tfds_builder(prepared: ConfigDict) -> tfds.core.DatasetBuilder:
    """What TFDS itself makes of the prepared files."""
    return tfds.builder_from_directory(version_folder(prepared))


def tiny_config(idx_dir: Path, data_dir: Path, name: str = 'tiny') -> ConfigDict:
    config = default.get_config().data
    config.update(name=name, data_dir=str(data_dir), idx_dir=str(idx_dir))
    return config


def version_folder(config: ConfigDict) -> Path:
    (folder,) = (Path(config.data_dir) / config.name).glob(f'*/{VERSION}')
    return folder


def decoded_file(config: ConfigDict) -> Path:
    (path,) = Path(config.data_dir, config.name).glob('decoded-*.npz')
    return path


def start_loading(config: ConfigDict, code: str = LOAD) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-c', code, json.dumps(config.to_dict())],
        cwd=ROOT,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(output: str, first_word: str) -> list[str]:
    return [line for line in output.splitlines() if line.split()[:1] == [first_word]]


def assert_equals_idx_files(dataset: Dataset, idx_dir: Path) -> None:
    for key, name in idx_files.FILE_NAMES.items():
        skip = 16 if key.endswith('images') else 8
        expected = np.frombuffer((idx_dir / name).read_bytes(), np.uint8, offset=skip)
        np.testing.assert_array_equal(dataset.arrays[key].ravel(), expected)


def assert_no_leftovers(config: ConfigDict) -> None:
    paths = Path(config.data_dir).rglob('*')
    leftovers = [p for p in paths if p.name.startswith(('incomplete', '.decoded'))]
    assert not leftovers


def test_real_data_equal_an_independent_parse(dataset):
    for key, expected in idx_files.parse_real().items():
        np.testing.assert_array_equal(dataset.arrays[key].squeeze(), expected)
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.num_classes == 10


def test_record_i_of_real_data_is_image_i(dataset, data_dir):
    folder = Path(data_dir).expanduser() / 'fashion_mnist' / VERSION
    builder = tfds.builder_from_directory(folder)
    real = idx_files.parse_real()
    positions = [0, 1, 2, 599, 9_999, 30_000, 54_999, 55_000, 59_998, 59_999]
    records = builder.as_data_source(split='train').__getitems__(positions)
    for i, record in zip(positions, records, strict=True):
        np.testing.assert_array_equal(record['image'][..., 0], real['train_images'][i])
        assert record['label'] == real['train_labels'][i]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_every_record_is_the_image_at_its_place_in_the_idx_file(
    tfds_builder, idx_dir, split
):
    source = tfds_builder.as_data_source(split=split)
    images = idx_dir / idx_files.FILE_NAMES[f'{split}_images']
    labels = idx_dir / idx_files.FILE_NAMES[f'{split}_labels']
    expected = np.frombuffer(images.read_bytes(), np.uint8, offset=16)
    assert len(source) == 300
    for i, image in enumerate(expected.reshape(300, 28, 28, 1)):
        np.testing.assert_array_equal(source[i]['image'], image)
    expected = np.frombuffer(labels.read_bytes(), np.uint8, offset=8)
    assert [source[i]['label'] for i in range(300)] == expected.tolist()


def test_class_names_are_in_what_tfds_prepared(dataset, data_dir):
    folder = Path(data_dir).expanduser() / 'fashion_mnist' / VERSION
    info = tfds.builder_from_directory(folder).info
    assert tuple(info.features['label'].names) == dataset.class_names
    assert info.splits['train'].num_examples == 60_000


def test_classes_of_own_data_are_numbered(tiny):
    assert tiny.class_names == tuple('0123456789')
    assert tiny.name == 'tiny'


SPLITS = [
    'train',
    'test',
    'train[:55]',
    'train[55:]',
    'train[-10:]',
    'train[:-10]',
    'train[10:20]',
    'test[299:300]',
    'train[:50%]',
    'train[33%:67%]',
    'train[-5%:]',
    'train[10%:20%]+test[5:]',
    'test[:3]+train[:4]+test[100:200]',
    'train+test',
    'train[0:0]+test[7:9]',
]


@pytest.mark.parametrize('spec', SPLITS)
def test_splits_are_those_of_tfds(tiny, tfds_builder, spec):
    source = tfds_builder.as_data_source(split=spec)
    records = list(source)
    images, labels = tiny.split(spec)
    np.testing.assert_array_equal(images, np.stack([r['image'] for r in records]))
    assert labels.tolist() == [r['label'] for r in records]


def test_default_splits_share_no_example_and_leave_none_out(dataset):
    train, _ = dataset.split('train[:55000]')
    validation, _ = dataset.split('train[55000:]')
    whole = dataset.arrays['train_images']
    assert (len(train), len(validation)) == (55_000, 5_000)
    np.testing.assert_array_equal(np.concatenate([train, validation]), whole)


@pytest.mark.parametrize(
    'spec',
    [
        'validation',
        'Train',
        '',
        ' ',
        'train[',
        'train[10',
        'train[:abc]',
        'train[::2]',
        'train[:10%%]',
        'train[:33%](pct1_dropremainder)',
        'train[:101%]',
        'train[:-301]',
        'train[:301]',
        'train[400:]',
        'train[10:5]',
        'train[300:]',
        'train[:0]',
        'train+',
        'train+validation',
        'train;test',
    ],
)
def test_split_that_is_unknown_empty_or_ill_formed_is_named(tiny, spec):
    with pytest.raises(UserError) as caught:
        tiny.split(spec)
    message = str(caught.value)
    assert repr(spec) in message
    assert '300 examples in train and 300 in test' in message
    assert "--config.data.train_split='train[:90%]'" in message
    assert '\n' not in message


def test_start_with_prepared_data_takes_less_than_a_second(dataset, data_dir):
    config = default.get_config().data
    config.data_dir = data_dir
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        loaded = load_dataset(config)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1
    assert loaded.sha256 == dataset.sha256
    assert loaded.source == dataset.source


def test_data_prepared_before_are_not_prepared_again(prepared):
    log = []
    load_dataset(prepared, log.append)
    assert not log


@pytest.mark.parametrize('name', ['my-data', 'My Data', '3d', 'größe', 'a*{b}[c]?'])
def test_own_data_can_have_any_name_that_a_folder_can(idx_dir, tmp_path, name):
    config = tiny_config(idx_dir, tmp_path, name)
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert_equals_idx_files(load_dataset(config), idx_dir)
    info = tfds.builder_from_directory(version_folder(config)).info
    assert (info.name, info.splits['test'].num_examples) == (name, 300)


@pytest.mark.parametrize(
    'name',
    [
        *('', '.', '..', '../up', 'a/b', '/abs', '.hidden', 'a\nb', 'a\0b', 'é' * 101),
        *('downloads', 'packages'),
    ],
)
def test_name_that_no_folder_can_have_is_refused(idx_dir, tmp_path, name):
    with pytest.raises(UserError, match=r'data\.name'):
        load_dataset(tiny_config(idx_dir, tmp_path / 'data', name))
    assert not (tmp_path / 'data').exists()


def test_unregistered_name_without_a_folder_gets_the_nearest(tmp_path):
    config = default.get_config().data
    config.update(name='fashion-mnist', data_dir=str(tmp_path))
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        load_dataset(config)


def test_folder_whose_content_changed_is_prepared_anew(idx_dir, tmp_path):
    config = tiny_config(idx_dir, tmp_path / 'data')
    before = load_dataset(config)
    config.idx_dir = str(idx_files.write_first(tmp_path / 'idx', 200))
    after = load_dataset(config)
    assert (len(before.split('train')[1]), len(after.split('train')[1])) == (300, 200)
    assert before.sha256 != after.sha256
    assert_equals_idx_files(after, tmp_path / 'idx')


@pytest.mark.parametrize('place', ['first', 'quarter', 'middle', 'cut', 'empty'])
def test_damaged_decoded_file_is_noticed_and_rebuilt(idx_dir, tmp_path, place):
    config = tiny_config(idx_dir, tmp_path)
    load_dataset(config)
    path = decoded_file(config)
    damage_file(path, place)
    log = []
    assert_equals_idx_files(load_dataset(config, log.append), idx_dir)
    assert any('preparing' in line for line in log)
    log.clear()
    assert_equals_idx_files(load_dataset(config, log.append), idx_dir)
    assert not log


@pytest.mark.slow
def test_no_damage_to_the_decoded_file_s_structure_goes_unnoticed(idx_dir, tmp_path):
    config = tiny_config(idx_dir, tmp_path)
    load_dataset(config)
    path = decoded_file(config)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    # Local headers and the central directory, where zipfile and NumPy raise the most
    # varied errors. Some positions are without meaning: all that counts are the arrays.
    positions = [*range(0, 240, 3), *range(len(whole) - 600, len(whole), 7)]
    for position in positions:
        content = bytearray(whole)
        content[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        assert_equals_idx_files(load_dataset(config, lambda line: None), idx_dir)


@pytest.mark.parametrize('place', ['first', 'middle', 'cut', 'empty'])
@pytest.mark.parametrize(
    'file', ['tiny-train.array_record*', 'tiny-test.array_record*', 'dataset_info.json']
)
def test_damaged_tfds_files_are_rebuilt(idx_dir, tmp_path, file, place):
    config = tiny_config(idx_dir, tmp_path)
    load_dataset(config)
    (path,) = version_folder(config).glob(file)
    whole = path.read_bytes()
    damage_file(path, place)
    decoded_file(config).unlink()
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert path.read_bytes() == whole


@pytest.mark.parametrize('file', ['features.json', 'dataset_info.json', '*train*'])
def test_removed_tfds_file_is_rebuilt(idx_dir, tmp_path, file):
    config = tiny_config(idx_dir, tmp_path)
    load_dataset(config)
    (path,) = version_folder(config).glob(file)
    path.unlink()
    decoded_file(config).unlink()
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert path.exists()


def damage_file(path: Path, place: str) -> None:
    content = bytearray(path.read_bytes())
    if place == 'cut':
        del content[len(content) // 2 :]
    elif place == 'empty':
        content.clear()
    else:
        share = {'first': 0, 'quarter': 0.25, 'middle': 0.5}[place]
        content[int(share * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


# What shows how far a process has come, below the folder of the data set.
MOMENTS = {
    'locked': '.lock',
    'TFDS writes records': '*/incomplete.*/*.array_record*',
    'TFDS is done': f'*/{VERSION}',
    'decoded': '.decoded.*',
}


@pytest.mark.parametrize(
    'moment',
    [
        pytest.param(x, marks=[] if x == 'TFDS writes records' else pytest.mark.slow)
        for x in MOMENTS
    ],
)
def test_killed_while_preparing_then_started_again(tmp_path, moment):
    idx_dir = idx_files.write_first(tmp_path / 'idx', 3000)
    config = tiny_config(idx_dir, tmp_path / 'data')
    folder = Path(config.data_dir, config.name)
    # Sleeps in the end, so that it never ends by itself.
    process = start_loading(config, LOAD + 'import time; time.sleep(60)')
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        # The last file stands for moments too short to be seen.
        if any(folder.glob(MOMENTS[moment])) or any(folder.glob('decoded-*')):
            break
        time.sleep(0.0005)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert folder.exists()
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert_no_leftovers(config)
    builder = tfds.builder_from_directory(version_folder(config))
    assert builder.info.splits['train'].num_examples == 3000


@pytest.mark.slow
def test_killed_at_any_time_then_started_again(tmp_path):
    idx_dir = idx_files.write_first(tmp_path / 'idx', 3000)
    config = tiny_config(idx_dir, tmp_path / 'data')
    generator = np.random.default_rng(0)
    for _ in range(20):
        process = start_loading(config)
        assert process.stdout.readline()
        time.sleep(generator.uniform(0, 2))
        process.kill()
        process.communicate()
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert_no_leftovers(config)


def test_two_that_start_together_share_the_work(tmp_path):
    idx_dir = idx_files.write_first(tmp_path / 'idx', 3000)
    config = tiny_config(idx_dir, tmp_path / 'data')
    processes = [start_loading(config) for _ in range(2)]
    outputs = []
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        outputs.append(output)
    checksums = [lines_of(output, 'sha256') for output in outputs]
    assert len(checksums[0]) == 4
    assert checksums[0] == checksums[1]
    assert sum('preparing tiny' in output for output in outputs) == 1
    assert_equals_idx_files(load_dataset(config), idx_dir)
    assert_no_leftovers(config)


def test_data_folder_that_cannot_be_written_to_is_named(idx_dir, tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    config = tiny_config(idx_dir, tmp_path / 'file')
    with pytest.raises(UserError, match='data_dir') as caught:
        load_dataset(config)
    assert str(tmp_path / 'file') in str(caught.value)


def test_records_that_read_back_differently_are_refused(idx_dir, tmp_path, monkeypatch):
    def swap_two(self, split):
        records = list(original(self, split))
        records[0], records[1] = (0, records[1][1]), (1, records[0][1])
        yield from records

    original = IdxDataset._generate_examples
    monkeypatch.setattr(IdxDataset, '_generate_examples', swap_two)
    config = tiny_config(idx_dir, tmp_path)
    with pytest.raises(UserError, match='reads back differently'):
        load_dataset(config)
    assert not list(tmp_path.rglob('decoded-*'))


def test_tensorflow_is_not_imported_for_preparing_nor_for_loading(idx_dir, tmp_path):
    config = tiny_config(idx_dir, tmp_path)
    for _ in range(2):
        process = start_loading(config)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        (modules,) = lines_of(output, 'modules')
        assert 'fmnist_jax.data.dataset' in modules.split()
        assert 'tensorflow' not in modules.split()
    # The second time there was nothing to prepare, and TFDS takes seconds to import.
    assert 'tensorflow_datasets' not in modules.split()


def test_importing_models_imports_no_heavy_library():
    code = 'import sys, fmnist_jax.models; print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    roots = {name.split('.')[0] for name in done.stdout.split()}
    assert 'flax' in roots
    heavy = {
        'orbax',
        'tensorflow_datasets',
        'tensorflow',
        'tensorboard',
        'tensorboardX',
    }
    assert not roots & heavy
