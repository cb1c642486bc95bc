"""A picture of any size and kind, made into an image like those a model was trained on.

Fashion-MNIST is light on black: its authors shrank product pictures on a light
background, centred them on the canvas, inverted them and turned them grey (Xiao et
al., 2017, section 2, https://arxiv.org/abs/1708.07747).
"""

from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Whether dark becomes light: `auto` where the background is light.
Invert = Literal['auto', 'yes', 'no']
# What Pillow calls the images that models take, by their number of channels.
MODES = {1: 'L', 3: 'RGB'}


def prepare(
    image: Image.Image, shape: tuple[int, int, int], invert: Invert = 'auto'
) -> UInt8[np.ndarray, 'h w c']:
    """Makes a picture an image of a data set.

    - The picture is shrunk or enlarged to fit (Lanczos, which averages over all the
      pixels that it leaves out), keeping its proportions.
    - Transparent pixels become white, or black with `invert='no'`: the background,
      either way.
    - Colour becomes grey (ITU-R 601-2 luma), or grey colour, as the model wants it.
    - It is centred, and what it leaves free filled with the median of its border.
    - `invert='auto'` inverts an image of one channel whose border, the outermost
      pixels, has a median above 127. That inverts none of Fashion-MNIST's 10,000 test
      images, while a mean over all pixels above 127 would invert 565. Colour data are
      seldom of light things on black, and are left as they are.

    A picture of the size and kind wanted, on black, comes out as it went in. No margin
    is cut off, as it was of Fashion-MNIST: its models want the thing to fill the image.

    Args:
      image: as `image_files.read` gives it.
      shape: height, width and channels (1 or 3) wanted.
      invert: `yes`, `no` or `auto`.
    """
    height, width, channels = shape
    image = _flatten(_resize(image, height, width), invert)
    pixels = np.asarray(image.convert(MODES[channels]))
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    background = np.median(_border(pixels), axis=0)
    if channels == 1 and invert == 'auto':
        invert = 'yes' if background[0] > 127 else 'no'
    pixels = _center(pixels, np.full(shape, background, np.uint8))
    return 255 - pixels if invert == 'yes' else pixels


def _resize(image: Image.Image, height: int, width: int) -> Image.Image:
    """The picture as large as fits; unchanged if it has that size."""
    scale = min(height / image.height, width / image.width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _flatten(image: Image.Image, invert: Invert) -> Image.Image:
    if image.mode != 'RGBA':
        return image
    canvas = Image.new('RGBA', image.size, 'black' if invert == 'no' else 'white')
    return Image.alpha_composite(canvas, image)


def _border(pixels: UInt8[np.ndarray, 'h w c']) -> UInt8[np.ndarray, 'n c']:
    sides = (pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])
    return np.concatenate(sides)


def _center(
    pixels: UInt8[np.ndarray, 'h w c'], canvas: UInt8[np.ndarray, 'h2 w2 c']
) -> UInt8[np.ndarray, 'h2 w2 c']:
    """Puts pixels into the middle of a canvas, which is changed."""
    height, width = pixels.shape[:2]
    top, left = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return canvas
