"""What TFDS prepared of a data set and what was decoded of it, kept on disk.

`DATA_DIR/NAME/VERSION/` holds what TFDS prepared (ArrayRecord); data of one's own have
`DATA_DIR/NAME/KEY/VERSION/`, KEY telling contents and class names apart. Decoding that
takes seconds, so the decoded arrays are kept beside it in one file for each key.
"""

import fcntl
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

import numpy as np
from etils import epath

from fmnist_jax.data import classes, idx, sources
from fmnist_jax.data.folder import FILE_NAMES, IdxFiles
from fmnist_jax.data.registry import DatasetSpec
from fmnist_jax.errors import UserError, one_line


class Prepared:
    """What is kept of one data set (one content) below the data folder."""

    def __init__(self, spec: DatasetSpec, data_dir: epath.Path, sha256: dict[str, str]):
        self._spec = spec
        self._data_dir = data_dir
        self._sha256 = sha256
        content = ''.join(sha256[key] for key in sorted(sha256))
        if self._is_own and spec.class_names is not None:
            # TFDS keeps the names too; those of another run must not be served.
            content += json.dumps(spec.class_names)
        self._key = hashlib.sha256(content.encode()).hexdigest()[:12]
        self._folder = data_dir / spec.name
        self._decoded = self._folder / f'decoded-{self._key}.npz'

    @property
    def _is_own(self) -> bool:
        """Whether any content will do."""
        return self._spec.sha256 is None

    def load(self) -> tuple[dict[str, np.ndarray], str] | None:
        """The decoded arrays and their source; None if absent or damaged."""
        try:
            with np.load(self._decoded, allow_pickle=False) as file:
                if not _is_stored(file.zip):
                    return None
                arrays = {key: file[key] for key in FILE_NAMES}
                source = json.loads(str(file['source']))
            return (arrays, source) if self._verified(arrays) else None
        except Exception:
            # NumPy and zipfile raise a dozen types, by the byte that is damaged.
            return None

    def prepare(
        self, found: IdxFiles | None, idx_dir: str | None, log: Callable
    ) -> tuple[dict[str, np.ndarray], str]:
        """Prepares the data set; of processes that start together, one does the work.

        Every file appears complete or not at all, so a process killed half-way
        leaves nothing that the next would take for data.

        Args:
          found: the data, if they are one's own.
          idx_dir: the folder that they are from.
          log: told in one line what happens.

        Returns:
          As `load`.

        Raises:
          UserError: no source has them, or the data folder cannot be written to.
        """
        with self._lock(log):
            if loaded := self.load():
                return loaded
            try:
                return self._prepare(found, idx_dir, log)
            # ArrayRecord raises a RuntimeError for what it cannot write.
            except (OSError, RuntimeError) as error:
                reason = getattr(error, 'strerror', None) or one_line(error)
                raise UserError(
                    f'cannot prepare the data in {self._folder}: {reason}; choose '
                    'another folder with --config.data.data_dir'
                ) from error

    def _prepare(
        self, found: IdxFiles | None, idx_dir: str | None, log: Callable
    ) -> tuple[dict[str, np.ndarray], str]:
        """What `prepare` does with the lock held."""
        self._remove_leftovers()
        source = f'folder {idx_dir}'
        if found is None:
            log(f'data: fetching {self._spec.name} into {self._data_dir}')
            found, source = sources.obtain(self._spec, self._data_dir, log)
        log(f'data: preparing {self._spec.name} from {source} (once, half a minute)')
        arrays = self._build(found)
        self._save(arrays, source)
        return arrays, source

    def _build(self, found: IdxFiles) -> dict[str, np.ndarray]:
        """Writes ArrayRecord through TFDS and reads it back, verified."""
        from fmnist_jax.data import builder  # noqa: PLC0415 - imports TFDS: slow

        # Several contents of one's own can share a name: one TFDS config each.
        config = self._key if self._is_own else None
        folder = self._folder / (config or '') / builder.VERSION
        if folder.exists():
            # Whether a process was killed before it had decoded this or it is damaged
            # (which TFDS shows in many ways): writing it again mends it.
            _remove(folder)
        tfds_builder = builder.IdxDataset(
            name=self._spec.name,
            data_dir=self._data_dir,
            class_names=self._spec.class_names or classes.numbered(found.arrays),
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
                _remove(leftover)
        for leftover in self._folder.glob('.decoded.*'):
            _remove(leftover)

    def _save(self, arrays: dict[str, np.ndarray], source: str) -> None:
        temporary = self._folder / f'.decoded.{os.getpid()}.npz'
        np.savez(temporary, source=json.dumps(source), **arrays)
        os.replace(temporary, self._decoded)

    def _verified(self, arrays: dict[str, np.ndarray]) -> bool:
        return all(
            idx.holds(self._sha256[key], arrays[key])
            if key.endswith('images')
            else idx.sha256(arrays[key]) == self._sha256[key]
            for key in arrays
        )

    @contextmanager
    def _lock(self, log: Callable[[str], None]) -> Iterator[None]:
        """Holds the data set's lock, which the system drops when a process dies."""
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                # Nothing is cut off should it be a link to some file.
                file = stack.enter_context(open(self._folder / '.lock', 'a'))
                _wait_for_lock(file, log)
            except OSError as error:
                raise UserError(
                    f'cannot write to the data folder {self._data_dir} '
                    f'({error.strerror}); choose another with --config.data.data_dir'
                ) from error
            yield


def _wait_for_lock(file: IO, log: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log('data: another process is preparing the data; waiting for it')
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_stored(archive: zipfile.ZipFile) -> bool:
    """Whether nothing in it is compressed, as NumPy writes it: so it cannot expand."""
    return all(x.compress_type == zipfile.ZIP_STORED for x in archive.infolist())


def _remove(path: epath.Path) -> None:
    """Removes a folder, a file, or a link, but not what a link points to."""
    if os.path.islink(path) or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)
