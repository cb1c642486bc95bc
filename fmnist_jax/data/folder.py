"""A folder of the four IDX files of a data set, read and checked as a whole."""

from typing import NamedTuple

import numpy as np
from etils import epath

from fmnist_jax.data import idx
from fmnist_jax.errors import UserError

FILE_NAMES = {
    'train_images': 'train-images-idx3-ubyte',
    'train_labels': 'train-labels-idx1-ubyte',
    'test_images': 't10k-images-idx3-ubyte',
    'test_labels': 't10k-labels-idx1-ubyte',
}
_CHANNELS = (1, 3)


class IdxFiles(NamedTuple):
    """What the four files of a data set hold, under the names of `FILE_NAMES`.

    Attributes:
      arrays: `train_images` and `test_images` as uint8 [n, height, width, channels],
        `train_labels` and `test_labels` as [n], of the element type of their file.
      sha256: the checksum of each file's decompressed content.
      paths: the files.
    """

    arrays: dict[str, np.ndarray]
    sha256: dict[str, str]
    paths: dict[str, epath.Path]


def find(folder: epath.Path, name: str) -> epath.Path:
    """`name` in `folder`, as it is or with `.gz`.

    Raises:
      UserError: neither is there.
    """
    for path in (folder / name, folder / f'{name}.gz'):
        if path.exists():
            return path
    raise UserError(f'{folder / name} is missing (with or without .gz)')


def read_folder(folder: epath.Path) -> IdxFiles:
    """Reads and checks the four IDX files of a data set.

    Args:
      folder: holds the files of `FILE_NAMES`, each as it is or with `.gz`. Images are
        uint8 [n, height, width] or [n, height, width, channels] with 1 or 3 channels;
        labels uint8, int8, int16 or int32 [n].

    Raises:
      UserError: a file is missing or damaged, images are of another kind, or counts or
        image sizes differ between files.
    """
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder; it should hold the four IDX files')
    paths = {key: find(folder, name) for key, name in FILE_NAMES.items()}
    arrays, checksums = {}, {}
    for key, path in paths.items():
        if key.endswith('labels'):
            arrays[key] = idx.read(path, idx.LABEL_TYPES, (1,))
            checksums[key] = idx.sha256(arrays[key])
        else:
            images = idx.read(path, idx.PIXEL_TYPES, (3, 4))
            checksums[key] = idx.sha256(images)
            arrays[key] = images[..., np.newaxis] if images.ndim == 3 else images
            _check_images(path, arrays[key])
    found = IdxFiles(arrays, checksums, paths)
    _check_agreement(folder, found)
    return found


def _check_images(path: epath.Path, images: np.ndarray) -> None:
    shape = images.shape[1:]
    if shape[-1] not in _CHANNELS and shape[0] in _CHANNELS:
        raise UserError(
            f'{path}: its images, {shape}, have their channels first; they must come '
            'last: [n, height, width, channels]'
        )
    if shape[-1] not in _CHANNELS:
        raise UserError(
            f'{path}: its images, {shape}, have {shape[-1]} channels; supported are '
            '[n, height, width] and [n, height, width, channels] with 1 or 3 channels'
        )
    if not images.size:
        raise UserError(f'{path}: there are no images in it, {images.shape}')


def _check_agreement(folder: epath.Path, found: IdxFiles) -> None:
    """Compares counts and image sizes between the files."""
    names = {key: path.name for key, path in found.paths.items()}
    for split in ('train', 'test'):
        images, labels = f'{split}_images', f'{split}_labels'
        counts = [len(found.arrays[key]) for key in (images, labels)]
        if counts[0] != counts[1]:
            raise UserError(
                f'{folder}: {counts[0]} {split} images but {counts[1]} {split} labels '
                f'({names[images]}, {names[labels]})'
            )
    train, test = 'train_images', 'test_images'
    sizes = [found.arrays[key].shape[1:] for key in (train, test)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f'{folder}: training images are {sizes[0]}, test images {sizes[1]} '
            f'({names[train]}, {names[test]})'
        )
