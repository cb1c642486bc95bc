"""Files of known size and SHA-256, fetched from a server that is not trusted."""

import functools
import hashlib
import http.client
import threading
import time
import urllib.request
from concurrent.futures import Future
from typing import NamedTuple

from etils import epath
from tqdm import tqdm

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import one_line

# Until a server answers, or sends some more.
_SILENCE_SECONDS = 10.0
# A file may take this long, and then a second for each so many bytes: what is slower
# does not end.
_START_SECONDS = 60.0
_SLOWEST = 10_000
_BLOCK = 2**16
# What http.client and urllib raise; ValueError for addresses that are none.
_BROKEN = (OSError, http.client.HTTPException, ValueError)


class DownloadError(Exception):
    """Why there is no file, in one line."""


class Expected(NamedTuple):
    """A file on a server.

    Attributes:
      url: of it.
      size: in bytes.
      sha256: of its content.
    """

    url: str
    size: int
    sha256: str


def read_expected(path: epath.Path) -> dict[str, Expected]:
    """Reads a table of files, by their addresses.

    Args:
      path: lines of address, size, SHA-256 and name, with tabs between them, as
        tensorflow-datasets keeps them.
    """
    rows = (line.split('\t') for line in path.read_text().splitlines())
    return {url: Expected(url, int(size), sha256) for url, size, sha256, _ in rows}


def download(expected: Expected, path: epath.Path) -> None:
    """Fetches a file, unless it is there.

    No more is read than the file has, and what is not the file is not written. A
    server that is silent, slow or without end is given up.

    Args:
      expected: the file. A redirection is followed: the content is what counts.
      path: where to write it.

    Raises:
      DownloadError: the server does not answer, or sends something else.
      UserError: the file cannot be written.
    """
    if _is_there(expected, path):
        return
    future: Future[bytes] = Future()
    seconds = _START_SECONDS + expected.size / _SLOWEST
    deadline = time.monotonic() + seconds
    # A server may send its header a byte at a time, which only a thread can outlast.
    target = functools.partial(_run, future, expected, deadline)
    threading.Thread(target=target, daemon=True).start()
    try:
        content = future.result(seconds)
    except TimeoutError as error:
        raise _too_slow() from error
    workdir_lib.write_bytes(path, content)


def _is_there(expected: Expected, path: epath.Path) -> bool:
    # What else stands there, such as a pipe, is not opened.
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return _sha256(file.read(expected.size + 1)) == expected.sha256


def _run(future: 'Future[bytes]', expected: Expected, deadline: float) -> None:
    try:
        future.set_result(_fetch(expected, deadline))
    except Exception as error:
        future.set_exception(error)


def _fetch(expected: Expected, deadline: float) -> bytes:
    try:
        response = urllib.request.urlopen(expected.url, timeout=_SILENCE_SECONDS)
    except _BROKEN as error:
        raise DownloadError(f'does not answer ({one_line(error)})') from error
    try:
        with response:
            content = _receive(response, expected, deadline)
    except _BROKEN as error:
        raise _failed(one_line(error)) from error
    if len(content) != expected.size:
        held = 'more' if len(content) > expected.size else f'{len(content):,} bytes'
        raise _failed(f'{held} instead of {expected.size:,} bytes')
    if _sha256(content) != expected.sha256:
        raise _failed(f'SHA-256 {_sha256(content)}, expected {expected.sha256}')
    return content


def _receive(
    response: http.client.HTTPResponse, expected: Expected, deadline: float
) -> bytes:
    """What a server sends, up to one block more than the file has."""
    content = bytearray()
    # A bar on a terminal only.
    bar = tqdm(
        total=expected.size, unit='B', unit_scale=True, leave=False, disable=None
    )
    with bar:
        while block := response.read1(_BLOCK):
            content += block
            bar.update(len(block))
            if len(content) > expected.size:
                break
            if time.monotonic() > deadline:
                raise _too_slow()
    return bytes(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _failed(reason: str) -> DownloadError:
    return DownloadError(f'download failed ({reason})')


def _too_slow() -> DownloadError:
    return _failed(f'slower than {_SLOWEST:,} bytes a second')
