"""Images beside bars: the most probable classes and their probabilities."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.predictions import TOP, Prediction
from fmnist_jax.reporting.text import printable
from fmnist_jax.reporting.units import percent

# Of more images, the first are drawn.
MAX_IMAGES = 30
_COLUMNS = 3
# In inches: an image with its bars, and the heading.
_WIDTH, _HEIGHT, _HEADING = 3.7, 1.2, 0.6
# Characters, beyond which names are cut.
_MAX_FILE, _MAX_CLASS = 44, 20


def predictions_figure(
    predictions: Sequence[Prediction], class_names: Sequence[str]
) -> Figure:
    """The first images, as the model sees them, with their most probable classes.

    Args:
      predictions: those without an image are left out; one has an image at least.
      class_names: one a label.
    """
    readable = [p for p in predictions if p.error is None]
    drawn = readable[:MAX_IMAGES]
    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    with style.settings():
        figure = style.new_figure(columns * _WIDTH, rows * _HEIGHT + _HEADING)
        heading = 'Images as the model sees them'
        if len(drawn) < len(readable):
            heading += f': the first {len(drawn)} of {len(readable):,}'
        figure.suptitle(heading, fontsize=11)
        cells = figure.subplots(
            rows, 2 * columns, squeeze=False, width_ratios=[1, 1] * columns
        )
        for number, (image, bars) in enumerate(cells.reshape(-1, 2)):
            if number < len(drawn):
                _draw_image(image, drawn[number])
                _draw_bars(bars, drawn[number], class_names)
            else:
                image.set_axis_off()
                bars.set_axis_off()
    return figure


def _draw_image(axes: Axes, prediction: Prediction) -> None:
    pixels = prediction.image
    axes.imshow(
        pixels[..., 0] if pixels.shape[-1] == 1 else pixels,
        cmap='gray',
        vmin=0,
        vmax=255,
        interpolation='nearest',
    )
    name = printable(prediction.file)
    # Files in one folder differ at the end.
    name = name if len(name) <= _MAX_FILE else f'…{name[1 - _MAX_FILE :]}'
    axes.set_title(name, loc='left', fontsize=8)
    axes.set_anchor('NW')
    # Over the bars, which a long name reaches.
    axes.set_zorder(1)
    axes.set_axis_off()


def _draw_bars(axes: Axes, prediction: Prediction, class_names: Sequence[str]) -> None:
    labels, probabilities = zip(*prediction.top(), strict=True)
    rows = range(len(labels))
    # The whole, of which the probabilities are parts.
    axes.barh(rows, 1, height=0.7, color='#eeeeee')
    colors = [style.BLUE, *[style.SKY] * (len(labels) - 1)]
    axes.barh(rows, probabilities, height=0.7, color=colors)
    names = [style.shorten(printable(class_names[x]), _MAX_CLASS) for x in labels]
    texts = [
        f'{name}  {percent(probability, 1)}'
        for name, probability in zip(names, probabilities, strict=True)
    ]
    axes.set_yticks(rows, texts, fontsize=9)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlim(0, 1)
    axes.set_ylim(TOP - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
