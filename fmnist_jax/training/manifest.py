"""A folder's manifest: the SHA-256 of each of its files, as `sha256sum` writes it."""

import hashlib

from etils import epath

from fmnist_jax import workdir as workdir_lib

NAME = 'manifest.sha256'


def write(folder: epath.Path) -> None:
    """Seals a folder: no file below it may change from here on.

    Raises:
      UserError: it cannot be written.
    """
    workdir_lib.write_bytes(folder / NAME, _make(folder))


def matches(folder: epath.Path) -> bool:
    """Whether a folder is sealed, and every byte below it is as it was then."""
    try:
        return (folder / NAME).read_bytes() == _make(folder)
    except OSError:
        return False


def _make(folder: epath.Path) -> bytes:
    """The checksums of all the files below `folder` but the manifest itself."""
    lines = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name != NAME:
            lines.append(f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n')
    return ''.join(sorted(lines, key=lambda line: line[66:])).encode()


def _files(folder: epath.Path) -> list[epath.Path]:
    found = []
    for path in folder.iterdir():
        found += _files(path) if path.is_dir() else [path]
    return found
