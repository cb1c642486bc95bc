"""Image files: found by name, folder or pattern, and read without trusting them."""

import glob
import io
import os
import stat
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base

from fmnist_jax.errors import one_line

# What is read in a folder, upper or lower case.
EXTENSIONS = (
    *('.png', '.jpg', '.jpeg', '.gif', '.bmp', '.tif', '.tiff', '.webp', '.avif'),
    *('.pbm', '.pgm', '.ppm', '.pnm'),
)
# Pillow knows more: rare ones, and EPS, for which it starts Ghostscript.
_FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'PPM')
# More than the 50 megapixels of a phone; read, they take 0.3 GB, and as much again
# while they are turned. Pillow's own limit is a setting of the whole process.
MAX_PIXELS = 2**26
MAX_BYTES = 4 * MAX_PIXELS


class ImageFileError(Exception):
    """Why a file was not found or cannot be read, in one line without its name."""


def find(arguments: Sequence[str]) -> list[tuple[str, str | None]]:
    """The image files that arguments name, each once, in the order of the arguments.

    Args:
      arguments: files, of any extension; folders, which stand for the files in them
        (not below them) with one of `EXTENSIONS`, hidden ones left out; patterns as of
        `glob.glob`, with `**` for any number of folders, which stand for the files
        that they match. What a folder or a pattern stands for is sorted by name.

    Returns:
      Pairs of a file and None, or of an argument and what is wrong with it.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for argument in arguments:
        try:
            pairs = [(file, None) for file in _expand(argument)]
        except ImageFileError as error:
            pairs = [(argument, str(error))]
        for file, problem in pairs:
            found.setdefault(os.path.abspath(file), (file, problem))
    return list(found.values())


def _expand(argument: str) -> list[str]:
    if os.path.isdir(argument):
        return _files_in(argument)
    # A file may well be called `shirt[1].png`.
    if os.path.lexists(argument):
        return [argument]
    if not glob.has_magic(argument):
        raise ImageFileError('no such file or folder')
    matches = glob.glob(argument, recursive=True)
    files = sorted(match for match in matches if not os.path.isdir(match))
    if not files:
        raise ImageFileError('no file matches this pattern')
    return files


def _files_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            files = [
                entry.path
                for entry in entries
                if entry.name.lower().endswith(EXTENSIONS)
                and not entry.name.startswith('.')
                and not entry.is_dir()
            ]
    except OSError as error:
        raise ImageFileError(error.strerror or one_line(error)) from error
    if not files:
        raise ImageFileError(
            'no image file in this folder (for the folders below it, give the pattern '
            "'FOLDER/**/*.png')"
        )
    return sorted(files)


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
    content = _read_bytes(path)
    try:
        with warnings.catch_warnings():
            # Of blemishes, and of sizes that are checked here.
            warnings.simplefilter('ignore')
            return _decode(content)
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


def _decode(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS or _tile_pixels(image) > MAX_PIXELS:
        raise _too_many_pixels()
    ImageOps.exif_transpose(image, in_place=True)
    return _to_8_bits(image)


def _tile_pixels(image: Image.Image) -> int:
    """The size of a TIFF file's tiles: decoded whole, however small the image is."""
    tags = getattr(image, 'tag_v2', {})
    width, height = tags.get(Base.TileWidth, 0), tags.get(Base.TileLength, 0)
    return width * height


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == 'I' or image.mode.startswith('I;16'):
        values = np.asarray(image)
        # Pillow reads the 16 bits of some formats into 32.
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageFileError('32 bits a pixel; only 8 and 16 are supported')
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == 'F':
        raise ImageFileError('floating-point pixels; only 8 and 16 bits are supported')
    if image.has_transparency_data:
        return image.convert('RGBA')
    return image.convert('L' if image.mode in ('1', 'L') else 'RGB')


def _too_many_pixels() -> ImageFileError:
    return ImageFileError(f'more than {MAX_PIXELS // 10**6} million pixels')
