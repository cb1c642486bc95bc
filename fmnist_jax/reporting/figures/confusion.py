"""The confusion matrix as a heat map."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from fmnist_jax.reporting.figures import style

# With more, cells are too small to tell apart.
MAX_CLASSES = 40
# With more, numbers are too small to read.
_MAX_NUMBERED = 25
_LIGHT, _DARK = '#ffffff', '#000000'
# Of zeros: still read on white.
_FAINT = '#757575'


def shown_classes(
    matrix: Int[np.ndarray, 'classes classes'], limit: int = MAX_CLASSES
) -> list[int]:
    """The labels that a picture of the matrix has room for.

    All, or those with the most mistakes (of the class or for it), in label order.
    """
    if len(matrix) <= limit:
        return list(range(len(matrix)))
    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
    return sorted(np.argsort(-mistakes, kind='stable')[:limit].tolist())


def color_scale() -> tuple[Colormap, Normalize]:
    """From a rate to a colour: one hue, so that nobody confuses two.

    Rates are spread by their square root: most mistakes are rarer than one in ten, and
    would all look white.
    """
    return mpl.colormaps['Blues'], PowerNorm(0.5, vmin=0, vmax=1)


def ink_on(color: Float[np.ndarray, ' rgba']) -> str:
    """White or black, whichever is read better on a colour (0 to 1).

    By WCAG's contrast, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio; the better is
    at least 4.5 on any colour.
    """
    channels = color[:3]
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return _DARK if luminance > 0.179 else _LIGHT


def confusion_matrix_figure(
    matrix: Int[np.ndarray, 'classes classes'], class_names: tuple[str, ...]
) -> Figure:
    """Counts, coloured by their share of the true class (the row).

    Args:
      matrix: rows are true labels, columns predicted ones.
      class_names: one a label.
    """
    shown = shown_classes(matrix)
    counts = matrix[np.ix_(shown, shown)]
    rates = counts / np.maximum(matrix.sum(1)[shown, None], 1)
    names = [style.shorten(class_names[label]) for label in shown]
    with style.settings():
        side = max(4.0, min(2.5 + 0.48 * len(shown), 14.0))
        figure = style.new_figure(side + 1.2, side)
        axes = figure.add_subplot()
        colors, norm = color_scale()
        picture = axes.imshow(rates, cmap=colors, norm=norm)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        ticks = range(len(shown))
        small = {'fontsize': 9 if len(shown) <= _MAX_NUMBERED else 6}
        axes.set_xticks(ticks, names, rotation=45, ha='right', **small)
        axes.set_yticks(ticks, names, **small)
        axes.tick_params(length=0)
        axes.set_xlabel('predicted')
        axes.set_ylabel('true')
        if len(shown) < len(matrix):
            axes.set_title(f'The {len(shown)} of {len(matrix):,} classes most confused')
        if len(shown) <= _MAX_NUMBERED:
            _write_numbers(axes, counts, colors(norm(rates)))
        bar = figure.colorbar(picture, ax=axes, shrink=0.8)
        bar.set_label('share of the true class')
        bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
        bar.ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
        bar.outline.set_visible(False)
    return figure


def _write_numbers(
    axes: mpl.axes.Axes,
    counts: Int[np.ndarray, 'n n'],
    colors: Float[np.ndarray, 'n n rgba'],
) -> None:
    for (row, column), count in np.ndenumerate(counts):
        ink = ink_on(colors[row, column]) if count else _FAINT
        size = 8 if count < 10_000 else 6
        axes.text(
            column, row, f'{count}', ha='center', va='center', color=ink, size=size
        )
