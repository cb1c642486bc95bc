"""Corruptions of test images, to measure robustness: noise, blur, rotation and light.

After Hendrycks and Dietterich (2019), https://arxiv.org/abs/1903.12261, with the
constants of their code for CIFAR-10-C, whose images are nearly as small (32x32),
https://github.com/hendrycks/robustness/blob/master/ImageNet-C/create_c/make_cifar_c.py.

Adapted: rotation is not among theirs; its largest angle is that of Engstrom et al.
(2019), https://arxiv.org/abs/1712.02779, and black comes in from outside, which is the
background of Fashion-MNIST. Brightness is added to HSV's value, which of a grey image
is the pixel itself. Results are rounded to whole grey levels; theirs are cut off, which
darkens by half a level.
"""

import dataclasses
from collections.abc import Callable, Iterator
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from fmnist_jax.errors import UserError, unknown_name

SEVERITIES = (1, 2, 3, 4, 5)
# Images at a time: as floats they take four times the memory.
_BLOCK = 1000

# Pixels from 0 to 1, a strength, and for each image its own random numbers.
_Function = Callable[[np.ndarray, float, Iterator[np.random.Generator]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A way to spoil images.

    Attributes:
      number: of its stream of random numbers; never another's.
      function: of pixels, one of `strengths`, and random numbers.
      parameter: what a strength is, in words.
      strengths: one for each of `SEVERITIES`.
    """

    number: int
    function: _Function
    parameter: str
    strengths: tuple[float, ...]


def corrupt(
    images: UInt8[np.ndarray, 'n h w c'], name: str, severity: int, seed: int = 0
) -> UInt8[np.ndarray, 'n h w c']:
    """Images under a corruption; the same whenever it is asked for.

    Args:
      images: grey, or red, green and blue.
      name: one of `CORRUPTIONS`.
      severity: one of `SEVERITIES`.
      seed: of random numbers; an image's are drawn from it, the corruption, the
        severity and the image's position among `images` alone.

    Raises:
      UserError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise unknown_name('corruption', name, CORRUPTIONS)
    if severity not in SEVERITIES:
        known = ', '.join(map(str, SEVERITIES))
        raise UserError(f'severity must be one of {known}, not {severity!r}')
    corruption = CORRUPTIONS[name]
    strength = corruption.strengths[SEVERITIES.index(severity)]
    result = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        generators = (
            np.random.default_rng((seed, corruption.number, severity, position))
            for position in range(start, start + len(block))
        )
        pixels = block.astype(np.float32) / 255
        changed = corruption.function(pixels, strength, generators)
        result[start : start + _BLOCK] = np.rint(changed.clip(0, 1) * 255)
    return result


def _gaussian_noise(
    pixels: Float32[np.ndarray, 'n h w c'],
    sigma: float,
    generators: Iterator[np.random.Generator],
) -> Float32[np.ndarray, 'n h w c']:
    shape = pixels.shape[1:]
    noise = [generator.standard_normal(shape, np.float32) for generator in generators]
    return pixels + np.float32(sigma) * np.stack(noise)


def _gaussian_blur(
    pixels: Float32[np.ndarray, 'n h w c'],
    sigma: float,
    generators: Iterator[np.random.Generator],
) -> Float32[np.ndarray, 'n h w c']:
    del generators
    # `nearest` is what `skimage.filters.gaussian`, which they use, does by default.
    return ndimage.gaussian_filter(pixels, sigma, mode='nearest', axes=(1, 2))


def _rotation(
    pixels: Float32[np.ndarray, 'n h w c'],
    degrees: float,
    generators: Iterator[np.random.Generator],
) -> Float32[np.ndarray, 'n h w c']:
    """To the left or to the right, bilinear; black comes in from outside."""
    is_left = np.array([generator.random() < 0.5 for generator in generators])
    result = np.empty_like(pixels)
    for chosen, angle in ((is_left, degrees), (~is_left, -degrees)):
        result[chosen] = ndimage.rotate(
            pixels[chosen], angle, axes=(2, 1), reshape=False, order=1
        )
    return result


def _brightness(
    pixels: Float32[np.ndarray, 'n h w c'],
    added: float,
    generators: Iterator[np.random.Generator],
) -> Float32[np.ndarray, 'n h w c']:
    """More of HSV's value, the largest channel; hue and saturation stay."""
    del generators
    value = pixels.max(-1, keepdims=True)
    brighter = (value + np.float32(added)).clip(0, 1)
    is_black = value == 0
    factor = brighter / np.where(is_black, 1, value)
    return np.where(is_black, brighter, pixels * factor)


def _contrast(
    pixels: Float32[np.ndarray, 'n h w c'],
    factor: float,
    generators: Iterator[np.random.Generator],
) -> Float32[np.ndarray, 'n h w c']:
    """Less difference from each channel's mean over the image."""
    del generators
    mean = pixels.mean((1, 2), keepdims=True)
    return (pixels - mean) * np.float32(factor) + mean


CORRUPTIONS: MappingProxyType[str, Corruption] = MappingProxyType(
    {
        'gaussian_noise': Corruption(
            0,
            _gaussian_noise,
            'standard deviation, of pixels from 0 to 1',
            (0.04, 0.06, 0.08, 0.09, 0.10),
        ),
        'gaussian_blur': Corruption(
            1,
            _gaussian_blur,
            'standard deviation, pixels',
            (0.4, 0.6, 0.7, 0.8, 1.0),
        ),
        'rotation': Corruption(
            2, _rotation, 'degrees, to either side', (6.0, 12.0, 18.0, 24.0, 30.0)
        ),
        'brightness': Corruption(
            3, _brightness, 'added to pixels from 0 to 1', (0.05, 0.1, 0.15, 0.2, 0.3)
        ),
        'contrast': Corruption(
            4, _contrast, 'share that is left', (0.75, 0.5, 0.4, 0.3, 0.15)
        ),
    }
)
