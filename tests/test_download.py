"""One file from a server: checked, and given up where it does not come."""

import gzip
import hashlib
import time
from http.server import BaseHTTPRequestHandler

import pytest
from etils import epath

from fmnist_jax.data import download
from fmnist_jax.data.download import Expected
from fmnist_jax.data.registry import FASHION_MNIST
from tests import idx_files
from tests.conftest import ROOT
from tests.servers import answer, official_files, serve

# The smallest of the four.
FILE = f'{idx_files.FILE_NAMES["test_labels"]}.gz'


@pytest.fixture
def official() -> dict[str, bytes]:
    """The files of the data set's server, by their addresses."""
    return official_files()


def test_recorded_checksums_are_those_of_the_official_files(official):
    path = ROOT / 'fmnist_jax' / 'data' / 'checksums.tsv'
    lines = [line.split('\t') for line in path.read_text().splitlines()]
    recorded = {url: (int(size), sha256) for url, size, sha256, _ in lines}
    assert recorded == {
        url: (len(content), hashlib.sha256(content).hexdigest())
        for url, content in official.items()
    }


@pytest.fixture
def expected(official) -> Expected:
    url = f'{FASHION_MNIST.url}{FILE}'
    content = official[url]
    return Expected(url, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Seconds become tenths."""
    monkeypatch.setattr(download, '_SILENCE_SECONDS', 0.4)
    monkeypatch.setattr(download, '_START_SECONDS', 1.0)
    monkeypatch.setattr(download, '_SLOWEST', 10**6)


def drip(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """A byte now and then, never silent for long."""
    for i in range(200):
        handler.wfile.write(content[i : i + 1])
        handler.wfile.flush()
        time.sleep(0.1)


def drip_content(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header('Content-Length', str(len(content)))
    handler.end_headers()
    drip(handler, content)


def drip_header(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    drip(handler, b'HTTP/1.1 200 OK\r\nX-Header: ' + bytes(200))


def say_nothing(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    time.sleep(3)


def stop_half_way(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header('Content-Length', str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:1000])
    handler.wfile.flush()
    time.sleep(3)


def hang_up(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header('Content-Length', str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:1000])


def never_end(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """The file, and then zeros, whatever was announced."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content)
    while True:
        handler.wfile.write(bytes(2**16))


def bomb(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """As many bytes as the file has; decompressed, very many."""
    packed = gzip.compress(bytes(1000 * len(content)))[: len(content)]
    answer(handler, packed.ljust(len(content), b'\0'))


def encode(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Compressed once more on the way, as a server may that expands to gigabytes."""
    handler.send_response(200)
    handler.send_header('Content-Encoding', 'gzip')
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(gzip.compress(bytes(2**24)))


def redirect_for_ever(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(302)
    handler.send_header('Location', handler.path)
    handler.end_headers()


def redirect_to_a_file(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(302)
    handler.send_header('Location', 'file:///etc/passwd')
    handler.end_headers()


def redirect_to_no_address(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(302)
    handler.send_header('Location', 'http://[')
    handler.end_headers()


def talk_nonsense(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.wfile.write(b'\x15\x03\x01\x00\x02\x02\x16\r\n\r\n')


BAD_SERVERS = {
    drip_content: 'slower than',
    drip_header: 'slower than',
    say_nothing: 'does not answer (timed out)',
    stop_half_way: 'timed out',
    hang_up: '1,000 bytes instead of 5,148 bytes',
    never_end: 'more instead of 5,148 bytes',
    bomb: 'SHA-256',
    encode: 'more instead of 5,148 bytes',
    redirect_for_ever: 'does not answer',
    redirect_to_a_file: 'does not answer',
    redirect_to_no_address: 'does not answer',
    talk_nonsense: 'does not answer',
}


@pytest.mark.parametrize('respond', BAD_SERVERS)
@pytest.mark.usefixtures('impatient')
def test_a_bad_server_is_given_up_and_leaves_nothing(
    official, expected, tmp_path, monkeypatch, respond
):
    started = time.monotonic()
    path = epath.Path(tmp_path) / 'downloads' / FILE
    with serve(official, monkeypatch, respond):
        with pytest.raises(download.DownloadError) as caught:
            download.download(expected, path)
        assert time.monotonic() - started < 2.5
    assert BAD_SERVERS[respond] in str(caught.value)
    assert '\n' not in str(caught.value)
    assert not list(tmp_path.rglob('*.gz'))


def test_a_redirection_is_followed_to_the_right_bytes(
    official, expected, tmp_path, monkeypatch
):
    def redirect(handler: BaseHTTPRequestHandler, content: bytes | None) -> None:
        if content is None:
            answer(handler, official[expected.url])
        else:
            handler.send_response(301)
            handler.send_header('Location', 'http://elsewhere.example/labels.gz')
            handler.end_headers()

    path = epath.Path(tmp_path) / FILE
    with serve(official, monkeypatch, redirect) as requests:
        download.download(expected, path)
    assert [url for _, url in requests] == [
        expected.url,
        'http://elsewhere.example/labels.gz',
    ]
    assert path.read_bytes() == official[expected.url]


def test_a_link_in_the_data_folder_is_replaced_not_followed(
    official, expected, tmp_path, monkeypatch
):
    (tmp_path / 'precious').write_text('mine')
    (tmp_path / FILE).symlink_to('precious')
    with serve(official, monkeypatch):
        download.download(expected, epath.Path(tmp_path) / FILE)
    assert (tmp_path / 'precious').read_text() == 'mine'
    assert (tmp_path / FILE).read_bytes() == official[expected.url]
