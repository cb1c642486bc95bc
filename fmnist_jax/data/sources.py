"""Where the IDX files come from: the data set's server, a Debian package, a folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from etils import epath

from fmnist_jax.data import download
from fmnist_jax.data.folder import FILE_NAMES, IdxFiles, read_folder
from fmnist_jax.data.registry import DatasetSpec
from fmnist_jax.errors import UserError

_APT_SECONDS = 300


class _NotServed(Exception):
    """This source cannot serve; the next one may."""


def obtain(
    spec: DatasetSpec, data_dir: epath.Path, log: Callable[[str], None]
) -> tuple[IdxFiles, str]:
    """Fetches the four files of a registered data set.

    Tries the data set's own server, then the Debian/Ubuntu package (installed
    already, installed now as root, or unpacked into `data_dir`).

    Args:
      spec: what to fetch.
      data_dir: downloads and unpacked packages are kept below it.
      log: told, in one line, of each source that did not serve.

    Returns:
      The files' content, checked, and the source that served in words.

    Raises:
      UserError: no source serves; the message names all the ways.
    """
    for source in (_from_server, _from_package):
        try:
            folder, description = source(spec, data_dir)
            found = read_folder(folder)
            check(spec, found)
            return found, description
        except (_NotServed, UserError) as error:
            log(f'data: {error}')
    ways = (
        spec.url and f'let this machine reach {spec.url}',
        spec.package and f'on Debian or Ubuntu: apt-get install {spec.package}',
        'put the four IDX files into a folder and name it with '
        '--config.data.idx_dir=FOLDER',
    )
    numbered = (f'({i}) {way}' for i, way in enumerate(filter(None, ways), start=1))
    raise UserError(
        f'no source of {spec.name} can be reached. Do one of these: '
        f'{"; ".join(numbered)}'
    )


def check(spec: DatasetSpec, found: IdxFiles) -> None:
    """Compares the files' content with the recorded checksums.

    Raises:
      UserError: a checksum differs.
    """
    for key, expected in (spec.sha256 or {}).items():
        if found.sha256[key] != expected:
            raise UserError(
                f'{found.paths[key]} is not the file of {spec.name}: '
                f'SHA-256 {found.sha256[key]}, expected {expected} (for data of your '
                'own, choose another --config.data.name)'
            )


def _from_server(spec: DatasetSpec, data_dir: epath.Path) -> tuple[epath.Path, str]:
    if spec.url is None:
        raise _NotServed(f'{spec.name} has no server')
    known = download.read_expected(epath.Path(__file__).parent / 'checksums.tsv')
    folder = data_dir / 'downloads' / spec.name
    try:
        for name in FILE_NAMES.values():
            file = f'{name}.gz'
            download.download(known[f'{spec.url}{file}'], folder / file)
    except (download.DownloadError, UserError) as error:
        # Whatever broke the download, the package may still serve.
        raise _NotServed(f'{spec.url} {error}') from error
    return folder, f'server {spec.url}'


def _from_package(spec: DatasetSpec, data_dir: epath.Path) -> tuple[epath.Path, str]:
    if spec.package is None:
        raise _NotServed(f'{spec.name} is in no package')
    installed = epath.Path(spec.package_folder)
    unpacked = data_dir / 'packages' / spec.package
    if not installed.is_dir():
        if shutil.which('apt-get') is None:
            raise _NotServed('this is not Debian or Ubuntu (there is no apt-get)')
        if os.geteuid() == 0:
            _apt('install', '--yes', '--no-install-recommends', spec.package)
        else:
            _unpack(spec, unpacked)
            installed = unpacked / spec.package_folder.lstrip('/')
    return installed, f'Debian package {spec.package} ({installed})'


def _unpack(spec: DatasetSpec, target: epath.Path) -> None:
    """Downloads the package and unpacks it into `target`, which needs no root."""
    if (target / spec.package_folder.lstrip('/')).is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        _apt('download', spec.package, cwd=temporary)
        archives = list(epath.Path(temporary).glob('*.deb'))
        if not archives:
            raise _NotServed(f'apt-get download {spec.package} left no package')
        _run('dpkg-deb', '--extract', str(archives[0]), f'{temporary}/unpacked')
        shutil.rmtree(target, ignore_errors=True)
        os.replace(f'{temporary}/unpacked', target)


def _apt(*arguments: str, cwd: str | None = None) -> None:
    """Runs apt-get; if that fails, updates its lists of packages and tries again.

    Who is not root keeps lists of their own, below `cwd`.
    """
    own_lists: tuple[str, ...] = ()
    if os.geteuid() != 0:
        for name in ('lists', 'cache'):
            (epath.Path(cwd) / name / 'partial').mkdir(parents=True, exist_ok=True)
        own_lists = (
            '-oDebug::NoLocking=1',
            f'-oDir::State::Lists={cwd}/lists',
            f'-oDir::Cache={cwd}/cache',
        )
    try:
        _run('apt-get', '--quiet', *arguments, cwd=cwd)
    except _NotServed:
        _run('apt-get', '--quiet', 'update', *own_lists)
        _run('apt-get', '--quiet', *arguments, *own_lists, cwd=cwd)


def _run(*command: str, cwd: str | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            check=False,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=_APT_SECONDS,
            env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NotServed(f'{" ".join(command)}: {error}') from error
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise _NotServed(f'{" ".join(command)} failed: {" ".join(reason)}')
