"""The figure of a sweep shows its runs."""

import io
import math

import matplotlib as mpl
import numpy as np
import pytest
from etils import epath
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from fmnist_jax.grid import Axis
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.grid import grid_figure
from fmnist_jax.reporting.figures.heat_cells import Scale
from fmnist_jax.reporting.figures.heat_maps import MAX_PANELS
from fmnist_jax.reporting.sweep.finish import write_grid_figure
from fmnist_jax.reporting.sweep.points import group
from tests.sweeps import GRID, LONG, RATES, SIZES, arrays, outcomes_of


def panels(figure: Figure) -> list[mpl.axes.Axes]:
    """The heat maps."""
    return [axes for axes in figure.axes if axes.images]


def cell_texts(axes: mpl.axes.Axes) -> dict[tuple[int, int], mpl.text.Text]:
    """By row and column."""
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t for t in axes.texts}


def tick_texts(axis: mpl.axis.Axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def rectangles(axes: mpl.axes.Axes, *, hatched: bool) -> list[tuple[int, int]]:
    """Rows and columns of the cells that are hatched, or framed."""
    return [
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5))
        for patch in axes.patches
        if bool(patch.get_hatch()) == hatched
    ]


def test_the_heat_map_shows_means_and_spreads_in_the_order_of_the_values():
    outcomes = outcomes_of()
    figure = grid_figure(GRID, group(outcomes))
    (axes,) = panels(figure)
    # The rates were given as 0.1, 0.001, 0.01.
    values = arrays(GRID, outcomes)[[1, 2, 0]]
    np.testing.assert_allclose(axes.images[0].get_array(), values.mean(2))
    assert (axes.get_ylabel(), axes.get_xlabel()) == (RATES.field, SIZES.field)
    assert tick_texts(axes.yaxis) == ['0.001', '0.01', '0.1']
    assert tick_texts(axes.xaxis) == ['100', '500']
    for place, text in cell_texts(axes).items():
        own = 100 * values[place]
        assert text.get_text() == f'{own.mean():.2f}\n± {own.std(ddof=1):.2f}'
    best = np.unravel_index(values.mean(2).argmax(), (3, 2))
    assert rectangles(axes, hatched=False) == [best]
    assert rectangles(axes, hatched=True) == []
    assert 'standard deviation of 3 seeds' in ' '.join(figure.get_suptitle().split())


def contrast(one, other) -> float:
    """By https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""

    def luminance(color):
        channels = np.array(to_rgb(color))
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_numbers_are_read_on_every_colour_and_lighter_is_better():
    many = Axis('optimizer.eps', tuple(float(i) for i in range(1, 17)))
    outcomes = outcomes_of((many, SIZES), 1, lambda o, _: o['optimizer.eps'] / 20)
    (axes,) = panels(grid_figure((many, SIZES), group(outcomes)))
    picture = axes.images[0]
    colors = picture.cmap(picture.norm(picture.get_array()))
    texts = cell_texts(axes)
    assert len(texts) == 32
    for place, text in texts.items():
        assert contrast(text.get_color(), colors[place][:3]) >= 4.5
    light = [contrast(color[:3], 'black') for color in colors[:, 0]]
    assert light == sorted(light)


def test_diverged_cells_have_a_hatch_and_a_word():
    def diverged(overrides, seed):
        return overrides['batch_size'] == 500 and (
            overrides[RATES.field] == 0.1
            or (overrides[RATES.field] == 0.01 and seed < 1)
        )

    outcomes = outcomes_of(diverged=diverged)
    figure = grid_figure(GRID, group(outcomes))
    (axes,) = panels(figure)
    assert sorted(rectangles(axes, hatched=True)) == [(1, 1), (2, 1)]
    texts = cell_texts(axes)
    assert texts[2, 1].get_text() == 'diverged'
    left = 100 * arrays(GRID, outcomes)[2, 1, 1:]
    assert texts[1, 1].get_text() == (
        f'{left.mean():.2f}\n± {left.std(ddof=1):.2f}\n1 of 3\ndiverged'
    )
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)[2, 1])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        'winner, by validation',
        'seeds that diverged',
        'no seed has finished',
    ]


@pytest.mark.parametrize('axes', [GRID, (RATES,), (), (*GRID, LONG)])
def test_nothing_but_diverged_runs_can_be_drawn(axes):
    figure = grid_figure(axes, group(outcomes_of(axes, diverged=lambda *_: True)))
    image = Image.open(io.BytesIO(style.to_png(figure, dpi=40)))
    assert min(image.size) > 80
    words = [t.get_text() for place in figure.axes for t in place.texts]
    points = math.prod(len(axis.values) for axis in axes) if axes else 3
    assert sum('diverged' in word for word in words) == points


def test_one_bad_point_does_not_make_all_others_look_alike():
    means = [0.1, 0.88, 0.89, 0.9, 0.91, 0.92]
    scale = Scale.of(means)
    assert scale.is_cut
    assert scale.norm.vmax == 0.92 and 0.8 < scale.norm.vmin < 0.88
    assert not Scale.of(means[1:]).is_cut
    assert Scale.of(means[1:]).norm.vmin == 0.88
    equal = Scale.of([0.5, 0.5])
    assert equal.norm.vmin < 0.5 == equal.norm.vmax
    Scale.of([])


def test_further_axes_make_panels():
    names = Axis('optimizer.name', ('sgd', 'adam'))
    fixed = Axis('num_epochs', (3,))
    axes = (RATES, fixed, names, SIZES)
    outcomes = outcomes_of(axes)
    figure = grid_figure(axes, group(outcomes))
    shown = panels(figure)
    # Rows and columns are the first two that vary.
    values = arrays(axes, outcomes)[[1, 2, 0], 0].mean(-1)
    for number, place in enumerate(shown):
        np.testing.assert_allclose(place.images[0].get_array(), values[..., number])
    assert [place.get_title() for place in shown] == [
        'batch_size=100',
        'batch_size=500',
    ]
    assert tick_texts(shown[0].xaxis) == ['sgd', 'adam']
    assert [len(rectangles(place, hatched=False)) for place in shown] == [
        int(number == values.reshape(-1).argmax() % 2) for number in range(2)
    ]
    # They share their colours, and the axis of one value is told.
    assert len({place.images[0].norm.vmin for place in shown}) == 1
    assert 'num_epochs=3' in figure.get_suptitle()


def test_of_many_panels_those_with_the_best_points_are_shown():
    third = Axis('optimizer.weight_decay', tuple(i / 100 for i in range(20)))
    axes = (*GRID, third)
    outcomes = outcomes_of(axes, 1, lambda o, _: 0.5 + (o[third.field] % 0.05))
    figure = grid_figure(axes, group(outcomes))
    accuracy = np.array([0.5 + value % 0.05 for value in third.values])
    best = sorted(np.argsort(-accuracy, kind='stable')[:MAX_PANELS])
    titles = [place.get_title() for place in panels(figure)]
    assert titles == [f'weight_decay={third.values[i]:g}' for i in best]
    assert (
        f'of 20 panels, the {MAX_PANELS} with the best points' in figure.get_suptitle()
    )


def test_a_large_grid_has_colours_without_numbers():
    rows = Axis('num_epochs', tuple(range(1, 51)))
    axes = (rows, Axis('batch_size', tuple(range(1, 21))))
    (place,) = panels(grid_figure(axes, group(outcomes_of(axes, 1))))
    assert place.images[0].get_array().shape == (50, 20)
    assert not place.texts
    assert len(rectangles(place, hatched=False)) == 1
    assert len(tick_texts(place.yaxis)) == 25


def lines_of(axes: mpl.axes.Axes, label: str) -> np.ndarray:
    (line,) = (line for line in axes.lines if line.get_label() == label)
    return line.get_xydata()


def test_along_one_axis_are_seeds_means_and_spreads():
    outcomes = outcomes_of((RATES,))
    (axes,) = grid_figure((RATES,), group(outcomes)).axes
    values = arrays((RATES,), outcomes)[[1, 2, 0]]
    assert (axes.get_xlabel(), axes.get_xscale()) == (RATES.field, 'log')
    seeds = np.stack([np.repeat([0.001, 0.01, 0.1], 3), values.reshape(-1)], 1)
    np.testing.assert_allclose(lines_of(axes, 'a seed'), seeds)
    (bars,) = axes.containers
    means = values.mean(1)
    np.testing.assert_allclose(
        bars[0].get_xydata(), np.stack([seeds[::3, 0], means], 1)
    )
    for segment, mean, std in zip(
        bars[2][0].get_segments(), means, values.std(1, ddof=1), strict=True
    ):
        np.testing.assert_allclose(segment[:, 1], [mean - std, mean + std])
    winner = lines_of(axes, 'winner, by validation')
    np.testing.assert_allclose(winner, [[seeds[3 * means.argmax(), 0], means.max()]])
    assert tick_texts(axes.xaxis) == ['0.001', '0.01', '0.1']


def test_along_one_axis_a_bad_value_leaves_room_for_the_others():
    def accuracy(overrides, seed):
        return 0.1 if overrides[RATES.field] == 0.1 else 0.92 + seed / 1000

    (axes,) = grid_figure((RATES,), group(outcomes_of((RATES,), 3, accuracy))).axes
    heights = axes.transData.transform([(0.01, y) for y in (0.1, 0.8, 0.9, 0.92)])[:, 1]
    gaps = np.diff(heights)
    # From 80 to 90 % about as far as from 90 to 95 %: halves of the error.
    assert gaps[1] > gaps[0] / 3
    ticks = axes.get_yticks()
    assert ticks.min() >= 0 and ticks.max() < 1
    low, high = axes.get_ylim()
    assert low <= 0.1 and high > 0.922


def test_along_one_axis_what_diverged_is_told_above():
    def diverged(overrides, seed):
        return overrides[RATES.field] == 0.1 or (
            overrides[RATES.field] == 0.01 and seed == 0
        )

    outcomes = outcomes_of((RATES,), diverged=diverged)
    (axes,) = grid_figure((RATES,), group(outcomes)).axes
    told = {text.get_position()[0]: text.get_text() for text in axes.texts}
    assert told == {0.01: '1 of 3\ndiverged', 0.1: '3 of 3\ndiverged'}
    (bars,) = axes.containers
    assert bars[0].get_xdata().tolist() == [0.001, 0.01]
    # The winner lost no seed.
    assert lines_of(axes, 'winner, by validation')[0, 0] == 0.001


@pytest.mark.parametrize(
    ('values', 'scale', 'places'),
    [
        ((0.1, 0.2, 0.4), 'linear', [0.1, 0.2, 0.4]),
        ((1e-4, 1.0), 'log', [1e-4, 1.0]),
        ((0.0, 1e-4, 1.0), 'linear', [0, 1, 2]),
        ((None, 1.0), 'linear', [0, 1]),
        (('sgd', 'adam'), 'linear', [0, 1]),
    ],
)
def test_values_are_placed_by_their_size_where_they_have_one(values, scale, places):
    axis = Axis('model.x', values)
    (axes,) = grid_figure((axis,), group(outcomes_of((axis,), 1))).axes
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == places
    low, high = axes.get_xlim()
    assert low < places[0] and high > places[-1]


def test_seeds_alone_are_drawn_with_their_mean():
    outcomes = outcomes_of((), 4)
    (axes,) = grid_figure((), group(outcomes)).axes
    accuracies = [outcome.validation_accuracy for outcome in outcomes]
    (bars,) = axes.containers
    assert bars[0].get_ydata().tolist() == accuracies
    (line,) = (line for line in axes.lines if str(line.get_label()).startswith('mean'))
    assert line.get_ydata() == pytest.approx([np.mean(accuracies)] * 2)
    assert f'{100 * np.std(accuracies, ddof=1):.2f} %' in line.get_label()
    assert axes.get_xlabel() == 'seed'


@pytest.mark.parametrize(
    'axes',
    [GRID, (RATES,), (*GRID, LONG), (LONG,), (LONG, SIZES), (), (Axis('seed', (1,)),)],
)
def test_all_texts_lie_within_the_picture(axes):
    # All kinds of cells and marks.
    def diverged(overrides, seed):
        return seed == 2 or overrides.get('batch_size') == 100

    figure = grid_figure(axes, group(outcomes_of(axes, diverged=diverged)))
    with style.settings():
        figure.draw_without_rendering()
    width, height = figure.bbox.size
    # Beyond its ends, the colour bar has labels that are not drawn.
    bars = [bar for bar in figure.axes if bar.get_label() == '<colorbar>']
    beyond = [label for bar in bars for label in bar.get_yticklabels()]
    texts = [
        text
        for text in figure.findobj(mpl.text.Text)
        if text.get_visible() and text.get_text() and text not in beyond
    ]
    assert len(texts) > 5
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= -2 and box.x1 <= width + 2, text.get_text()
        assert box.y0 >= -2 and box.y1 <= height + 2, text.get_text()


def test_the_same_sweep_gives_the_same_files_and_names_stay_names(tmp_path):
    strange = Axis('model.x', ('$5_{y}$', '</text>', 'ä' * 100))
    axes = (strange, SIZES)
    outcomes = outcomes_of(axes)
    first, second = (
        [path.read_bytes() for path in write_grid_figure(folder, axes, outcomes)]
        for folder in (epath.Path(tmp_path / 'a'), epath.Path(tmp_path / 'b'))
    )
    assert first == second
    assert first[0].startswith(b'\x89PNG') and first[1].startswith(b'%PDF')
    svg = style.to_svg(grid_figure(axes, group(outcomes)))
    assert '>$5_{y}$</text>' in svg
    assert '>&lt;/text&gt;</text>' in svg
