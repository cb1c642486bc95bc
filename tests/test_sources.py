"""Where the data come from: the data set's server, the Debian package, a folder.

The server is stood in for by tests/servers.py, the package by an `apt-get` that hands
out a package of the real files.
"""

import dataclasses
import functools
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from fmnist_jax.data import sources
from fmnist_jax.data.registry import FASHION_MNIST, DatasetSpec
from fmnist_jax.errors import UserError
from tests import idx_files
from tests.servers import official_files, serve, use_proxy

NOWHERE = dataclasses.replace(
    FASHION_MNIST, package_folder='/nonexistent', package='no-such-package'
)


@pytest.fixture
def official() -> dict[str, bytes]:
    """The files of the data set's server, by their addresses."""
    return official_files()


@pytest.fixture
def unreachable(monkeypatch) -> None:
    """No connection to the server: nobody listens at this port."""
    use_proxy(monkeypatch, 9)


def obtain(
    spec: DatasetSpec, data_dir: Path
) -> tuple[dict[str, np.ndarray], str, list[str]]:
    log = []
    found, source = sources.obtain(spec, epath.Path(data_dir), log.append)
    assert all('\n' not in line for line in log)
    return found.arrays, source, log


@functools.cache
def real() -> dict[str, np.ndarray]:
    return idx_files.parse_real()


def assert_real(arrays: dict[str, np.ndarray]) -> None:
    for key, expected in real().items():
        np.testing.assert_array_equal(arrays[key].squeeze(), expected)


def test_server_serves_the_official_files(official, tmp_path, monkeypatch):
    with serve(official, monkeypatch) as requests:
        arrays, source, log = obtain(FASHION_MNIST, tmp_path)
    assert source == f'server {FASHION_MNIST.url}'
    assert not log
    assert_real(arrays)
    assert {url for method, url in requests if method == 'GET'} == set(official)


def test_files_once_downloaded_are_not_downloaded_again(
    official, tmp_path, monkeypatch
):
    with serve(official, monkeypatch) as requests:
        obtain(FASHION_MNIST, tmp_path)
        requests.clear()
        arrays, _, _ = obtain(FASHION_MNIST, tmp_path)
    assert not [url for method, url in requests if method == 'GET']
    assert_real(arrays)


@pytest.mark.parametrize(
    'change',
    [
        lambda b: b[:3000] + bytes([b[3000] ^ 1]) + b[3001:],
        lambda b: b[:3000],
        lambda b: b'<html>Please log in to this network.</html>',
        lambda b: b'',
    ],
    ids=['one bit', 'cut', 'a web page', 'empty'],
)
def test_corrupted_download_falls_back_to_the_package(
    official, tmp_path, monkeypatch, change
):
    url = f'{FASHION_MNIST.url}{idx_files.FILE_NAMES["test_labels"]}.gz'
    with serve(official | {url: change(official[url])}, monkeypatch):
        arrays, source, (line,) = obtain(FASHION_MNIST, tmp_path)
    assert source.startswith(f'Debian package {FASHION_MNIST.package}')
    assert FASHION_MNIST.url in line
    assert 'download failed' in line
    assert_real(arrays)


def test_corrupted_download_does_not_hinder_a_later_good_one(
    official, tmp_path, monkeypatch
):
    url = f'{FASHION_MNIST.url}{idx_files.FILE_NAMES["test_labels"]}.gz'
    with serve(official | {url: official[url][:-1] + b'x'}, monkeypatch):
        _, source, _ = obtain(FASHION_MNIST, tmp_path)
        assert source.startswith('Debian package')
    with serve(official, monkeypatch):
        arrays, source, _ = obtain(FASHION_MNIST, tmp_path)
    assert source.startswith('server')
    assert_real(arrays)


def test_what_stands_in_a_download_s_place_leads_to_the_package(
    official, tmp_path, monkeypatch
):
    name = f'{idx_files.FILE_NAMES["test_labels"]}.gz'
    (tmp_path / 'downloads' / FASHION_MNIST.name / name).mkdir(parents=True)
    with serve(official, monkeypatch):
        arrays, source, (line,) = obtain(FASHION_MNIST, tmp_path)
    assert source.startswith('Debian package')
    assert name in line
    assert_real(arrays)


def test_server_without_the_files_falls_back_to_the_package(tmp_path, monkeypatch):
    with serve({}, monkeypatch):
        arrays, source, (line,) = obtain(FASHION_MNIST, tmp_path)
    assert source.startswith('Debian package')
    assert f'{FASHION_MNIST.url} does not answer (HTTP Error 404: Not Found)' in line
    assert_real(arrays)


@pytest.mark.usefixtures('unreachable')
def test_unreachable_server_falls_back_to_the_package(tmp_path):
    folder = idx_files.real_folder()
    arrays, source, (line,) = obtain(FASHION_MNIST, tmp_path)
    assert source == f'Debian package {FASHION_MNIST.package} ({folder})'
    assert f'{FASHION_MNIST.url} does not answer' in line
    assert_real(arrays)


@pytest.mark.usefixtures('unreachable')
def test_no_source_at_all_names_all_three_ways(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    log = []
    with pytest.raises(UserError) as caught:
        sources.obtain(NOWHERE, epath.Path(tmp_path), log.append)
    message = str(caught.value)
    assert '\n' not in message
    assert FASHION_MNIST.url in message
    assert 'apt-get install no-such-package' in message
    assert '--config.data.idx_dir' in message
    assert len(log) == 2
    assert 'does not answer' in log[0]
    assert 'no apt-get' in log[1]


@pytest.mark.usefixtures('unreachable')
def test_installed_package_with_a_damaged_file_is_not_used(tmp_path, monkeypatch):
    folder = tmp_path / 'installed'
    shutil.copytree(idx_files.real_folder(), folder)
    damaged = folder / f'{idx_files.FILE_NAMES["train_images"]}.gz'
    content = bytearray(damaged.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    spec = dataclasses.replace(FASHION_MNIST, package_folder=str(folder))
    log = []
    with pytest.raises(UserError, match='no source of fashion_mnist'):
        sources.obtain(spec, epath.Path(tmp_path / 'data'), log.append)
    assert str(damaged) in log[-1]


class StandInApt:
    """An `apt-get` first on the PATH, which notes how it was called."""

    def __init__(self, folder: Path, script: str, monkeypatch):
        folder.mkdir()
        self._calls = folder / 'calls'
        path = folder / 'apt-get'
        path.write_text(f'#!/bin/sh\necho "$@" >> {self._calls}\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture(scope='module')
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSpec, Path]:
    """A small Debian package of the real files, and what is known about it."""
    if shutil.which('dpkg-deb') is None:
        pytest.skip('needs dpkg-deb')
    tree = tmp_path_factory.mktemp('package') / 'tree'
    shutil.copytree(idx_files.real_folder(), tree / 'opt' / 'stand-in' / 'files')
    (tree / 'DEBIAN').mkdir()
    (tree / 'DEBIAN' / 'control').write_text(
        'Package: stand-in\nVersion: 1\nArchitecture: all\n'
        'Maintainer: Nobody <nobody@example.org>\nDescription: stand-in\n'
    )
    archive = tree.parent / 'stand-in_1_all.deb'
    command = ('dpkg-deb', '-Znone', '--root-owner-group', '--build', tree, archive)
    subprocess.run(command, check=True, capture_output=True)
    spec = dataclasses.replace(
        FASHION_MNIST, package='stand-in', package_folder='/opt/stand-in/files'
    )
    return spec, archive


@pytest.mark.usefixtures('unreachable')
def test_package_is_unpacked_where_it_cannot_be_installed(
    package, tmp_path, monkeypatch
):
    spec, archive = package
    apt = StandInApt(tmp_path / 'bin', f'cp {archive} .', monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    data_dir = tmp_path / 'data'
    arrays, source, _ = obtain(spec, data_dir)
    unpacked = data_dir / 'packages' / 'stand-in' / 'opt' / 'stand-in' / 'files'
    assert source == f'Debian package stand-in ({unpacked})'
    assert len(list(unpacked.glob('*.gz'))) == 4
    assert [path.name for path in (data_dir / 'packages').iterdir()] == ['stand-in']
    assert apt.calls == ['--quiet download stand-in']
    assert_real(arrays)

    arrays, _, _ = obtain(spec, data_dir)
    assert len(apt.calls) == 1, 'unpacked once, used again'
    assert_real(arrays)


@pytest.mark.usefixtures('unreachable')
def test_package_is_installed_by_root(package, tmp_path, monkeypatch):
    spec, archive = package
    folder = tmp_path / 'root' / 'opt' / 'stand-in' / 'files'
    apt = StandInApt(
        tmp_path / 'bin', f'dpkg-deb --extract {archive} {tmp_path}/root', monkeypatch
    )
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    spec = dataclasses.replace(spec, package_folder=str(folder))
    arrays, source, _ = obtain(spec, tmp_path / 'data')
    assert source == f'Debian package stand-in ({folder})'
    assert apt.calls == ['--quiet install --yes --no-install-recommends stand-in']
    assert_real(arrays)


@pytest.mark.usefixtures('unreachable')
def test_root_updates_the_lists_of_packages_and_tries_again(
    package, tmp_path, monkeypatch
):
    spec, archive = package
    folder = tmp_path / 'root' / 'opt' / 'stand-in' / 'files'
    script = f"""
    if [ "$2" = update ]; then touch {tmp_path}/updated
    elif [ -e {tmp_path}/updated ]; then dpkg-deb --extract {archive} {tmp_path}/root
    else echo 'E: Unable to locate package stand-in' >&2; exit 100; fi"""
    apt = StandInApt(tmp_path / 'bin', script, monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    spec = dataclasses.replace(spec, package_folder=str(folder))
    arrays, _, _ = obtain(spec, tmp_path / 'data')
    assert [call.split()[1] for call in apt.calls] == ['install', 'update', 'install']
    assert_real(arrays)


@pytest.mark.usefixtures('unreachable')
def test_who_is_not_root_updates_lists_of_their_own_and_tries_again(
    package, tmp_path, monkeypatch
):
    spec, archive = package
    script = f"""
    if [ "$2" = update ]; then touch {tmp_path}/updated
    elif [ -e {tmp_path}/updated ]; then cp {archive} .
    else echo 'E: Unable to locate package stand-in' >&2; exit 100; fi"""
    apt = StandInApt(tmp_path / 'bin', script, monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    arrays, _, _ = obtain(spec, tmp_path / 'data')
    assert [call.split()[1] for call in apt.calls] == ['download', 'update', 'download']
    folder = f'{tmp_path}/data/packages/'
    for call in apt.calls[1:]:
        assert f'-oDir::State::Lists={folder}' in call
    assert_real(arrays)


@pytest.mark.parametrize('user', [0, 1000], ids=['root', 'user'])
@pytest.mark.parametrize(
    'script',
    [
        'echo "E: Unable to locate package" >&2; exit 100',
        r'printf "\\351\\n" >&2; exit 100',
        'exit 1',
        'true',
    ],
    ids=['unknown', 'not UTF-8', 'silent', 'does nothing'],
)
@pytest.mark.usefixtures('unreachable')
def test_package_that_apt_does_not_give_names_all_three_ways(
    tmp_path, monkeypatch, user, script
):
    StandInApt(tmp_path / 'bin', script, monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: user)
    log = []
    with pytest.raises(UserError, match='Do one of these'):
        sources.obtain(NOWHERE, epath.Path(tmp_path / 'data'), log.append)
    assert len(log) == 2
    assert not list((tmp_path / 'data').glob('packages/*'))


@pytest.mark.usefixtures('unreachable')
def test_package_that_is_damaged_names_all_three_ways(tmp_path, monkeypatch):
    StandInApt(tmp_path / 'bin', 'echo rubbish > x_1_all.deb', monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    log = []
    with pytest.raises(UserError, match='Do one of these'):
        sources.obtain(NOWHERE, epath.Path(tmp_path / 'data'), log.append)
    assert 'dpkg-deb' in log[-1]
    assert not list((tmp_path / 'data').glob('packages/*'))


def test_a_data_set_that_no_one_serves_names_the_ways_there_are(tmp_path):
    spec = dataclasses.replace(FASHION_MNIST, url=None, package=None)
    with pytest.raises(UserError, match=r'Do one of these: \(1\) put the four IDX'):
        sources.obtain(spec, epath.Path(tmp_path), lambda message: None)


def deb(archive: Path, add: Callable[[tarfile.TarFile], None]) -> None:
    """A Debian package of any entries, as deb(5) has it: an ar archive of three."""

    def tar(fill: Callable[[tarfile.TarFile], None]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode='w') as file:
            fill(file)
        return buffer.getvalue()

    def add_control(file: tarfile.TarFile) -> None:
        content = (
            b'Package: stand-in\nVersion: 1\nArchitecture: all\n'
            b'Maintainer: Nobody <nobody@example.org>\nDescription: stand-in\n'
        )
        add_file(file, './control', content)

    content = b'!<arch>\n'
    members = {'control.tar': tar(add_control), 'data.tar': tar(add)}
    for name, data in {'debian-binary': b'2.0\n', **members}.items():
        entry = f'{name:<16}{0:<12}{0:<6}{0:<6}{"100644":<8}{len(data):<10}`\n'
        content += entry.encode() + data + b'\n' * (len(data) % 2)
    archive.write_bytes(content)


def add_file(file: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    file.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize('way', ['dots', 'root', 'link', 'hard link'])
@pytest.mark.skipif(shutil.which('dpkg-deb') is None, reason='needs dpkg-deb')
@pytest.mark.usefixtures('unreachable')
def test_a_package_writes_nothing_outside_its_folder(tmp_path, monkeypatch, way):
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'there').write_text('mine')

    def add(file: tarfile.TarFile) -> None:
        add_file(file, './opt/stand-in/inside', b'good')
        if way == 'dots':
            add_file(file, './../../../../outside/evil', b'evil')
        elif way == 'root':
            add_file(file, str(outside / 'evil'), b'evil')
        else:
            info = tarfile.TarInfo('./opt/way')
            info.type = tarfile.SYMTYPE if way == 'link' else tarfile.LNKTYPE
            info.linkname = str(outside if way == 'link' else outside / 'there')
            file.addfile(info)
            name = './opt/way/evil' if way == 'link' else './opt/way'
            add_file(file, name, b'evil')

    deb(tmp_path / 'stand-in.deb', add)
    StandInApt(tmp_path / 'bin', f'cp {tmp_path}/stand-in.deb .', monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    spec = dataclasses.replace(NOWHERE, package_folder='/opt/stand-in')
    log = []
    with pytest.raises(UserError, match='Do one of these'):
        sources.obtain(spec, epath.Path(tmp_path / 'data'), log.append)
    assert [path.name for path in outside.iterdir()] == ['there']
    assert (outside / 'there').read_text() == 'mine'
    # Or nothing would have been tried.
    unpacked = list((tmp_path / 'data').rglob('inside'))
    assert unpacked or 'dpkg-deb' in log[-1]
