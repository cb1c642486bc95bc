"""How many examples each class has, in each split."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_jax.reporting.figures import style

# Of more classes, the first are shown.
MAX_CLASSES = 100


def class_counts_figure(
    counts: Mapping[str, Int[np.ndarray, ' classes']], class_names: tuple[str, ...]
) -> Figure:
    """Bars, in a panel with a scale of its own for each split.

    Args:
      counts: of examples, by the split's name.
      class_names: one a label.
    """
    shown = len(class_names[:MAX_CLASSES])
    names = [style.shorten(name) for name in class_names[:shown]]
    with style.settings():
        figure = style.new_figure(2 + 2.4 * len(counts), 1 + 0.24 * shown)
        panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
        for panel, (split, numbers) in zip(panels, counts.items(), strict=True):
            bars = panel.barh(range(shown), numbers[:shown], color=style.BLUE)
            panel.bar_label(bars, fmt='{:,.0f}', padding=2, fontsize=8)
            panel.set_title(f'{split} ({numbers.sum():,})', fontsize=10)
            panel.grid(visible=False, axis='y')
            panel.margins(x=0.25)
            panel.set_xlim(left=0, right=None if numbers[:shown].any() else 1)
            panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            panel.xaxis.set_major_formatter('{x:,.0f}')
            panel.tick_params(axis='y', length=0)
        panels[0].set_yticks(range(shown), names, fontsize=9)
        panels[0].set_ylim(shown - 0.4, -0.6)
        if shown < len(class_names):
            figure.suptitle(
                f'The first {shown} of {len(class_names):,} classes', fontsize=10
            )
        figure.supxlabel('examples', fontsize=10)
    return figure
