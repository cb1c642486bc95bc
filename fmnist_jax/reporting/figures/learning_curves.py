"""Loss and accuracy over the epochs."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.learning import Line, best, of_split, overfitting_onset

_LOOKS = {'train': (style.BLUE, '--', 'o'), 'validation': (style.VERMILION, '-', 's')}


def learning_curves_figure(lines: Sequence[Line], scored_epoch: float) -> Figure:
    """Loss and accuracy of both splits, side by side.

    Args:
      lines: of `metrics.jsonl`, of one epoch at least.
      scored_epoch: where the checkpoint that is evaluated comes from.
    """
    with style.settings():
        figure = style.new_figure(9, 3.9)
        loss, accuracy = figure.subplots(1, 2)
        for axes, key in ((loss, 'loss'), (accuracy, 'accuracy')):
            _draw(axes, lines, key)
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        best_epoch = best(lines)['epoch']
        _mark(accuracy, best_epoch, f'best epoch, {best_epoch}', style.GREEN, '-')
        onset = overfitting_onset(lines)
        if onset is not None:
            _mark(loss, onset, f'overfitting from epoch {onset}', style.PURPLE, '-.')
        if scored_epoch != best_epoch:
            for axes in (loss, accuracy):
                _mark(axes, scored_epoch, f'scored, {scored_epoch:g}', style.BLACK, ':')
        for axes in (loss, accuracy):
            handles, _ = axes.get_legend_handles_labels()
            axes.legend(
                loc='lower left',
                bbox_to_anchor=(0, 1),
                ncols=len(handles),
                fontsize=8,
                columnspacing=1,
                borderpad=0,
            )
    return figure


def _draw(axes: Axes, lines: Sequence[Line], key: str) -> None:
    for split, (color, dashes, marker) in _LOOKS.items():
        own = of_split(lines, split)
        axes.plot(
            [line['epoch'] for line in own],
            [line[key] for line in own],
            dashes,
            color=color,
            # Of many epochs, only the line is legible; of one, only the point.
            marker=marker if len(own) <= 30 else None,
            markersize=4,
            label=split,
        )
    axes.set(xlabel='epoch', ylabel=key)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mark(axes: Axes, epoch: float | int, label: str, color: str, dashes: str) -> None:
    axes.axvline(epoch, color=color, linestyle=dashes, linewidth=1.2, label=label)
