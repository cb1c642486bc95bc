"""Names beside points, by the boxes that Matplotlib draws them in."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from fmnist_jax.reporting.figures import style
from results.frontier.labels import name_points


@pytest.mark.parametrize('num_points', [1, 8])
def test_names_cover_neither_points_nor_each_other(num_points):
    """Of points so near that names on their right would lie on one another."""
    points = [
        {'name': f'keras_cnns-{n}', 'x': 10.0 + n, 'accuracy': 0.92 - n / 2e3, 'std': 0}
        for n in range(num_points)
    ]
    figure = style.new_figure(7.5, 5)
    axes = figure.subplots()
    errors = [1 - point['accuracy'] for point in points]
    axes.plot([point['x'] for point in points], errors, 'o', markersize=5)
    axes.set(xscale='log', yscale='log', xlim=(1, 100), ylim=(0.3, 0.03))
    name_points(axes, points)
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) == num_points
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    places = axes.transData.transform(
        np.array([(point['x'], 1 - point['accuracy']) for point in points])
    )
    for box in boxes:
        assert axes.bbox.contains(box.x0, box.y0)
        assert axes.bbox.contains(box.x1, box.y1)
        assert not any(box.contains(*place) for place in places)
    # A line to those that stand farther off.
    lines = [text.arrow_patch.get_visible() for text in axes.texts]
    assert not lines[0]
    assert any(lines) == (num_points > 1)
