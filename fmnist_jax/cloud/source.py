"""The code, as one archive: what git tracks and what is new, not runs or data."""

import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from fmnist_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
# What the archive names the commit in: git's own folder is not in it.
COMMIT = '.git_commit'
# How the list is made, for somebody who does it by hand.
LIST = ('git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z')
# Folders that are no code where the checkout is not git's (a downloaded archive, say).
_IGNORED = ('runs', 'build', '.venv', '.git', '.job', '__pycache__')


def pack(path: Path, root: Path = ROOT) -> None:
    """Writes the archive that every worker gets.

    Args:
      path: of the archive, in .tar.gz format.
      root: the checkout.

    Raises:
      UserError: a file cannot be read.
    """
    try:
        with tarfile.open(path, 'w:gz') as archive:
            for name in files(root):
                archive.add(root / name, arcname=name, recursive=False)
            entry, content = tarfile.TarInfo(COMMIT), (commit(root) or '').encode()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise UserError(f'cannot pack the code: {error}') from error


def files(root: Path = ROOT) -> list[str]:
    """Paths of the code's files below `root`, with local changes and new files."""
    listed = _git(LIST, root) if (root / '.git').exists() else None
    if listed is not None:
        names = listed.decode(errors='surrogateescape').split('\0')
    else:
        found = (path.relative_to(root) for path in root.rglob('*'))
        names = [x.as_posix() for x in found if not set(_IGNORED) & set(x.parts)]
    # git also names those that were deleted.
    return sorted(name for name in set(names) if name and (root / name).is_file())


def commit(root: Path = ROOT) -> str | None:
    """The checkout's commit, with `-dirty` if files differ; None if git knows none."""
    words = ('git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*')
    return (_git(words, root) or b'').decode().strip() or None


def _git(words: Sequence[str], root: Path) -> bytes | None:
    """What git prints; None if there is no git, or it fails."""
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
