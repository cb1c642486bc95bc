"""What `show_data` leaves and prints: statistics, lines for a config, pictures."""

import io
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from PIL import Image

from fmnist_jax import config as config_lib
from fmnist_jax.data import load_dataset


def statistics(folder: Path) -> dict:
    return json.loads((folder / 'statistics.json').read_text())


def paste(printed: str, config: ConfigDict) -> None:
    """Carries out the lines that are for a config."""
    lines = [x for x in printed.splitlines() if x.startswith('config.data.')]
    assert [x.split(' = ')[0][-4:].strip('.') for x in lines] == ['mean', 'std']
    for line in lines:
        exec(line, {'config': config})
    config_lib.validate(config)
    load_dataset(config.data, lambda line: None)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def tiles(figure: Figure, png: bytes) -> list[np.ndarray]:
    """What the picture shows of each image, in order: cut out of the pixels."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    zoom = len(picture) / figure.bbox.height
    found = []
    for image in figure.axes[0].images:
        box = image.get_window_extent().get_points() * zoom
        # Whole pixels, or an image would be smeared.
        np.testing.assert_allclose(box, np.rint(box), atol=0.01)
        (left, bottom), (right, top) = np.rint(box).astype(int)
        found.append(picture[len(picture) - top : len(picture) - bottom, left:right])
    return found


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """An image of height, width and channels in RGB, each pixel a block."""
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    return colour.repeat(factor, 0).repeat(factor, 1)
