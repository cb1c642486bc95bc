"""Image files, read without trusting them."""

import io
import os
import stat
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base

from fmnist_jax.errors import one_line

# Pillow knows more: rare ones, and EPS, for which it starts Ghostscript.
_FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'PPM')
# More than the 50 megapixels of a phone. While they are read, they take up to 0.5 GB of
# memory, in a progressive JPEG or an AVIF file 0.8 GB, in a WebP file 1.1 GB. Pillow's
# own limit is a setting of the whole process.
MAX_PIXELS = 2**26
MAX_BYTES = 4 * MAX_PIXELS
# A JPEG file may hold any number of scans, of some bytes each, that change every pixel:
# 292 kB took 11 seconds. See "Two Issues with the JPEG Standard" (2016), LJT-01-003,
# https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf.
# Real files have about 10; libtiff allows 100, too, which take 4 seconds at the most.
_MAX_SCANS = 100
# Pillow decodes the run lengths of BMP in Python, this many pixels in 3 seconds; a file
# of 1 kB can have 67 million.
_MAX_RUN_LENGTH_PIXELS = 2**24
# Rows.
_BAND = 256


class ImageFileError(Exception):
    """Why a file cannot be read, in one line without its name."""


def read(path: str) -> Image.Image:
    """Decodes an image file, the first picture of several, and turns it upright.

    Its pixels become 8 bits a channel: of 16, the high byte.

    Only regular files of common formats, of at most `MAX_BYTES` and `MAX_PIXELS`, are
    decoded, whatever their extension; nothing waits for a pipe or runs a program.

    Returns:
      An image of mode L, RGB or RGBA.

    Raises:
      ImageFileError: the file cannot be read, is damaged, too large, or no image.
    """
    try:
        with warnings.catch_warnings():
            # Of blemishes, and of sizes that are checked here.
            warnings.simplefilter('ignore')
            image = _open(_read_bytes(path))
            ImageOps.exif_transpose(image, in_place=True)
            return _to_8_bits(image)
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        known = 'PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF or PNM'
        raise ImageFileError(f'no {known} image, or a damaged one') from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels() from error
    except Exception as error:
        # The decoders raise all kinds of exceptions for damaged files.
        reason = one_line(error) or type(error).__name__
        raise ImageFileError(f'damaged: {reason}') from error


def _read_bytes(path: str) -> bytes:
    try:
        # Opening a device may do something; opening a pipe would wait for its writer.
        _check(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
        with os.fdopen(descriptor, 'rb') as file:
            _check(os.fstat(descriptor))
            # No more, should it grow.
            content = file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or one_line(error)
        raise ImageFileError(f'cannot be read: {reason}') from error
    if not content:
        raise ImageFileError('the file is empty')
    return content


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ImageFileError('not a regular file')
    if status.st_size > MAX_BYTES:
        raise ImageFileError(f'larger than {MAX_BYTES // 2**20} MiB')


def _open(content: bytes) -> Image.Image:
    """An image that is not decoded yet, and neither large nor slow to decode."""
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS or _tile_pixels(image) > MAX_PIXELS:
        raise _too_many_pixels()
    _check_work(image, content)
    return image


def _check_work(image: Image.Image, content: bytes) -> None:
    """Refuses small files that would take long to decode."""
    pixels = image.width * image.height
    # Start-of-scan markers. They cannot occur within a scan, but do by chance in the
    # video that phones put behind a picture: so their number alone says nothing.
    scans = content.count(b'\xff\xda') if content.startswith(b'\xff\xd8') else 0
    if scans * pixels > _MAX_SCANS * MAX_PIXELS:
        raise ImageFileError(f'{scans:,} JPEG scans, more than so many pixels may have')
    run_lengths = image.format == 'BMP' and image.info.get('compression') in (1, 2)
    if run_lengths and pixels > _MAX_RUN_LENGTH_PIXELS:
        limit = _MAX_RUN_LENGTH_PIXELS // 10**6
        raise ImageFileError(f'more than {limit} million run-length encoded pixels')


def _tile_pixels(image: Image.Image) -> int:
    """The size of a TIFF file's tiles: decoded whole, however small the image is."""
    tags = getattr(image, 'tag_v2', {})
    width, height = tags.get(Base.TileWidth, 0), tags.get(Base.TileLength, 0)
    return width * height


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == 'I' or image.mode.startswith('I;16'):
        return _high_bytes(image)
    if image.mode == 'F':
        raise ImageFileError('floating-point pixels; only 8 and 16 bits are supported')
    if image.has_transparency_data:
        mode = 'RGBA'
    else:
        mode = 'L' if image.mode in ('1', 'L') else 'RGB'
    # To its own mode, it would be copied.
    return image if image.mode == mode else image.convert(mode)


def _high_bytes(image: Image.Image) -> Image.Image:
    pixels = np.empty((image.height, image.width), np.uint8)
    # A band at a time, as Pillow reads the 16 bits of some formats into 32.
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageFileError('32 bits a pixel; only 8 and 16 are supported')
        pixels[top:bottom] = values >> 8
    return Image.fromarray(pixels)


def _too_many_pixels() -> ImageFileError:
    return ImageFileError(f'more than {MAX_PIXELS // 10**6} million pixels')
