"""The IDX file format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/).

An IDX file is a big-endian header (two zero bytes, a byte for the element type, a byte
for the number of dimensions, each dimension as uint32) followed by the elements.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Integer, UInt8

from fmnist_jax.errors import UserError

# The byte of a header that says how elements are stored.
_TYPE_CODES = MappingProxyType(
    {'uint8': 0x08, 'int8': 0x09, 'int16': 0x0B, 'int32': 0x0C}
)
PIXEL_TYPES = ('uint8',)
LABEL_TYPES = ('uint8', 'int8', 'int16', 'int32')
# Headers may claim anything; no more than this is read (MNIST-like sets are 47 MB).
MAX_BYTES = 2**33
# Nor this many times a compressed file's own size, beyond so many bytes: a file of 8 MB
# can hold 8 GB of zeros. Images and labels are compressed 2 to 5 times.
_MAX_COMPRESSION = 100
_ALWAYS_EXPANDED = 2**26
# No more is possible: "Maximum Compression Factor", https://zlib.net/zlib_tech.html.
_DEFLATE_LIMIT = 1032
_BLOCK = 2**16


def _header(array: Integer[np.ndarray, '...']) -> bytes:
    code, shape = _TYPE_CODES[array.dtype.name], array.shape
    return struct.pack(f'>HBB{len(shape)}I', 0, code, len(shape), *shape)


def _elements(array: Integer[np.ndarray, '...']) -> memoryview:
    stored = array.astype(array.dtype.newbyteorder('>'), copy=False)
    return np.ascontiguousarray(stored).data


def encode(array: Integer[np.ndarray, '...']) -> bytes:
    """The IDX file (not compressed) that holds `array`.

    Args:
      array: of the file's own shape and one of `LABEL_TYPES`, in any byte order.
    """
    return b''.join((_header(array), _elements(array)))


def sha256(array: Integer[np.ndarray, '...']) -> str:
    """The SHA-256 of what `encode` gives."""
    digest = hashlib.sha256(_header(array))
    digest.update(_elements(array))
    return digest.hexdigest()


def holds(checksum: str, images: UInt8[np.ndarray, 'n h w c']) -> bool:
    """Whether `checksum` is that of an IDX file of these images.

    A file of images of one channel may leave out the channel dimension.
    """
    if images.shape[-1] == 1 and sha256(images[..., 0]) == checksum:
        return True
    return sha256(images) == checksum


class _Header(NamedTuple):
    """What the start of a file says of the rest."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def length(self) -> int:
        """Bytes of the header itself."""
        return 4 + 4 * len(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(
    path: epath.Path, types: tuple[str, ...], dimensions: tuple[int, ...]
) -> Integer[np.ndarray, '...']:
    """Reads one IDX file, gzip-compressed or not.

    Memory is taken for the elements once, and only if the file can hold as many as its
    header says: 8 GiB at the most and, of a compressed file, 64 MiB or 100 times its
    size.

    Args:
      path: the file; a name ending in `.gz` is decompressed.
      types: the element types that are accepted, of `LABEL_TYPES`.
      dimensions: the numbers of dimensions that are accepted.

    Returns:
      An array of the file's shape and element type, in this machine's byte order.

    Raises:
      UserError: the file cannot be read, is not such an IDX file, holds more or fewer
        bytes than its header says, or claims more than is read.
    """
    # Opening a pipe would wait for its writer.
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f'{path} cannot be read: not a regular file')
    try:
        with path.open('rb') as raw:
            size = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            is_compressed = path.suffix == '.gz'
            file = gzip.GzipFile(fileobj=raw) if is_compressed else raw
            header = _read_header(file, path, types, dimensions)
            check = _check_compressed if is_compressed else _check_plain
            check(path, header, size)
            return _read_elements(file, path, header)
    except MemoryError as error:
        raise UserError(f'{path}: there is no memory for what it holds') from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f'{path} cannot be read: {error}') from error


def _read_header(
    file, path: epath.Path, types: tuple[str, ...], dimensions: tuple[int, ...]
) -> _Header:
    start = file.read(4)
    valid = {
        struct.pack('>HBB', 0, _TYPE_CODES[t], d): np.dtype(t)
        for t in types
        for d in dimensions
    }
    if start not in valid:
        expected = ' or '.join(f'0x{v.hex()}' for v in valid)
        raise UserError(
            f'{path} is not the IDX file it should be: magic number 0x{start.hex()}, '
            f'expected {expected}'
        )
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise UserError(f'{path} is truncated: it ends within its header')
    header = _Header(struct.unpack(f'>{start[3]}I', sizes), valid[start])
    # NumPy multiplies the other sizes even where one is 0.
    most = math.prod(max(1, s) for s in header.shape) * header.dtype.itemsize
    if most > MAX_BYTES:
        raise UserError(f'{path}: its header claims {header.shape}, more than 8 GiB')
    return header


def _check_plain(path: epath.Path, header: _Header, size: int) -> None:
    if size != header.length + header.num_bytes:
        raise _wrong_length(path, header, size - header.length)


def _check_compressed(path: epath.Path, header: _Header, size: int) -> None:
    if header.num_bytes > size * _DEFLATE_LIMIT:
        raise _wrong_length(path, header, size * _DEFLATE_LIMIT, 'no more than ')
    if header.num_bytes > max(size * _MAX_COMPRESSION, _ALWAYS_EXPANDED):
        raise UserError(
            f'{path}: its header claims {header.shape}, over {_MAX_COMPRESSION} times '
            'as many bytes as the compressed file has; if that is right, decompress it'
        )


def _read_elements(file, path: epath.Path, header: _Header) -> np.ndarray:
    array = np.empty(header.shape, header.dtype.newbyteorder('>'))
    content, held = memoryview(array.reshape(-1).view(np.uint8)), 0
    while count := file.readinto(content[held : held + _BLOCK]):
        held += count
    if held < header.num_bytes:
        raise _wrong_length(path, header, held)
    # Of a compressed file, this also compares the checksum.
    if file.read(1):
        raise _wrong_length(path, header, held + 1, 'at least ')
    if array.dtype != header.dtype:
        # A copy would take as much memory once more.
        array = array.byteswap(inplace=True).view(header.dtype)
    return array


def _wrong_length(
    path: epath.Path, header: _Header, held: int, bound: str = ''
) -> UserError:
    problem = 'is truncated' if held < header.num_bytes else 'is too long'
    return UserError(
        f'{path} {problem}: its header says {header.shape}, {header.num_bytes} bytes, '
        f'and it holds {bound}{held}'
    )
