"""Image files for tests: made in memory, and read and prepared as users' are."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_jax.data import image_files
from fmnist_jax.data.image_preparation import prepare

GREY = (28, 28, 1)
COLOR = (28, 28, 3)


def encode(image: Image.Image | np.ndarray, form: str, **kwargs) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **kwargs)
    return buffer.getvalue()


def read(tmp_path: Path, content: bytes) -> Image.Image:
    path = tmp_path / 'image'
    path.write_bytes(content)
    return image_files.read(str(path))


def prepare_file(tmp_path: Path, content: bytes, shape=GREY, invert='auto'):
    return prepare(read(tmp_path, content), shape, invert)


def png(width: int, height: int, content: bytes = b'') -> bytes:
    """A PNG file of a grey image, by https://www.w3.org/TR/png/."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(name + data))
        return struct.pack('>I', len(data)) + name + data + check

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(content))
        + chunk(b'IEND', b'')
    )


def boot(form: str = 'PNG', **kwargs) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encode(pixels, form, **kwargs)
