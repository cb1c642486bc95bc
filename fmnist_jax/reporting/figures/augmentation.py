"""A sheet of images as they are and as augmentation changes them."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.text import printable
from fmnist_jax.reporting.units import percent

# Lengths are pixels of the PNG that `style.to_png` makes, so that each pixel of an
# image covers a whole number of them: an image's longer side, at most; the space
# between two, and around all; of the names, the heading, and a line of a caption.
_SIDE, _GAP, _MARGIN, _NAMES, _HEADING, _LINE = 84, 8, 16, 150, 90, 14
# Classes that a caption tells, at most, and of what share: what is not rounded to 0 %.
_MAX_SHARES, _LEAST_SHARE = 2, 0.005


class Drawn(NamedTuple):
    """Images, and what several draws made of them.

    Attributes:
      images: as they are, grey or colour, 0 black and 255 white.
      labels: theirs.
      changed: by each draw.
      shares: of the classes in each; None where nothing is mixed.
    """

    images: UInt8[np.ndarray, 'n h w c']
    labels: Integer[np.ndarray, ' n']
    changed: UInt8[np.ndarray, 'draws n h w c']
    shares: Float[np.ndarray, 'draws n classes'] | None


def augmentation_figure(
    drawn: Drawn, class_names: Sequence[str], *, title: str
) -> Figure:
    """A row for each image: its class, the image, and what each draw makes of it.

    Args:
      drawn: one image and one draw at least.
      class_names: one a label.
      title: what the images are, and what changed them.
    """
    columns = [drawn.images, *drawn.changed]
    tiles = np.array([[_enlarge(image) for image in column] for column in columns])
    caption = _GAP + (_LINE * _MAX_SHARES if drawn.shares is not None else 0)
    # [columns, rows, height, width, colours] to a sheet of rows below one another.
    spaces = ((0, 0), (0, 0), (0, caption), (0, _GAP), (0, 0))
    tiles = np.pad(tiles, spaces, constant_values=255)
    _, rows, height, width, _ = tiles.shape
    sheet = tiles.transpose(1, 2, 0, 3, 4).reshape(rows * height, -1, 3)
    sides = ((_HEADING, _MARGIN), (_MARGIN + _NAMES, _MARGIN), (0, 0))
    sheet = np.pad(sheet, sides, constant_values=255)
    with style.settings():
        figure, axes = _show(sheet)
        lines = textwrap.wrap(title, 90, max_lines=2, placeholder=' …')
        axes.text(_MARGIN, _MARGIN, '\n'.join(lines), va='top', fontsize=8)
        for column, text in enumerate(('original', 'changed')):
            x = _MARGIN + _NAMES + column * width
            axes.text(x, _HEADING - 4, text, va='bottom', fontsize=7, color='#555555')
        for row in range(rows):
            _annotate(axes, row, drawn, class_names, (height, width, caption))
    return figure


def _enlarge(image: UInt8[np.ndarray, 'h w c']) -> UInt8[np.ndarray, 'h2 w2 3']:
    """An image in RGB at the size it is shown at, or reduced to it."""
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    height, width, _ = image.shape
    if factor := _SIDE // max(height, width):
        return image.repeat(factor, 0).repeat(factor, 1)
    reduced = Image.fromarray(image)
    reduced.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(reduced)


def _show(sheet: UInt8[np.ndarray, 'h w 3']) -> tuple[Figure, Axes]:
    """A figure of these pixels, whose axes count them from the upper left."""
    height, width, _ = sheet.shape
    figure = style.new_figure(width / style.DPI, height / style.DPI)
    figure.set_layout_engine('none')
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(
        sheet, interpolation='nearest', extent=(0, width, height, 0), aspect='auto'
    )
    axes.set_axis_off()
    return figure, axes


def _annotate(
    axes: Axes,
    row: int,
    drawn: Drawn,
    class_names: Sequence[str],
    sizes: tuple[int, int, int],
) -> None:
    """Writes the class beside a row, and below each image the shares of classes."""
    height, width, caption = sizes
    left, top = _MARGIN + _NAMES, _HEADING + row * height
    middle = top + (height - caption) / 2
    name = style.shorten(printable(class_names[drawn.labels[row]]), 16)
    axes.text(left - _GAP, middle, name, ha='right', va='center', fontsize=8)
    if drawn.shares is None:
        return
    for draw, shares in enumerate(drawn.shares[:, row]):
        text = '\n'.join(_shares(shares, class_names))
        x, y = left + (draw + 1) * width, top + height - caption
        axes.text(x, y + 2, text, va='top', fontsize=5, linespacing=1.1)


def _shares(
    shares: Float[np.ndarray, ' classes'], class_names: Sequence[str]
) -> list[str]:
    """The largest shares of classes, such as '62 % Coat'."""
    largest = np.argsort(-shares, kind='stable')[:_MAX_SHARES]
    return [
        f'{percent(shares[i].item(), 0)} {style.shorten(printable(class_names[i]), 12)}'
        for i in largest
        if shares[i] >= _LEAST_SHARE
    ]
