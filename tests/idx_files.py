"""IDX files for tests: the real ones, and folders of one's own, without the package."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from configs import default
from fmnist_jax.data import load_dataset
from fmnist_jax.data.registry import FASHION_MNIST

FILE_NAMES = {
    'train_images': 'train-images-idx3-ubyte',
    'train_labels': 'train-labels-idx1-ubyte',
    'test_images': 't10k-images-idx3-ubyte',
    'test_labels': 't10k-labels-idx1-ubyte',
}


def real_folder() -> Path:
    """Where this machine has the four files of Fashion-MNIST, gzip-compressed."""
    config = default.get_config().data
    # The first use on a machine fetches them.
    load_dataset(config)
    data_dir = Path(config.data_dir).expanduser()
    package_folder = FASHION_MNIST.package_folder
    folders = (
        Path(package_folder),
        data_dir / 'packages' / FASHION_MNIST.package / package_folder.lstrip('/'),
        data_dir / 'downloads' / FASHION_MNIST.name,
    )
    for folder in folders:
        if folder.is_dir():
            return folder
    pytest.fail(f'the IDX files are in none of {", ".join(map(str, folders))}')


def parse_real() -> dict[str, np.ndarray]:
    """Real Fashion-MNIST; images without a channel dimension."""
    arrays = {}
    for key, name in FILE_NAMES.items():
        content = gzip.decompress((real_folder() / f'{name}.gz').read_bytes())
        if key.endswith('images'):
            arrays[key] = np.frombuffer(content, np.uint8, offset=16).reshape(
                -1, 28, 28
            )
        else:
            arrays[key] = np.frombuffer(content, np.uint8, offset=8)
    return arrays


# The byte for the element type, by the array's dtype.
TYPE_CODES = {'u1': 0x08, 'i1': 0x09, 'i2': 0x0B, 'i4': 0x0C}


def encode(array: np.ndarray) -> bytes:
    """An IDX file that holds an array of one of these dtypes."""
    dtype = array.dtype.str[1:]
    code = TYPE_CODES[dtype]
    start = struct.pack(f'>4B{array.ndim}I', 0, 0, code, array.ndim, *array.shape)
    return start + array.astype(f'>{dtype}').tobytes()


def write_folder(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Makes a folder of four IDX files, not compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in FILE_NAMES.items():
        (folder / name).write_bytes(encode(arrays[key]))
    return folder


def colour(images: np.ndarray) -> np.ndarray:
    """Three different channels of grey images, last."""
    return np.stack([images, 255 - images, images // 2], -1)


def write_first(folder: Path, count: int) -> Path:
    """Makes a folder of the first real examples of each split."""
    return write_folder(folder, {k: v[:count] for k, v in parse_real().items()})
