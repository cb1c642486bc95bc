"""Brings a training's results here."""

import filecmp
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fmnist_jax.cloud import failures, gcloud, job
from fmnist_jax.cloud.options import in_bucket
from fmnist_jax.cloud.runner import run, say
from fmnist_jax.cloud.source import ROOT
from fmnist_jax.cloud.vm import Vm
from fmnist_jax.errors import UserError

_CONFIG = 'config.json'
_COPY = 3600


def destination(workdir: str) -> Path:
    """Where a work folder is copied to: the same place below the checkout.

    One elsewhere (in a bucket, or not below the checkout there) comes to `runs/` and
    the last part of its name.
    """
    elsewhere = in_bucket(workdir) or workdir.startswith(('/', '~'))
    path = Path(os.path.normpath(workdir.rstrip('/')))
    if elsewhere or '..' in path.parts:
        return ROOT / 'runs' / path.name
    return ROOT / path


def fetch(machine: Vm, workdir: str) -> None:
    """Copies a work folder from worker 0, or what is small of it from a bucket.

    Raises:
      UserError: it cannot be had, or another run is in its place here.
    """
    target = destination(workdir)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it is put there at once.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix='.') as name:
        folder = Path(name)
        if in_bucket(workdir):
            _fetch_from_bucket(folder, workdir, target)
        else:
            _fetch_from_disk(machine, folder, workdir, target)


def _fetch_from_bucket(folder: Path, workdir: str, target: Path) -> None:
    fetched = folder / 'results'
    fetched.mkdir()
    done = run(gcloud.copy_from_bucket(workdir, str(fetched)), _COPY)
    if done.code:  # They are safe there.
        say(str(failures.explain(f'copy {workdir}', done.errors)))
        return
    _check_same_run(fetched, target)
    # Checkpoints may have been copied to it.
    shutil.copytree(fetched, target, dirs_exist_ok=True)
    say(f'results: {target} (checkpoints: {workdir.rstrip("/")}/checkpoints)')


def _fetch_from_disk(machine: Vm, folder: Path, workdir: str, target: Path) -> None:
    reply, done = machine.ask(job.pack(workdir))
    if reply is None:
        raise failures.explain('pack the results', done.errors)
    if not reply['packed']:
        say(f'there is no work folder {workdir} on worker 0: no results')
        return
    archive = folder / 'results.tar.gz'
    machine.copy_results(archive)
    unpack(archive, folder)
    fetched = folder / 'results'
    _check_same_run(fetched, target)
    if target.exists():
        # An earlier state of it.
        target.replace(folder / 'before')
    fetched.replace(target)
    say(f'results: {target}')


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks an archive of plain files and folders.

    Raises:
      UserError: it holds something else, or what would not be in the folder.
    """
    with tarfile.open(archive) as opened:
        # Python has no filters before 3.11.4.
        opened.extraction_filter = getattr(tarfile, 'data_filter', None)
        opened.extractall(folder, members=_plain_members(opened))


def _plain_members(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in opened:
        path = PurePosixPath(member.name)
        is_plain = member.isreg() or member.isdir()
        if not is_plain or path.is_absolute() or '..' in path.parts:
            raise UserError(
                f'the results hold {member.name!r}, which is no file or folder of a '
                'work folder; nothing of them is kept'
            )
        yield member


def _check_same_run(fetched: Path, target: Path) -> None:
    """Checks that nothing is in the place of the results but an earlier state of them.

    Raises:
      UserError: there is.
    """
    configs = (fetched / _CONFIG, target / _CONFIG)
    same = all(x.exists() for x in configs) and filecmp.cmp(*configs, False)
    if target.exists() and not same:
        raise UserError(
            f'{target} is another run; move it away, then the same command fetches '
            'the results'
        )
