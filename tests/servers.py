"""A stand-in for the data set's server: a proxy on this machine with the real files."""

import contextlib
import functools
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fmnist_jax.data.registry import FASHION_MNIST
from tests import idx_files

# The time stamps in the gzip headers of the official files.
MODIFIED = {'train': 1504176606, 't10k': 1504176627}


@functools.cache
def official_files() -> dict[str, bytes]:
    """The files as served: the package's, whose gzip headers lack name and time."""
    files = {}
    for name in idx_files.FILE_NAMES.values():
        packaged = (idx_files.real_folder() / f'{name}.gz').read_bytes()
        if packaged[3] == 8:  # Has a name: this is what the server gave.
            files[f'{FASHION_MNIST.url}{name}.gz'] = packaged
            continue
        files[f'{FASHION_MNIST.url}{name}.gz'] = (
            b'\x1f\x8b\x08\x08'
            + struct.pack('<I', MODIFIED[name[: name.index('-')]])
            + packaged[8:10]
            + name.encode()
            + b'\0'
            + packaged[10:]
        )
    return files


def answer(handler: BaseHTTPRequestHandler, content: bytes | None) -> None:
    """As a good server."""
    handler.send_response(404 if content is None else 200)
    handler.send_header('Content-Length', str(len(content or b'')))
    handler.end_headers()
    handler.wfile.write(content or b'')


@contextlib.contextmanager
def serve(
    files: dict[str, bytes], monkeypatch, respond: Callable = answer
) -> Iterator[list[tuple[str, str]]]:
    """A proxy that answers with these files; gives the requests it has had."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.command, self.path))
            # Who asked may have gone.
            with contextlib.suppress(OSError):
                respond(self, files.get(self.path))

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    use_proxy(monkeypatch, server.server_port)
    try:
        yield requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use_proxy(monkeypatch, port: int) -> None:
    monkeypatch.setenv('http_proxy', f'http://127.0.0.1:{port}')
    for variable in ('HTTP_PROXY', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(variable, raising=False)
    # urllib reads these variables once a process.
    monkeypatch.setattr(urllib.request, '_opener', None)
