"""Images of a data set as PNG within an HTML page."""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Images are shrunk to fit; those of Fashion-MNIST are smaller.
_MAX_SIDE = 64
# Images a row of a sheet.
COLUMNS = 32


def thumbnails(images: UInt8[np.ndarray, 'n h w c']) -> UInt8[np.ndarray, 'n h2 w2 c']:
    """Images of 64 pixels at most on a side, the ratio of sides kept."""
    height, width = images.shape[1:3]
    shrink = _MAX_SIDE / max(height, width)
    if shrink >= 1:
        return images
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = [
        np.asarray(_to_pillow(image).resize(size, Image.Resampling.LANCZOS))
        for image in images
    ]
    return np.stack(small).reshape(len(images), *size[::-1], images.shape[-1])


def data_uri(image: UInt8[np.ndarray, 'h w c']) -> str:
    """One image."""
    return _to_uri(image)


def sheet_uri(images: UInt8[np.ndarray, 'n h w c']) -> str:
    """Many images in one, `COLUMNS` a row, the last row filled up with black."""
    count, height, width, channels = images.shape
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return _to_uri(grid.reshape(rows * height, columns * width, channels))


def _to_pillow(image: UInt8[np.ndarray, 'h w c']) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _to_uri(image: UInt8[np.ndarray, 'h w c']) -> str:
    buffer = io.BytesIO()
    _to_pillow(image).save(buffer, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'
