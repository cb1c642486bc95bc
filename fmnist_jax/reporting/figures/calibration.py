"""The reliability diagram: is the model right as often as it says?"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_jax.reporting.figures import style


def reliability_figure(bins: Sequence[Mapping[str, Any]], ece: float) -> Figure:
    """Accuracy against confidence, and how many examples have each.

    Niculescu-Mizil and Caruana (2005); drawn as in Guo et al. (2017),
    https://arxiv.org/abs/1706.04599, with the gap to perfect calibration.

    Args:
      bins: as `metrics.calibration_bins` gives them.
      ece: expected calibration error.
    """
    width = bins[0]['upper'] - bins[0]['lower']
    left = [bin['lower'] for bin in bins]
    place = {'x': left, 'width': width, 'align': 'edge', 'edgecolor': 'white'}
    with style.settings():
        figure = style.new_figure(5.2, 5.4)
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
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
        upper.set_title(f'Expected calibration error {ece:.4f}', fontsize=10)
        upper.legend(loc='upper left')
        lower.bar(height=[bin['count'] for bin in bins], color=style.SKY, **place)
        lower.set(ylabel='examples', xlabel='confidence')
        lower.yaxis.set_major_formatter('{x:,.0f}')
        upper.yaxis.set_major_formatter(PercentFormatter(1))
        lower.xaxis.set_major_formatter(PercentFormatter(1))
    return figure
