"""A sheet of images: some of each class, as they are stored."""

import textwrap

import matplotlib as mpl
import numpy as np
from jaxtyping import Integer, UInt8
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from fmnist_jax.reporting.figures import style

# Of more classes, the first are shown: a picture of 10,000 rows helps nobody.
MAX_CLASSES = 100
# Lengths are pixels of the PNG that `style.to_png` makes, so that each pixel of an
# image covers a whole number of them.
# An image's shorter and its longer side, at most; the space between two, and around
# all; the least height of a row, which has three lines of text.
_SHORT_SIDE, _LONG_SIDE, _GAP, _MARGIN, _MIN_ROW = 96, 300, 10, 15, 80


def samples_figure(
    images: UInt8[np.ndarray, 'n h w c'],
    labels: Integer[np.ndarray, ' n'],
    class_names: tuple[str, ...],
    per_class: int = 10,
    *,
    title: str = '',
) -> Figure:
    """A row for each class: its name, how many images it has, and the first of them.

    Args:
      images: to choose from, grey or colour; drawn as stored, 0 black and 255 white.
      labels: theirs.
      class_names: one a label; a class without images has an empty row.
      per_class: how many images are shown of each, at most.
      title: what the images are; what is shown of them is added.
    """
    shown = class_names[:MAX_CLASSES]
    rows = [np.flatnonzero(labels == i)[:per_class] for i in range(len(shown))]
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    height, width = _shown_size(*images.shape[1:3])
    row_height, column_width = max(height, _MIN_ROW) + _GAP, width + _GAP
    with style.settings():
        figure, axes = _new_sheet(
            max(1, *map(len, rows)) * column_width, len(rows) * row_height
        )
        for row, chosen in enumerate(rows):
            top = row * row_height + (row_height - height) // 2
            for column, i in enumerate(chosen):
                box = Bbox.from_bounds(column * column_width, top, width, height)
                _draw(axes, images[i], box)
        axes.set_yticks(
            (np.arange(len(rows)) + 0.5) * row_height,
            [_label(*row) for row in zip(shown, counts, strict=False)],
            fontsize=9,
        )
        text = _describe(title, per_class, len(shown), len(class_names))
        axes.set_title(text, loc='left', fontsize=11)
        _add_margins(figure, axes)
    return figure


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that images of this size are shown at."""
    short, long = sorted((height, width))
    scale = min(_SHORT_SIDE / short, _LONG_SIDE / long)
    scale = int(scale) if scale >= 1 else scale
    return max(1, round(height * scale)), max(1, round(width * scale))


def _new_sheet(width: int, height: int) -> tuple[Figure, mpl.axes.Axes]:
    """A figure that is all axes, whose unit is a pixel, counted from the upper left."""
    figure = style.new_figure(width / style.DPI, height / style.DPI)
    figure.set_layout_engine('none')
    # Images set limits to their own, unless these are set before and kept.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), xticks=[])
    axes.autoscale(enable=False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure, axes


def _draw(axes: mpl.axes.Axes, image: UInt8[np.ndarray, 'h w c'], box: Bbox) -> None:
    # Grey as colour too: colour maps round, and stretch to what values there are.
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    size = int(box.width), int(box.height)
    if max(size) < max(image.shape[:2]):
        pillow = Image.fromarray(image)
        image = np.asarray(pillow.resize(size, Image.Resampling.LANCZOS))
    extent = (box.x0, box.x1, box.y1, box.y0)
    axes.imshow(image, interpolation='nearest', extent=extent, aspect='auto')


def _label(name: str, count: int) -> str:
    first, *others = textwrap.wrap(name, 24)
    if len(others) > 1:
        others = [f'{others[0][:23]}…']
    number = f'{count:,} image{"" if count == 1 else "s"}' if count else 'no image'
    return '\n'.join([first, *others, number])


def _describe(title: str, per_class: int, shown: int, num_classes: int) -> str:
    what = 'image' if per_class == 1 else f'{per_class} images'
    of = 'each class'
    if shown < num_classes:
        of = f'each of the first {shown} of {num_classes:,} classes'
    text = f'{title}: the first {what} of {of}' if title else f'First {what} of {of}'
    return textwrap.fill(text, 80)


def _add_margins(figure: Figure, axes: mpl.axes.Axes) -> None:
    """Enlarges the figure by what the texts take; the axes, all of it, keep size."""
    figure.draw_without_rendering()
    texts = axes.get_tightbbox().get_points()
    # Whole numbers, so that pixels stay on the picture's.
    low, high = np.floor(texts[0]) - _MARGIN, np.ceil(texts[1]) + _MARGIN
    axes_size, size = figure.get_size_inches() * style.DPI, high - low
    figure.set_size_inches(size / style.DPI)
    axes.set_position((*-low / size, *axes_size / size))
