"""What a split holds: images of each class, brightness of pixels, kinds of patches."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float64, Int64, Integer, UInt8
from numpy.lib.stride_tricks import sliding_window_view

# Pixels counted at once; NumPy counts in a copy of eight bytes a pixel.
_CHUNK = 2**20
# Added to variances before division, as cifar10-airbench does.
_WHITENING_EPSILON = 5e-4


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """What is told of a split.

    Attributes:
      spec: what it is, in TFDS's syntax.
      class_counts: examples of each class.
      mean: of pixels / 255, one a channel, as `config.data.mean` takes it.
      std: likewise; of the whole population (NumPy's `ddof=0`).
    """

    spec: str
    class_counts: Int64[np.ndarray, ' classes']
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def num_examples(self) -> int:
        """How many there are."""
        return int(self.class_counts.sum())


def class_counts(
    labels: Integer[np.ndarray, ' n'], num_classes: int
) -> Int64[np.ndarray, ' classes']:
    """How many examples there are of each class."""
    return np.bincount(labels, minlength=num_classes)


def pixel_mean_and_std(
    images: UInt8[np.ndarray, 'n h w c'],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels / 255, over all images and positions.

    Sums are integers, taken from how often each value occurs: nothing is rounded until
    the end, and no copy of the images is made.

    Args:
      images: one at least.

    Returns:
      Both with one number a channel; the deviation is of the whole population.
    """
    moments = [_mean_and_std(counts.tolist()) for counts in _histograms(images)]
    mean, std = zip(*moments, strict=True)
    return mean, std


def whitening_filters(
    images: UInt8[np.ndarray, 'n h w c'], size: int = 2
) -> Float64[np.ndarray, 'filters size size c']:
    """Filters whose responses to the images' patches are uncorrelated, of variance 1.

    The principal components of patches of normalised pixels, each over its standard
    deviation, as the first layer of https://github.com/KellerJordan/cifar10-airbench
    has them. Moments are about zero, the mean of normalised pixels.

    Args:
      images: one at least; of one size x size patch at least.
      size: height and width of patches.

    Returns:
      size x size x c filters, the one of the largest variance first, each with a
      positive first number.
    """
    mean, std = pixel_mean_and_std(images)
    num_taps = size * size * images.shape[-1]
    moments, count = np.zeros((num_taps, num_taps)), 0
    step = max(1, _CHUNK // images[0].size)
    for start in range(0, len(images), step):
        pixels = (images[start : start + step] / 255 - mean) / std
        windows = sliding_window_view(pixels, (size, size), (1, 2))
        patches = np.moveaxis(windows, 3, -1).reshape(-1, num_taps)
        moments += patches.T @ patches
        count += len(patches)
    variances, components = np.linalg.eigh(moments / count)
    filters = (components / np.sqrt(variances + _WHITENING_EPSILON)).T[::-1]
    filters = filters * np.sign(filters[:, :1])
    return filters.reshape(num_taps, size, size, images.shape[-1])


def _histograms(images: UInt8[np.ndarray, 'n h w c']) -> Int64[np.ndarray, 'c 256']:
    """How often each value occurs, by channel."""
    count, height, width, channels = images.shape
    step = max(1, _CHUNK // (height * width))
    histograms = np.zeros((channels, 256), np.int64)
    for start in range(0, count, step):
        for channel in range(channels):
            pixels = images[start : start + step, ..., channel].ravel()
            histograms[channel] += np.bincount(pixels, minlength=256)
    return histograms


def _mean_and_std(counts: list[int]) -> tuple[float, float]:
    # Python's integers have no largest.
    number = sum(counts)
    total = sum(value * count for value, count in enumerate(counts))
    squares = sum(value**2 * count for value, count in enumerate(counts))
    deviation = math.sqrt(number * squares - total**2)
    return total / (255 * number), deviation / (255 * number)
