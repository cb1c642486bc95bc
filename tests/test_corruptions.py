"""Corruptions of real images, against Pillow, SciPy's convolution and Matplotlib."""

import re

import numpy as np
import pytest
from jaxtyping import UInt8
from matplotlib import colors
from PIL import Image, ImageEnhance
from scipy import signal, stats

from fmnist_jax.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fmnist_jax.errors import UserError

NAMES = tuple(CORRUPTIONS)
# Of `make_cifar_c.py`; see the module.
PUBLISHED = {
    'gaussian_noise': [0.04, 0.06, 0.08, 0.09, 0.10],
    'gaussian_blur': [0.4, 0.6, 0.7, 0.8, 1],
    'brightness': [0.05, 0.1, 0.15, 0.2, 0.3],
    'contrast': [0.75, 0.5, 0.4, 0.3, 0.15],
}


@pytest.fixture(scope='module')
def images(dataset) -> UInt8[np.ndarray, 'n h w c']:
    """Real images."""
    return dataset.split('test[:64]')[0]


@pytest.fixture(scope='module')
def coloured(images) -> UInt8[np.ndarray, 'n h w 3']:
    """Real images, three as the colours of one; none of which is grey."""
    return np.concatenate([images[:20], images[20:40], images[40:60]], axis=-1)


def test_the_constants_are_the_published_ones():
    for name, strengths in PUBLISHED.items():
        assert list(CORRUPTIONS[name].strengths) == strengths
    assert set(NAMES) == {*PUBLISHED, 'rotation'}
    assert max(CORRUPTIONS['rotation'].strengths) == 30


@pytest.mark.parametrize('severity', SEVERITIES)
def test_noise_is_normal_with_the_sigma_of_its_severity(severity, dataset):
    clean, _ = dataset.split('test[:300]')
    noisy = corrupt(clean, 'gaussian_noise', severity)
    # Far enough from black and white that nothing is cut off.
    inside = (clean > 110) & (clean < 145)
    noise = (noisy.astype(int) - clean)[inside] / 255
    assert len(noise) > 5000
    sigma = PUBLISHED['gaussian_noise'][severity - 1]
    assert noise.mean() == pytest.approx(0, abs=4 * sigma / len(noise) ** 0.5)
    # Rounding to grey levels adds the variance of a uniform distribution.
    expected = (sigma**2 + 1 / (12 * 255**2)) ** 0.5
    assert noise.std() == pytest.approx(expected, rel=0.03)
    smooth = noise + np.random.default_rng(0).uniform(-0.5, 0.5, len(noise)) / 255
    assert stats.kstest(smooth, stats.norm(scale=expected).cdf).pvalue > 1e-3


@pytest.mark.parametrize('severity', SEVERITIES)
def test_blur_is_a_convolution_with_a_normal_density(severity, images):
    sigma = PUBLISHED['gaussian_blur'][severity - 1]
    radius = int(4 * sigma + 0.5)
    density = stats.norm.pdf(np.arange(-radius, radius + 1), scale=sigma)
    kernel = np.outer(density, density) / density.sum() ** 2
    blurred = corrupt(images, 'gaussian_blur', severity)
    for image, result in zip(images[..., 0], blurred[..., 0], strict=True):
        padded = np.pad(image / 255, radius, 'edge')
        expected = 255 * signal.convolve2d(padded, kernel, 'valid')
        np.testing.assert_allclose(result, expected, atol=0.501)


@pytest.mark.parametrize('severity', SEVERITIES)
def test_rotation_is_pillows_to_either_side(severity, images):
    # Beyond its border Pillow sees the border, SciPy black: here both are black.
    padded = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)))
    rotated = corrupt(padded, 'rotation', severity)
    angle = CORRUPTIONS['rotation'].strengths[severity - 1]
    sides = []
    for image, result in zip(padded[..., 0], rotated[..., 0], strict=True):
        pillow = Image.fromarray(image.astype(np.float32))
        gaps = [
            np.abs(np.asarray(pillow.rotate(turn, Image.Resampling.BILINEAR)) - result)
            for turn in (angle, -angle)
        ]
        sides.append(int(gaps[0].max() > gaps[1].max()))
        assert gaps[sides[-1]].max() < 0.51
    # About as many to the left as to the right.
    assert stats.binomtest(sum(sides), len(sides)).pvalue > 1e-3


@pytest.mark.parametrize('severity', SEVERITIES)
def test_brightness_is_added_to_hsvs_value(severity, coloured, images):
    added = PUBLISHED['brightness'][severity - 1]
    hsv = colors.rgb_to_hsv(coloured / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    expected = 255 * colors.hsv_to_rgb(hsv)
    result = corrupt(coloured, 'brightness', severity)
    np.testing.assert_allclose(result, expected, atol=0.501)
    grey = corrupt(images, 'brightness', severity)
    np.testing.assert_allclose(grey, np.minimum(images + 255 * added, 255), atol=0.501)


@pytest.mark.parametrize('severity', SEVERITIES)
def test_contrast_is_pillows(severity, images):
    factor = PUBLISHED['contrast'][severity - 1]
    results = corrupt(images, 'contrast', severity)
    for image, result in zip(images[..., 0], results[..., 0], strict=True):
        pillow = ImageEnhance.Contrast(Image.fromarray(image)).enhance(factor)
        # Pillow rounds the mean, and cuts off its result.
        gap = result.astype(int) - np.asarray(pillow)
        assert np.abs(gap).max() <= 1


@pytest.mark.parametrize('name', NAMES)
def test_each_severity_hurts_more_than_the_one_before(name, images):
    distances = [
        np.abs(corrupt(images, name, severity).astype(int) - images).mean()
        for severity in SEVERITIES
    ]
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all()
    assert distances[-1] > 1.5 * distances[0]


@pytest.mark.parametrize('name', NAMES)
def test_what_becomes_of_an_image_depends_on_its_position_alone(name, dataset):
    """Not on its neighbours, nor on how many there are, nor on a call before."""
    clean, _ = dataset.split('test[:1100]')
    before = clean.copy()
    result = corrupt(clean, name, 3)
    np.testing.assert_array_equal(clean, before)
    np.testing.assert_array_equal(corrupt(clean[:30], name, 3), result[:30])
    others = np.zeros_like(clean)
    others[1050:] = clean[1050:]
    np.testing.assert_array_equal(corrupt(others, name, 3)[1050:], result[1050:])


def test_random_numbers_differ_by_position_severity_and_seed():
    grey = np.full((1003, 28, 28, 1), 128, np.uint8)
    results = [
        corrupt(grey, 'gaussian_noise', severity, seed)
        for severity, seed in ((1, 0), (1, 1), (2, 0))
    ]
    # On both sides of a block's end, too.
    noise = np.concatenate(
        [result[[0, 1, 999, 1000, 1002], ..., 0] for result in results]
    )
    correlation = np.corrcoef(noise.reshape(len(noise), -1))
    assert np.abs(correlation - np.eye(len(noise))).max() < 0.2


def test_the_noise_is_that_of_every_machine():
    """As long as NumPy keeps its generators' streams."""
    black = np.full((2, 2, 2, 1), 100, np.uint8)
    result = corrupt(black, 'gaussian_noise', 5)
    assert result.ravel().tolist() == [97, 103, 42, 131, 99, 65, 96, 122]


@pytest.mark.parametrize('name', NAMES)
def test_colours_and_sides_of_other_lengths_are_kept(name, coloured):
    wide = coloured[:, :20]
    result = corrupt(wide, name, 2)
    assert (result.shape, result.dtype) == (wide.shape, np.uint8)
    assert (result != wide).any()
    assert corrupt(wide[:0], name, 2).shape == (0, *wide.shape[1:])


@pytest.mark.parametrize(
    ('name', 'severity', 'message'),
    [
        ('gaussian_noize', 1, "'gaussian_noize'; did you mean 'gaussian_noise'?"),
        ('contrast', 0, 'severity must be one of 1, 2, 3, 4, 5, not 0'),
        ('contrast', 6, 'severity must be one of 1, 2, 3, 4, 5, not 6'),
    ],
)
def test_an_unknown_corruption_or_severity_is_refused(name, severity, message, images):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        corrupt(images, name, severity)
    assert '\n' not in str(caught.value)
