"""Training images altered once, before training: a config in, four IDX files out."""

import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Int, Integer, UInt8
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset, idx, load_dataset
from fmnist_jax.data.augmentation import make_augmentation
from fmnist_jax.data.batches import Examples, example_keys, padded_order, stream_key
from fmnist_jax.data.folder import FILE_NAMES
from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.reporting.console import log

# Says how a folder was made, and, at last, that it is `complete`.
DESCRIPTION = 'augmentation.json'
ORDERS = ('grouped', 'shuffled')
_BATCH_SIZE = 1000


def augment_data(
    config: ConfigDict, output: epath.PathLike, copies: int = 2, order: str = 'grouped'
) -> dict[str, Any]:
    """Writes each training image and altered copies of it, and the test set as it is.

    What a copy looks like is a function of (seed, number of the copy, position of the
    image), as an augmented example of training is of (seed, step, position).

    Args:
      config: `augmentation` alters; `seed`; and `data`, of whose training part all
        images are taken, whatever the splits.
      output: a folder for the four IDX files and `augmentation.json`.
      copies: altered copies of each image, besides itself.
      order: `grouped`, an image, then its copies, then the next image: a split by
        position leaves an image and its copies on one side (but for the one image that
        it may cut through); or `shuffled`, in any order, by the seed: a split by
        position has copies of most images on both sides.

    Returns:
      What `augmentation.json` holds.

    Raises:
      UserError: the config or the data are not what they should be, an operation mixes
        images of different classes, or the folder holds other data, those that are
        read, or data altered otherwise, or cannot be written to; or there would be
        more than an IDX file is read with.
    """
    config_lib.validate(config)
    if order not in ORDERS:
        raise unknown_name('order', order, ORDERS)
    if not config.augmentation:
        raise UserError(
            'augmentation is empty, so there is nothing to alter; name operations, as '
            "in --config.augmentation=\"({'name': 'horizontal_flip'},)\""
        )
    folder = workdir_lib.locate(output)
    _check_output(folder, config.data.idx_dir)
    make_augmentation(config.augmentation, num_classes=2)  # Told before data are read.
    dataset = load_dataset(config.data, log)
    _check_labels(config, dataset)
    description = _describe(config, dataset, copies, order)
    _check_description(folder, description)
    _check_size(dataset, copies)
    images, labels = _alter(config, dataset, copies)
    positions = _positions(config.seed, order, *images.shape[:2])
    arrays = dataset.arrays | {
        'train_images': images.reshape(-1, *images.shape[2:])[positions],
        'train_labels': np.tile(labels, 1 + copies)[positions],
    }
    _write(folder, arrays, description)
    log(
        f'{len(positions):,} training images, {order}: {len(labels):,} as they are '
        f'and {copies} altered copies of each'
    )
    log(f'{len(arrays["test_labels"]):,} test images, as they are')
    log(f'IDX files: {folder}')
    return description


def _check_output(folder: epath.Path, idx_dir: str | None) -> None:
    """Refuses a folder of data that no such command wrote, or that are read."""
    workdir_lib.check(folder, 'choose another --output')
    if idx_dir and _is_same(folder, workdir_lib.locate(idx_dir)):
        raise UserError(
            f'{folder} is config.data.idx_dir, whose images this would overwrite; '
            'choose another --output'
        )
    names = [file for name in FILE_NAMES.values() for file in (name, f'{name}.gz')]
    found = [name for name in names if (folder / name).exists()]
    if found and not (folder / DESCRIPTION).exists():
        raise UserError(
            f'{folder} holds {found[0]}, which may be data that this would overwrite; '
            'choose another --output'
        )


def _is_same(one: epath.Path, other: epath.Path) -> bool:
    """Whether both are one folder, if by way of a symbolic link."""
    paths = (os.fspath(workdir_lib.absolute(path)) for path in (one, other))
    first, second = (p if '://' in p else os.path.realpath(p) for p in paths)
    return first == second


def _check_description(folder: epath.Path, description: Mapping[str, Any]) -> None:
    """Refuses a folder of images altered otherwise, or of others, whole or not."""
    path = folder / DESCRIPTION
    if not path.exists():
        return
    held, now = workdir_lib.read_json_object(path), json.loads(json.dumps(description))
    # Where the images were read from is of no matter: their checksums are there.
    differing = [k for k in now if k not in ('source', 'complete')]
    differing = [key for key in differing if held.get(key) != now[key]]
    if differing:
        raise UserError(
            f'{folder} holds other images, which this would overwrite: '
            f'{", ".join(differing)} of {DESCRIPTION} differs; choose another --output'
        )


def _check_size(dataset: Dataset, copies: int) -> None:
    """Refuses files that would not be read."""
    size = dataset.arrays['train_images'].nbytes
    if (1 + copies) * size > idx.MAX_BYTES:
        raise UserError(
            f'{copies:,} copies would make a file of more than '
            f'{idx.MAX_BYTES // 2**30} GiB, which is not read: at most '
            f'--copies={idx.MAX_BYTES // size - 1}'
        )


def _check_labels(config: ConfigDict, dataset: Dataset) -> None:
    """Refuses operations whose labels an IDX file cannot hold, by name."""
    shape = jax.ShapeDtypeStruct
    examples = Examples(
        shape((2, *dataset.image_shape), jnp.uint8), shape((2,), jnp.int32)
    )
    indices = shape((2,), jnp.int32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    for entry in config.augmentation:
        augment = make_augmentation([entry], dataset.num_classes)
        _, labels = jax.eval_shape(augment, keys, examples, indices)
        if labels.ndim != 1:
            raise UserError(
                f'augmentation {entry["name"]!r} mixes images of different classes, '
                'whose labels are shares; altered copies need a label of one class: '
                'use it while training instead'
            )


def _alter(
    config: ConfigDict, dataset: Dataset, copies: int
) -> tuple[UInt8[np.ndarray, 'versions n h w c'], Integer[np.ndarray, ' n']]:
    """The training images as they are, then each of the altered copies of them all."""
    images, labels = dataset.arrays['train_images'], dataset.arrays['train_labels']
    augment = make_augmentation(config.augmentation, dataset.num_classes)

    @jax.jit
    def call(examples, copy, indices):
        keys = example_keys(jnp.uint32(config.seed), copy, indices)
        return augment(keys, examples, indices)[0]

    examples = jax.device_put(Examples(images, labels.astype(np.int32)))
    versions = np.empty((1 + copies, *images.shape), np.uint8)
    versions[0] = images
    batches = padded_order(len(images), min(_BATCH_SIZE, len(images)))
    for copy, altered in enumerate(versions[1:]):
        for batch in batches:
            # What fills up the last batch is image 0, altered as in the first.
            altered[batch] = call(examples, np.int32(copy), batch)
        log(f'copy {copy + 1} of {copies}: {len(images):,} images')
    return versions, labels


def _positions(
    seed: int, order: str, versions: int, count: int
) -> Int[np.ndarray, ' examples']:
    """Where each example of the result lies in the versions, one after another."""
    if order == 'grouped':
        return np.arange(versions * count).reshape(versions, count).T.ravel()
    key = stream_key(seed, 'order')
    return np.asarray(jax.random.permutation(key, versions * count))


def _describe(
    config: ConfigDict, dataset: Dataset, copies: int, order: str
) -> dict[str, Any]:
    return {
        'name': dataset.name,
        'source': dataset.source,
        'sha256': dataset.sha256,
        'class_names': list(dataset.class_names),
        'seed': config.seed,
        'augmentation': config_lib.to_dict(config)['augmentation'],
        'copies': copies,
        'order': order,
        'complete': True,
    }


def _write(
    folder: epath.Path,
    arrays: Mapping[str, np.ndarray],
    description: Mapping[str, Any],
) -> None:
    path = folder / DESCRIPTION
    # First of all, so that a folder whose writing was cut off can be written again.
    workdir_lib.write_json(path, {**description, 'complete': False})
    for key, name in FILE_NAMES.items():
        array = arrays[key]
        if array.shape[-1] == 1 and key.endswith('images'):
            # Without the channel dimension, as MNIST's files are.
            array = array[..., 0]
        workdir_lib.write_bytes(folder / name, idx.encode(array))
    workdir_lib.write_json(path, description)
