"""One process at a time in a work folder; the system drops a lock when it dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import IO

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError

_NAME = '.lock'
# More often than that nobody starts, fails and leaves in the same folder.
_TRIES = 100


@contextlib.contextmanager
def hold(folder: epath.Path) -> Iterator[None]:
    """Holds a work folder, to train in it alone.

    It is made if absent, and removed if what follows fails and leaves nothing there.
    On a bucket, which has no locks, nothing is held.

    Raises:
      UserError: another process holds it, or it cannot be locked.
    """
    if workdir_lib.in_bucket(folder):
        yield
        return
    file, was_there = _make_and_lock(folder)
    with file:
        try:
            yield
        except BaseException:
            if not was_there:
                _remove_if_empty(folder)
            raise


def _make_and_lock(folder: epath.Path) -> tuple[IO, bool]:
    """A folder's lock file, locked, and whether the folder was there before."""
    for _ in range(_TRIES):
        was_there = folder.exists()
        # Python says so of a folder that is removed while it is made.
        with contextlib.suppress(FileExistsError):
            workdir_lib.create(folder)
        if file := _lock(folder):
            return file, was_there
    raise UserError(
        f'cannot lock {folder}: its {_NAME} is removed again and again; choose another '
        '--workdir'
    )


def _lock(folder: epath.Path) -> IO | None:
    """A folder's lock file, locked; None if it was removed in the meantime.

    Who holds a removed file keeps nobody from holding the one made after it.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Appending changes nothing in a folder that holds a finished run.
            file = stack.enter_context(open(folder / _NAME, 'a'))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
        except BlockingIOError as error:
            raise UserError(
                f'another process is training in {folder}; wait for it, or choose '
                'another --workdir'
            ) from error
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(
                f'cannot lock {folder}: {error.strerror}; choose another --workdir'
            ) from error
        if not held:
            return None
        stack.pop_all()
        return file


def _remove_if_empty(folder: epath.Path) -> None:
    # Another may begin there, or remove it, at this moment.
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_NAME]:
            (folder / _NAME).unlink()
            folder.rmdir()
