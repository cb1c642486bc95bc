"""The IDX reader: real files, and every kind of damage named in the error."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax.data import idx, load_dataset
from fmnist_jax.data.registry import FASHION_MNIST
from fmnist_jax.errors import UserError
from tests import idx_files

IMAGES = idx_files.FILE_NAMES['train_images']
LABELS = idx_files.FILE_NAMES['train_labels']
TEST_IMAGES = idx_files.FILE_NAMES['test_images']


@pytest.fixture(scope='module')
def real() -> idx.IdxArrays:
    return idx.read_folder(epath.Path(idx_files.real_folder()), 10)


@pytest.fixture(scope='module')
def first_100() -> dict[str, np.ndarray]:
    return {key: array[:100] for key, array in idx_files.parse_real().items()}


@pytest.fixture
def folder(tmp_path: Path, first_100: dict[str, np.ndarray]) -> Path:
    """The first 100 real examples of each split."""
    return idx_files.write_folder(tmp_path / 'idx', first_100)


def error_of(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        idx.read_folder(epath.Path(folder), 10)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_real_files_have_the_published_sizes(real):
    shapes = {key: array.shape for key, array in real.arrays.items()}
    assert shapes == {
        'train_images': (60_000, 28, 28, 1),
        'train_labels': (60_000,),
        'test_images': (10_000, 28, 28, 1),
        'test_labels': (10_000,),
    }
    assert {array.dtype for array in real.arrays.values()} == {np.dtype(np.uint8)}


def test_real_files_have_the_recorded_checksums(real):
    assert real.sha256 == FASHION_MNIST.sha256


def test_real_files_equal_an_independent_parse(real):
    for key, expected in idx_files.parse_real().items():
        np.testing.assert_array_equal(real.arrays[key].squeeze(), expected)


def test_real_classes_are_balanced(real):
    assert np.bincount(real.arrays['train_labels']).tolist() == [6000] * 10
    assert np.bincount(real.arrays['test_labels']).tolist() == [1000] * 10


def test_checksum_is_of_the_decompressed_file(folder):
    found = idx.read_folder(epath.Path(folder), 10)
    for key, name in idx_files.FILE_NAMES.items():
        content = (folder / name).read_bytes()
        assert found.sha256[key] == hashlib.sha256(content).hexdigest()


def test_compressed_and_plain_files_read_the_same(folder):
    plain = idx.read_folder(epath.Path(folder), 10)
    for name in idx_files.FILE_NAMES.values():
        (folder / f'{name}.gz').write_bytes(
            gzip.compress((folder / name).read_bytes(), mtime=0)
        )
        (folder / name).unlink()
    compressed = idx.read_folder(epath.Path(folder), 10)
    assert compressed.sha256 == plain.sha256
    for key, array in plain.arrays.items():
        np.testing.assert_array_equal(compressed.arrays[key], array)


def test_colour_images_keep_their_channels(tmp_path, first_100):
    colour = {
        key: np.stack([array, 255 - array, array // 2], -1)
        if array.ndim == 3
        else array
        for key, array in first_100.items()
    }
    folder = idx_files.write_folder(tmp_path / 'colour', colour)
    found = idx.read_folder(epath.Path(folder))
    assert found.arrays['train_images'].shape == (100, 28, 28, 3)
    np.testing.assert_array_equal(found.arrays['test_images'], colour['test_images'])


@pytest.mark.parametrize('name', idx_files.FILE_NAMES.values())
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    message = error_of(folder)
    assert str(folder / name) in message
    assert 'missing' in message


def test_missing_folder_is_named(tmp_path):
    message = error_of(tmp_path / 'nowhere')
    assert str(tmp_path / 'nowhere') in message
    assert 'not a folder' in message


def set_dimension(content: bytes, size: int) -> bytes:
    return content[:4] + struct.pack('>I', size) + content[8:]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    'empty': (IMAGES, lambda b: b'', 'magic number'),
    'cut in the magic number': (IMAGES, lambda b: b[:3], 'magic number'),
    'cut in the header': (IMAGES, lambda b: b[:10], 'ends within its header'),
    'cut after the header': (LABELS, lambda b: b[:8], 'truncated'),
    'cut in the pixels': (IMAGES, lambda b: b[:40_000], 'truncated'),
    'one byte short': (LABELS, lambda b: b[:-1], 'truncated'),
    'one byte too long': (IMAGES, lambda b: b + b'\0', 'too long'),
    'of another element type': (
        IMAGES,
        lambda b: b[:2] + b'\x0d' + b[3:],
        'magic number 0x00000d03, expected 0x00000803',
    ),
    'labels in place of images': (
        TEST_IMAGES,
        lambda b: b[:3] + b'\x01' + b[4:],
        'magic number 0x00000801',
    ),
    'text': (LABELS, lambda b: b'0,1,2,3\n', 'magic number'),
    'claiming 4 GiB': (
        LABELS,
        lambda b: b[:3] + b'\x01' + struct.pack('>I', 2**32 - 1),
        'truncated',
    ),
    'claiming more than can be': (
        IMAGES,
        lambda b: set_dimension(b, 2**32 - 1),
        'more than 8 GiB',
    ),
}


@pytest.mark.parametrize('damage', DAMAGE)
@pytest.mark.parametrize('compressed', [False, True], ids=['plain', 'gz'])
def test_damaged_file_and_problem_are_named(folder, damage, compressed):
    name, change, problem = DAMAGE[damage]
    path = folder / name
    content = change(path.read_bytes())
    if compressed:
        path.unlink()
        path = folder / f'{name}.gz'
        content = gzip.compress(content)
    path.write_bytes(content)
    message = error_of(folder)
    assert str(path) in message
    assert problem in message


@pytest.mark.parametrize(
    'damage',
    [
        lambda b: b'this is no gzip file',
        lambda b: gzip.compress(b)[:-1000],
        lambda b: gzip.compress(b)[:5],
        lambda b: gzip.compress(b)[:-8] + bytes(8),
        lambda b: bytes(10) + gzip.compress(b)[10:],
        lambda b: gzip.compress(b)[:20] + bytes(1000) + gzip.compress(b)[1020:],
    ],
    ids=['text', 'cut', 'cut in its header', 'wrong CRC', 'no header', 'zeroed'],
)
def test_damaged_gzip_file_is_named(folder, damage):
    path = folder / f'{IMAGES}.gz'
    path.write_bytes(damage((folder / IMAGES).read_bytes()))
    (folder / IMAGES).unlink()
    message = error_of(folder)
    assert str(path) in message
    assert 'cannot be read' in message


def test_differing_counts_are_named(folder, first_100):
    (folder / LABELS).write_bytes(idx_files.encode(first_100['train_labels'][:99]))
    message = error_of(folder)
    assert str(folder) in message
    assert '100 train images but 99 train labels' in message


def test_no_examples_at_all_is_an_error(folder, first_100):
    for key in ('test_images', 'test_labels'):
        empty = idx_files.encode(first_100[key][:0])
        (folder / idx_files.FILE_NAMES[key]).write_bytes(empty)
    message = error_of(folder)
    assert str(folder) in message
    assert 'no test images' in message


def test_differing_image_sizes_are_named(folder, first_100):
    cropped = idx_files.encode(first_100['test_images'][:, :20])
    (folder / TEST_IMAGES).write_bytes(cropped)
    message = error_of(folder)
    assert str(folder) in message
    assert '(28, 28)' in message
    assert '(20, 28)' in message


def test_label_out_of_range_is_named_with_its_position(folder, first_100):
    labels = first_100['train_labels'].copy()
    labels[42] = 10
    (folder / LABELS).write_bytes(idx_files.encode(labels))
    message = error_of(folder)
    assert str(folder / LABELS) in message
    assert 'label 10 of image 42 is out of range 0 to 9' in message


def test_any_label_is_accepted_where_the_number_of_classes_is_not_known(
    folder, first_100
):
    labels = first_100['train_labels'].copy()
    labels[42] = 10
    (folder / LABELS).write_bytes(idx_files.encode(labels))
    found = idx.read_folder(epath.Path(folder))
    np.testing.assert_array_equal(found.arrays['train_labels'], labels)


@pytest.mark.parametrize('key', idx_files.FILE_NAMES)
def test_one_changed_element_is_noticed_by_its_checksum(tmp_path, key):
    arrays = idx_files.parse_real()
    arrays[key] = arrays[key].copy()
    arrays[key].flat[5000] ^= 1
    folder = idx_files.write_folder(tmp_path / 'idx', arrays)
    config = ConfigDict(
        {
            'name': 'fashion_mnist',
            'data_dir': str(tmp_path / 'data'),
            'idx_dir': str(folder),
        }
    )
    with pytest.raises(UserError) as caught:
        load_dataset(config)
    message = str(caught.value)
    assert str(folder / idx_files.FILE_NAMES[key]) in message
    assert f'expected {FASHION_MNIST.sha256[key]}' in message
    assert not (tmp_path / 'data').exists()
