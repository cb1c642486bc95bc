"""The IDX file format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/).

An IDX file is a big-endian header (two zero bytes, a byte for the element type, a byte
for the number of dimensions, each dimension as uint32) followed by the elements.
"""

import gzip
import hashlib
import math
import struct
import zlib
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import UInt8

from fmnist_jax.errors import UserError

# The element type of all the files read here: unsigned byte.
_UINT8 = 0x08
# Headers may claim anything; no more than this is read (MNIST-like sets are 47 MB).
_MAX_BYTES = 2**33

FILE_NAMES = {
    'train_images': 'train-images-idx3-ubyte',
    'train_labels': 'train-labels-idx1-ubyte',
    'test_images': 't10k-images-idx3-ubyte',
    'test_labels': 't10k-labels-idx1-ubyte',
}


class IdxArrays(NamedTuple):
    """The four arrays of a data set and the SHA-256 of the files they came from.

    Attributes:
      arrays: `train_images` and `test_images` as uint8 [n, height, width, channels],
        `train_labels` and `test_labels` as uint8 [n].
      sha256: the checksum of each file's decompressed content, under the same names.
    """

    arrays: dict[str, np.ndarray]
    sha256: dict[str, str]


def header(shape: tuple[int, ...]) -> bytes:
    """The IDX header of a uint8 array of this shape."""
    return struct.pack(f'>HBB{len(shape)}I', 0, _UINT8, len(shape), *shape)


def sha256(array: UInt8[np.ndarray, '...']) -> str:
    """The SHA-256 of the IDX file (not compressed) that would hold `array`.

    Images with one channel are stored without a channel dimension.
    """
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    digest = hashlib.sha256(header(array.shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def find(folder: epath.Path, name: str) -> epath.Path:
    """`name` in `folder`, as it is or with `.gz`.

    Raises:
      UserError: neither is there.
    """
    for path in (folder / name, folder / f'{name}.gz'):
        if path.exists():
            return path
    raise UserError(f'{folder / name} is missing (with or without .gz)')


def read(path: epath.Path, dimensions: tuple[int, ...]) -> UInt8[np.ndarray, '...']:
    """Reads one IDX file of uint8 elements, gzip-compressed or not.

    Args:
      path: the file; a name ending in `.gz` is decompressed.
      dimensions: the numbers of dimensions that are accepted.

    Raises:
      UserError: the file cannot be read, is not such an IDX file, or holds more or
        fewer bytes than its header says.
    """
    try:
        with path.open('rb') as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == '.gz' else raw
            return _read(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f'{path} cannot be read: {error}') from error


def _read(file, path: epath.Path, dimensions: tuple[int, ...]) -> np.ndarray:
    start = file.read(4)
    valid = [struct.pack('>HBB', 0, _UINT8, d) for d in dimensions]
    if start not in valid:
        expected = ' or '.join(f'0x{v.hex()}' for v in valid)
        raise UserError(
            f'{path} is not the IDX file it should be: magic number 0x{start.hex()}, '
            f'expected {expected}'
        )
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise UserError(f'{path} is truncated: it ends within its header')
    shape = struct.unpack(f'>{start[3]}I', sizes)
    expected_bytes = math.prod(shape)
    if expected_bytes > _MAX_BYTES:
        raise UserError(f'{path}: its header claims {shape}, more than 8 GiB')
    # One byte more than expected tells a file that is too long.
    content = file.read(expected_bytes + 1)
    if len(content) != expected_bytes:
        problem = 'is truncated' if len(content) < expected_bytes else 'is too long'
        raise UserError(
            f'{path} {problem}: its header says {shape}, {expected_bytes} bytes, '
            f'and it holds {len(content) if problem == "is truncated" else "more"}'
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_folder(folder: epath.Path, num_classes: int | None = None) -> IdxArrays:
    """Reads and checks the four IDX files of a data set.

    Args:
      folder: holds the files of `FILE_NAMES`, each as it is or with `.gz`.
      num_classes: labels must be below it; None to accept any.

    Raises:
      UserError: a file is missing or damaged, counts or image sizes differ between
        files, or a label is out of range.
    """
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder; it should hold the four IDX files')
    arrays = {}
    for key, name in FILE_NAMES.items():
        dimensions = (1,) if key.endswith('labels') else (3, 4)
        arrays[key] = read(find(folder, name), dimensions)
    checksums = {key: sha256(array) for key, array in arrays.items()}
    for split in ('train', 'test'):
        _check_split(folder, split, arrays, num_classes)
    train_shape, test_shape = (
        arrays[f'{s}_images'].shape[1:] for s in ('train', 'test')
    )
    if train_shape != test_shape:
        raise UserError(
            f'{folder}: training images are {train_shape}, test images {test_shape}'
        )
    for key in ('train_images', 'test_images'):
        if arrays[key].ndim == 3:
            arrays[key] = arrays[key][..., np.newaxis]
    return IdxArrays(arrays, checksums)


def _check_split(
    folder: epath.Path,
    split: str,
    arrays: dict[str, np.ndarray],
    num_classes: int | None,
) -> None:
    images, labels = arrays[f'{split}_images'], arrays[f'{split}_labels']
    if len(images) != len(labels):
        raise UserError(
            f'{folder}: {len(images)} {split} images but {len(labels)} {split} labels'
        )
    if not images.size:
        raise UserError(f'{folder}: there are no {split} images')
    if num_classes is not None and labels.max() >= num_classes:
        position = int(np.argmax(labels >= num_classes))
        raise UserError(
            f'{folder / FILE_NAMES[f"{split}_labels"]}: label {labels[position]} of '
            f'image {position} is out of range 0 to {num_classes - 1}'
        )
