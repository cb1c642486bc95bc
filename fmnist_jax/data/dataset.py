"""A data set in memory, prepared once per machine and verified at every start."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int, Integer, UInt8

from fmnist_jax.data import classes, sources
from fmnist_jax.data.folder import read_folder
from fmnist_jax.data.prepared import Prepared
from fmnist_jax.data.registry import get_spec
from fmnist_jax.errors import UserError

# What is told where a split does not fit the data.
_SPLITS_HINT = (
    "--config.data.train_split='train[:90%]' "
    "--config.data.validation_split='train[90%:]'"
)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A whole data set in host memory.

    Attributes:
      name: as in `config.data.name`.
      arrays: `train_images` and `test_images`, uint8 [n, height, width, channels];
        `train_labels` and `test_labels` [n], integers as in their file.
      class_names: one name a label.
      source: where the files came from, in words.
      sha256: checksum of each IDX file's decompressed content.
    """

    name: str
    arrays: dict[str, np.ndarray]
    class_names: tuple[str, ...]
    source: str
    sha256: dict[str, str]

    @property
    def num_classes(self) -> int:
        """How many labels there are."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.arrays['train_images'].shape[1:]

    def split(
        self, spec: str
    ) -> tuple[UInt8[np.ndarray, 'n height width channels'], Integer[np.ndarray, ' n']]:
        """Images and labels of a split in TFDS's syntax, such as `train[:55000]`.

        See https://www.tensorflow.org/datasets/splits.

        Raises:
          UserError: there is no such split, or it is empty.
        """
        parts = [(name, slice(start, stop)) for name, start, stop in self._parse(spec)]
        images = [self.arrays[f'{name}_images'][part] for name, part in parts]
        labels = [self.arrays[f'{name}_labels'][part] for name, part in parts]
        if not sum(map(len, labels)):
            raise self._split_error(spec, 'is empty')
        if len(parts) == 1:
            return images[0], labels[0]
        return np.concatenate(images), np.concatenate(labels)

    def num_shared(self, spec: str, others: Sequence[str]) -> int:
        """How many examples of a split are in one of the others, too.

        Raises:
          UserError: there is no such split.
        """
        other = [self._positions(one) for one in others]
        return len(np.intersect1d(self._positions(spec), np.concatenate(other)))

    def num_examples(self, spec: str) -> int:
        """How many a split has.

        Raises:
          UserError: there is no such split.
        """
        return len(self._positions(spec))

    def _positions(self, spec: str) -> Int[np.ndarray, ' n']:
        """The examples of a split, numbered through train and then test."""
        num_train = len(self.arrays['train_labels'])
        positions = {
            'train': np.arange(num_train),
            'test': num_train + np.arange(len(self.arrays['test_labels'])),
        }
        parts = self._parse(spec)
        return np.concatenate([positions[name][a:b] for name, a, b in parts])

    def _parse(self, spec: str) -> list[tuple[str, int | None, int | None]]:
        from tensorflow_datasets.core import splits  # noqa: PLC0415 - slow to import

        infos = {
            name: splits.SplitInfo(
                name=name,
                shard_lengths=[len(self.arrays[f'{name}_labels'])],
                num_bytes=0,
            )
            for name in ('train', 'test')
        }
        try:
            parsed = splits.AbstractSplit.from_spec(spec).to_absolute(infos)
        except Exception as error:
            # TFDS raises AssertionError, ValueError or KeyError, by the mistake.
            reason = ' '.join(str(error).split())
            raise self._split_error(
                spec, f'cannot be taken: {reason.rstrip(".")}'
            ) from error
        return [(part.splitname, part.from_, part.to) for part in parsed]

    def _split_error(self, spec: str, problem: str) -> UserError:
        counts = [len(self.arrays[f'{name}_labels']) for name in ('train', 'test')]
        return UserError(
            f'split {spec!r} of {self.name} {problem} (there are {counts[0]} examples '
            f'in train and {counts[1]} in test; choose, for example, {_SPLITS_HINT})'
        )


def load_dataset(config: Any, log: Callable[[str], None] = print) -> Dataset:
    """Loads the data set that `config` names, preparing it if this is the first time.

    A folder named by `idx_dir` is read and checked every time, so that what it holds
    is what is trained on.

    Args:
      config: `name`, `data_dir`, `idx_dir` (a folder of IDX files, or None),
        `class_names` (of data of one's own, or None), `mean` and `std`.
      log: told in one line what happens.

    Returns:
      The data set, its arrays verified against the checksums of its files.

    Raises:
      UserError: the data cannot be had, or are not what they should be.
    """
    spec = get_spec(config.name, config.idx_dir, config.class_names)
    data_dir = epath.Path(config.data_dir).expanduser()
    found = None
    if config.idx_dir is not None:
        found = read_folder(epath.Path(config.idx_dir).expanduser())
        sources.check(spec, found)
        classes.check_labels(found, spec.class_names)
    sha256 = spec.sha256 or found.sha256
    prepared = Prepared(spec, data_dir, sha256)
    arrays, source = prepared.load() or prepared.prepare(found, config.idx_dir, log)
    if found is not None:
        source = f'folder {config.idx_dir}'
    class_names = spec.class_names or classes.numbered(arrays)
    if note := classes.missing(arrays, class_names):
        log(f'data: {note}')
    dataset = Dataset(spec.name, arrays, class_names, source, sha256)
    check_normalization(config, dataset.image_shape)
    return dataset


def check_normalization(config: Any, image_shape: tuple[int, int, int]) -> None:
    """Checks that `mean` and `std` are one number, or one for each channel.

    Others would broadcast, along the width or to more channels, and train on that.

    Args:
      config: `mean` and `std`, each a number or a sequence of numbers.
      image_shape: height, width, channels.

    Raises:
      UserError: one has another length; names the field.
    """
    channels = image_shape[-1]
    for field in ('mean', 'std'):
        count = np.size(config[field])
        if count not in (1, channels):
            raise UserError(
                f'data.{field} has {count} numbers, and images have {channels} '
                f'{"channels" if channels > 1 else "channel"}: give one number, or one '
                'for each channel'
            )
