"""Pictures made into images like those trained on: grey, background and size."""

import numpy as np
import pytest
from PIL import Image

from fmnist_jax.data.image_preparation import prepare
from tests.images import COLOR, GREY, encode, prepare_file


def test_colour_becomes_grey_by_its_luma(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, COLOR, dtype=np.uint8)
    prepared = prepare_file(tmp_path, encode(color, 'PNG'), invert='no')
    luma = color @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(prepared[..., 0], luma, atol=0.6)


def test_a_model_of_colour_images_is_given_them(tmp_path, pixels):
    grey = prepare_file(tmp_path, encode(pixels, 'PNG'), COLOR)
    np.testing.assert_array_equal(grey, np.stack([pixels] * 3, axis=-1))
    color = np.random.default_rng(0).integers(128, 256, COLOR, dtype=np.uint8)
    content = encode(color, 'PNG')
    np.testing.assert_array_equal(prepare_file(tmp_path, content, COLOR), color)
    inverted = prepare_file(tmp_path, content, COLOR, 'yes')
    np.testing.assert_array_equal(inverted, 255 - color)


# --- Background.


def test_auto_inverts_no_test_image_and_every_inverted_one(test_images):
    outermost = np.ones((28, 28), bool)
    outermost[1:-1, 1:-1] = False
    medians = np.median(test_images[:, outermost], axis=1)
    assert medians.max() <= 127
    # Those nearest to being inverted, and some others.
    for pixels in test_images[np.argsort(medians)[-500:]]:
        kept = prepare(Image.fromarray(pixels), GREY)[..., 0]
        turned = prepare(Image.fromarray(255 - pixels), GREY)[..., 0]
        assert np.array_equal(kept, pixels)
        assert np.array_equal(turned, pixels)


def test_the_mean_would_invert_many_test_images(test_images):
    # What the docstring of `prepare` says of the alternative.
    assert (test_images.mean(axis=(1, 2)) > 127).sum() == 565


def test_a_thing_that_reaches_the_border_does_not_decide():
    pixels = np.full((28, 28), 60, np.uint8)
    # 51 of 108 pixels of the border, whose mean is 152.
    pixels[0], pixels[:24, -1] = 255, 255
    np.testing.assert_array_equal(
        prepare(Image.fromarray(pixels), GREY)[..., 0], pixels
    )


def test_invert_is_as_it_is_asked_for(pixels):
    dark, light = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    np.testing.assert_array_equal(prepare(dark, GREY, 'yes')[..., 0], 255 - pixels)
    np.testing.assert_array_equal(prepare(light, GREY, 'yes')[..., 0], pixels)
    np.testing.assert_array_equal(prepare(light, GREY, 'no')[..., 0], 255 - pixels)


@pytest.mark.parametrize(('invert', 'background'), [('yes', 255), ('no', 0)])
def test_transparent_pixels_become_the_background(tmp_path, pixels, invert, background):
    alpha = np.arange(784).reshape(28, 28) % 256
    content = encode(np.stack([pixels, alpha.astype(np.uint8)], axis=-1), 'PNG')
    blended = (alpha * pixels.astype(float) + (255 - alpha) * background) / 255
    expected = 255 - blended if invert == 'yes' else blended
    prepared = prepare_file(tmp_path, content, invert=invert)
    np.testing.assert_allclose(prepared[..., 0], expected, atol=1)


def test_a_picture_cut_out_of_its_background_is_put_on_black(tmp_path, pixels):
    # As shops have them: dark, the background transparent, its colour of no meaning.
    alpha = np.where(pixels > 0, 255, 0).astype(np.uint8)
    shades = np.where(pixels > 0, 255 - pixels, 90).astype(np.uint8)
    cut_out = np.stack([shades, shades, shades, alpha], axis=-1)
    for form, options in (('PNG', {}), ('WEBP', {'lossless': True})):
        prepared = prepare_file(tmp_path, encode(cut_out, form, **options))
        np.testing.assert_array_equal(prepared[..., 0], pixels)
    large = Image.fromarray(cut_out).resize((280, 280), Image.Resampling.NEAREST)
    prepared = prepare_file(tmp_path, encode(large, 'PNG'))
    assert np.abs(prepared[..., 0].astype(int) - pixels).mean() < 8
    assert prepared[0, 0, 0] == 0


# --- Size.


@pytest.mark.parametrize('factor', [2, 10, 50])
def test_an_enlarged_image_is_shrunk_to_what_it_was(test_images, factor):
    for pixels in test_images[:5]:
        large = np.kron(pixels, np.ones((factor, factor), np.uint8))
        prepared = prepare(Image.fromarray(large), GREY)[..., 0]
        assert np.abs(prepared.astype(int) - pixels).mean() < 8


def test_fine_detail_is_averaged_not_skipped():
    checks = np.indices((1400, 1400)).sum(axis=0) % 2 * 255
    prepared = prepare(Image.fromarray(checks.astype(np.uint8)), GREY, 'no')
    np.testing.assert_allclose(prepared, 127.5, atol=3)


def test_a_wide_picture_is_centred_on_its_own_background():
    # Shrunk to 28 x 14, with 7 rows of the border's 40 added above and below.
    wide = np.full((280, 560), 40, np.uint8)
    wide[100:-100, 100:-100] = 200
    prepared = prepare(Image.fromarray(wide), GREY)[..., 0]
    assert (prepared[:7] == 40).all()
    assert (prepared[-7:] == 40).all()
    np.testing.assert_allclose(prepared[12:16, 6:-6], 200, atol=25)
    tall = prepare(Image.fromarray(wide.T), GREY)[..., 0]
    np.testing.assert_array_equal(tall, prepared.T)
    light = prepare(Image.fromarray(255 - wide), GREY)[..., 0]
    np.testing.assert_allclose(light, prepared, atol=1)
    colored = np.stack([wide, wide // 2, 255 - wide], axis=-1)
    prepared = prepare(Image.fromarray(colored), COLOR)
    assert (prepared[:7] == [40, 20, 215]).all()


@pytest.mark.parametrize(
    'size', [(1, 1), (1, 5000), (5000, 1), (29, 28), (28, 27), (3, 2)]
)
@pytest.mark.parametrize('shape', [GREY, COLOR, (20, 60, 3), (1, 1, 1)])
def test_any_size_is_made_the_model_s(size, shape):
    for mode in ('L', 'RGB', 'RGBA'):
        prepared = prepare(Image.new(mode, size, 'white'), shape, 'no')
        assert (prepared.shape, prepared.dtype) == (shape, np.uint8)
        assert (prepared == 255).all()
