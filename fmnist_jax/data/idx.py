"""The IDX file format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/).

An IDX file is a big-endian header (two zero bytes, a byte for the element type, a byte
for the number of dimensions, each dimension as uint32) followed by the elements.
"""

import gzip
import hashlib
import math
import struct
import zlib
from types import MappingProxyType

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
_MAX_BYTES = 2**33


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


def read(
    path: epath.Path, types: tuple[str, ...], dimensions: tuple[int, ...]
) -> Integer[np.ndarray, '...']:
    """Reads one IDX file, gzip-compressed or not.

    Args:
      path: the file; a name ending in `.gz` is decompressed.
      types: the element types that are accepted, of `LABEL_TYPES`.
      dimensions: the numbers of dimensions that are accepted.

    Returns:
      An array of the file's shape and element type, in this machine's byte order.

    Raises:
      UserError: the file cannot be read, is not such an IDX file, or holds more or
        fewer bytes than its header says.
    """
    try:
        with path.open('rb') as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == '.gz' else raw
            return _read(file, path, types, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f'{path} cannot be read: {error}') from error


def _read(
    file, path: epath.Path, types: tuple[str, ...], dimensions: tuple[int, ...]
) -> np.ndarray:
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
    shape, dtype = struct.unpack(f'>{start[3]}I', sizes), valid[start]
    expected_bytes = math.prod(shape) * dtype.itemsize
    if expected_bytes > _MAX_BYTES:
        raise UserError(f'{path}: its header claims {shape}, more than 8 GiB')
    # One byte more than expected tells a file that is too long.
    content = file.read(expected_bytes + 1)
    if len(content) != expected_bytes:
        problem = 'is truncated' if len(content) < expected_bytes else 'is too long'
        raise UserError(
            f'{path} {problem}: its header says {shape}, {expected_bytes} bytes, '
            f'and it holds {len(content) if problem == "is truncated" else "more"}'
        )
    stored = np.frombuffer(content, dtype.newbyteorder('>')).reshape(shape)
    return stored.astype(dtype, copy=False)
