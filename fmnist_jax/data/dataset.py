"""A data set in memory, prepared once per machine and verified at every start.

`DATA_DIR/NAME/VERSION/` holds what TFDS prepared (ArrayRecord). Decoding that takes
seconds, so the decoded arrays are kept beside it in one file, keyed by checksum.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from fmnist_jax.data import idx, sources
from fmnist_jax.data.registry import DatasetSpec, get_spec
from fmnist_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A whole data set in host memory.

    Attributes:
      name: as in `config.data.name`.
      arrays: `train_images` and `test_images`, uint8 [n, height, width, channels];
        `train_labels` and `test_labels`, uint8 [n].
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
    ) -> tuple[UInt8[np.ndarray, 'n height width channels'], UInt8[np.ndarray, ' n']]:
        """Images and labels of a split in TFDS's syntax, such as `train[:55000]`.

        See https://www.tensorflow.org/datasets/splits.

        Raises:
          UserError: there is no such split, or it is empty.
        """
        parts = [(name, slice(start, stop)) for name, start, stop in self._parse(spec)]
        images = [self.arrays[f'{name}_images'][part] for name, part in parts]
        labels = [self.arrays[f'{name}_labels'][part] for name, part in parts]
        if not sum(map(len, labels)):
            raise UserError(f'split {spec!r} of {self.name} is empty')
        if len(parts) == 1:
            return images[0], labels[0]
        return np.concatenate(images), np.concatenate(labels)

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
            raise UserError(f'split {spec!r} of {self.name}: {reason}') from error
        return [(part.splitname, part.from_, part.to) for part in parsed]


def load_dataset(config: Any, log: Callable[[str], None] = print) -> Dataset:
    """Loads the data set that `config` names, preparing it if this is the first time.

    A folder named by `idx_dir` is read and checked every time, so that what it holds
    is what is trained on.

    Args:
      config: `name`, `data_dir` and `idx_dir` (a folder of IDX files, or None).
      log: told in one line what happens.

    Returns:
      The data set, its arrays verified against the checksums of its files.

    Raises:
      UserError: the data cannot be had, or are not what they should be.
    """
    spec = get_spec(config.name, config.idx_dir)
    data_dir = epath.Path(config.data_dir).expanduser()
    found = None
    if config.idx_dir is not None:
        folder = epath.Path(config.idx_dir).expanduser()
        found = idx.read_folder(folder, spec.class_names and len(spec.class_names))
        sources.check(spec, found, folder)
    sha256 = spec.sha256 or found.sha256
    prepared = _Prepared(spec, data_dir, sha256)
    arrays, source = prepared.load() or prepared.prepare(found, config.idx_dir, log)
    if found is not None:
        source = f'folder {config.idx_dir}'
    class_names = spec.class_names or _numbered_classes(arrays)
    return Dataset(spec.name, arrays, class_names, source, sha256)


def _numbered_classes(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    largest = max(int(arrays[f'{split}_labels'].max()) for split in ('train', 'test'))
    return tuple(str(label) for label in range(largest + 1))


class _Prepared:
    """What is kept of one data set (one content) below the data folder."""

    def __init__(self, spec: DatasetSpec, data_dir: epath.Path, sha256: dict[str, str]):
        self._spec = spec
        self._data_dir = data_dir
        self._sha256 = sha256
        joined = ''.join(sha256[key] for key in sorted(sha256))
        self._key = hashlib.sha256(joined.encode()).hexdigest()[:12]
        self._folder = data_dir / spec.name
        self._decoded = self._folder / f'decoded-{self._key}.npz'

    def load(self) -> tuple[dict[str, np.ndarray], str] | None:
        """The decoded arrays and their source; None if absent or damaged."""
        try:
            with np.load(self._decoded, allow_pickle=False) as file:
                arrays = {key: file[key] for key in idx.FILE_NAMES}
                source = json.loads(str(file['source']))
        except Exception:
            # NumPy and zipfile raise a dozen types, by the byte that is damaged.
            return None
        return (arrays, source) if self._verified(arrays) else None

    def prepare(
        self, found: idx.IdxArrays | None, idx_dir: str | None, log: Callable
    ) -> tuple[dict[str, np.ndarray], str]:
        """Prepares the data set; of processes that start together, one does the work.

        Every file appears complete or not at all, so a process killed half-way
        leaves nothing that the next would take for data.
        """
        with self._lock(log):
            if loaded := self.load():
                return loaded
            self._remove_leftovers()
            source = f'folder {idx_dir}'
            if found is None:
                log(f'data: fetching {self._spec.name} into {self._data_dir}')
                found, source = sources.obtain(self._spec, self._data_dir, log)
            log(
                f'data: preparing {self._spec.name} from {source} (once, half a minute)'
            )
            arrays = self._build(found)
            self._save(arrays, source)
            return arrays, source

    def _build(self, found: idx.IdxArrays) -> dict[str, np.ndarray]:
        """Writes ArrayRecord through TFDS and reads it back, verified."""
        from fmnist_jax.data import builder  # noqa: PLC0415 - imports TFDS: slow

        config = None
        if self._spec.sha256 is None:
            # Several contents of one's own can share a name: one TFDS config each.
            config = self._key
        folder = self._folder / (config or '') / builder.VERSION
        if folder.exists():
            # Whether a process was killed before it had decoded this or it is damaged
            # (which TFDS shows in many ways): writing it again mends it.
            shutil.rmtree(folder)
        tfds_builder = builder.IdxDataset(
            name=self._spec.name,
            data_dir=self._data_dir,
            class_names=self._spec.class_names or _numbered_classes(found.arrays),
            image_shape=found.arrays['train_images'].shape[1:],
            config=config,
            found=found,
        )
        arrays = builder.prepare_and_decode(tfds_builder)
        if not self._verified(arrays):
            raise UserError(
                f'what TFDS wrote to {folder} reads back differently; '
                'check the disk, or choose another --config.data.data_dir'
            )
        return arrays

    def _remove_leftovers(self) -> None:
        """Removes what killed processes left; to be called with the lock held."""
        for pattern in ('incomplete.*', '*/incomplete.*'):
            for leftover in self._folder.glob(pattern):
                shutil.rmtree(leftover)
        for leftover in self._folder.glob('.decoded.*'):
            leftover.unlink()

    def _save(self, arrays: dict[str, np.ndarray], source: str) -> None:
        temporary = self._folder / f'.decoded.{os.getpid()}.npz'
        np.savez(temporary, source=json.dumps(source), **arrays)
        os.replace(temporary, self._decoded)

    def _verified(self, arrays: dict[str, np.ndarray]) -> bool:
        return all(idx.sha256(arrays[key]) == self._sha256[key] for key in arrays)

    @contextmanager
    def _lock(self, log: Callable[[str], None]) -> Iterator[None]:
        """Holds the data set's lock, which the system drops when a process dies."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / '.lock').touch()
        except OSError as error:
            raise UserError(
                f'cannot write to the data folder {self._data_dir} '
                f'({error.strerror}); choose another with --config.data.data_dir'
            ) from error
        with open(self._folder / '.lock', 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log('data: another process is preparing the data; waiting for it')
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
