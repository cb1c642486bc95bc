"""The reliability diagram: is the model right as often as it says?"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_jax.reporting.figures import style

# Inches.
_WIDTH, _HEIGHT = 5.2, 5.4


def reliability_figure(
    bins: Sequence[Mapping[str, Any]],
    ece: float,
    calibration: Mapping[str, Any] | None = None,
) -> Figure:
    """Accuracy against confidence, and how many examples have each.

    Niculescu-Mizil and Caruana (2005); drawn as in Guo et al. (2017),
    https://arxiv.org/abs/1706.04599, with the gap to perfect calibration.

    Args:
      bins: as `metrics.calibration_bins` gives them.
      ece: expected calibration error.
      calibration: `temperature`, and what follows from it: `ece` and
        `calibration_bins`. They are drawn beside the others.
    """
    title = f'Expected calibration error {ece:.4f}'
    diagrams = [(bins, title)]
    if calibration is not None:
        title = f'At temperature {calibration["temperature"]:.4f}: error '
        title += f'{calibration["ece"]:.4f}'
        diagrams.append((calibration['calibration_bins'], title))
    with style.settings():
        figure = style.new_figure(_WIDTH * len(diagrams), _HEIGHT)
        axes = figure.subplots(
            2, len(diagrams), sharex='col', height_ratios=(3, 1), squeeze=False
        )
        for column, (own, text) in enumerate(diagrams):
            _draw(*axes[:, column], own)
            axes[0, column].set_title(text, fontsize=10)
    return figure


def _draw(upper: Axes, lower: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy by bin in the upper axes, in the lower how many examples."""
    width = bins[0]['upper'] - bins[0]['lower']
    left = [bin['lower'] for bin in bins]
    place = {'x': left, 'width': width, 'align': 'edge', 'edgecolor': 'white'}
    accuracy = [bin['accuracy'] for bin in bins]
    gap = [bin['confidence'] - bin['accuracy'] for bin in bins]
    upper.bar(height=accuracy, color=style.BLUE, label='accuracy', **place)
    upper.bar(
        height=gap,
        bottom=accuracy,
        color='none',
        hatch='////',
        x=left,
        width=width,
        align='edge',
        edgecolor=style.VERMILION,
        linewidth=0.8,
        label='gap to confidence',
    )
    upper.plot([0, 1], [0, 1], '--', color='#555555', label='perfectly calibrated')
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel='accuracy')
    upper.legend(loc='upper left')
    lower.bar(height=[bin['count'] for bin in bins], color=style.SKY, **place)
    lower.set(ylabel='examples', xlabel='confidence')
    lower.yaxis.set_major_formatter('{x:,.0f}')
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    lower.xaxis.set_major_formatter(PercentFormatter(1))
