"""Compiles kernels.c for this machine, once, and tells XLA of what is in it."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import jax

from fmnist_jax.errors import one_line

_SOURCE = Path(__file__).with_name('kernels.c')
# The functions of kernels.c: their names are also those that XLA calls them by.
TARGETS = (
    'fmnist_jax_convolution',
    'fmnist_jax_convolution_images_gradient',
    'fmnist_jax_convolution_kernel_gradient',
    'fmnist_jax_max_pool',
    'fmnist_jax_max_pool_gradient',
)
_FLAGS = ('-std=gnu11', '-O3', '-fPIC', '-shared')
# For the processor at hand; not all compilers know both, or either.
_PROCESSOR_FLAGS = (('-march=native',), ('-mcpu=native',), ())


class UnavailableError(Exception):
    """There are no kernels; the message says why, and what to do."""


def are_available() -> bool:
    """Whether XLA can call the kernels; compiles them if they are not."""
    return why_not() is None


def why_not() -> str | None:
    """Why there are no kernels; None if there are, compiled and known to XLA.

    `FMNIST_JAX_KERNELS=0` in the environment turns them off. The answer is kept.
    """
    with _LOCK:
        return _why_not()


# Functions may be traced in several threads.
_LOCK = threading.Lock()


@functools.cache
def _why_not() -> str | None:
    if os.environ.get('FMNIST_JAX_KERNELS') == '0':
        return 'FMNIST_JAX_KERNELS=0'
    try:
        library = _load(f'kernels-{_fingerprint()}')
    except (UnavailableError, OSError) as error:
        return one_line(error)
    for target in TARGETS:
        function = jax.ffi.pycapsule(getattr(library, target))
        jax.ffi.register_ffi_target(target, function, platform='cpu')
    return None


def cache_folder() -> Path:
    """The user's cache for what is compiled: `~/.cache/fmnist_jax` by default."""
    home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return Path(home) / 'fmnist_jax'


def _fingerprint() -> str:
    """Of all that the compiled file depends on, but the compiler's version."""
    header = Path(jax.ffi.include_dir()) / 'xla/ffi/api/c_api.h'
    settings = (_processor(), os.environ.get('CC'), _FLAGS, _PROCESSOR_FLAGS)
    parts = [_SOURCE.read_bytes(), header.read_bytes(), repr(settings).encode()]
    return _digest(b'\0'.join(parts))


def _processor() -> str:
    """What tells processors with other instructions apart."""
    names = [platform.system(), platform.machine(), platform.processor()]
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
        wanted = ('model name', 'flags', 'Features')
        names += sorted({line for line in file if line.startswith(wanted)})
    return '\n'.join(names)


def _load(name: str) -> ctypes.CDLL:
    """What was compiled before, or else now."""
    folder = cache_folder()
    for path in folder.glob(f'{name}-*.so'):
        # Others may remove it meanwhile, or own it.
        with contextlib.suppress(OSError):
            # Loading half a file would end the process.
            if path.stem == f'{name}-{_digest(path.read_bytes())}':
                return ctypes.CDLL(os.fspath(path))
            path.unlink()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        return _compile(folder, name)
    # Once loaded it needs no name; it is compiled at each start.
    with tempfile.TemporaryDirectory() as temporary:
        return _compile(Path(temporary), name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _compile(folder: Path, name: str) -> ctypes.CDLL:
    """Compiles and loads; the file appears whole, with its checksum, or not at all."""
    # Two processes, on one machine or two, may do so at once.
    handle, part_name = tempfile.mkstemp(dir=folder, prefix=name, suffix='.part')
    os.close(handle)
    part = Path(part_name)
    include = f'-I{jax.ffi.include_dir()}'
    message = 'none was found'
    try:
        for compiler, flags in itertools.product(_compilers(), _PROCESSOR_FLAGS):
            command = [*compiler, *_FLAGS, *flags, include, '-o', part, _SOURCE]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
                library = ctypes.CDLL(os.fspath(part))
            except subprocess.CalledProcessError as error:
                lines = error.stderr.strip().splitlines()
                message = lines[-1] if lines else one_line(error)
            except OSError as error:
                message = one_line(error)
            else:
                os.replace(part, folder / f'{name}-{_digest(part.read_bytes())}.so')
                return library
    finally:
        part.unlink(missing_ok=True)
    raise UnavailableError(
        f'there is no C compiler that works ({message}); on Debian or Ubuntu: '
        'apt-get install gcc libc6-dev, elsewhere: pip install ziglang'
    )


def _compilers() -> Iterator[list[str]]:
    """Commands that compile C: `CC`, the system's, the one of the package ziglang."""
    if os.environ.get('CC'):
        yield shlex.split(os.environ['CC'])
        return
    for name in ('cc', 'gcc', 'clang'):
        if found := shutil.which(name):
            yield [found]
    if importlib.util.find_spec('ziglang'):
        yield [sys.executable, '-m', 'ziglang', 'cc']
