"""Image files, read whatever is in them: real images of many kinds, and bad files."""

import contextlib
import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from fmnist_jax.data import image_files
from fmnist_jax.data.image_files import ImageFileError
from tests.images import GREY, boot, encode, png, prepare_file, read

# --- Reading and preparing what is good.


def to_16_bits(pixels: np.ndarray) -> np.ndarray:
    """The same brightness; low bytes that tell nothing."""
    return pixels.astype(np.uint16) * 256 + 77


# Ways of keeping a grey image without loss.
LOSSLESS = {
    'PNG': lambda x: encode(x, 'PNG'),
    'BMP': lambda x: encode(x, 'BMP'),
    'GIF': lambda x: encode(x, 'GIF'),
    'PGM': lambda x: encode(x, 'PPM'),
    'TIFF': lambda x: encode(x, 'TIFF'),
    'TIFF, LZW': lambda x: encode(x, 'TIFF', compression='tiff_lzw'),
    'WebP': lambda x: encode(x, 'WEBP', lossless=True),
    'RGB': lambda x: encode(Image.fromarray(x).convert('RGB'), 'PNG'),
    'RGBA': lambda x: encode(Image.fromarray(x).convert('RGBA'), 'PNG'),
    'LA': lambda x: encode(Image.fromarray(x).convert('LA'), 'PNG'),
    'palette': lambda x: encode(Image.fromarray(x).convert('P'), 'PNG'),
    '16 bits, PNG': lambda x: encode(to_16_bits(x), 'PNG'),
    '16 bits, TIFF': lambda x: encode(to_16_bits(x), 'TIFF'),
    '16 bits, PGM': lambda x: (
        b'P5 28 28 65535 ' + to_16_bits(x).astype('>u2').tobytes()
    ),
    'plain PGM': lambda x: b'P2 28 28 255 ' + ' '.join(map(str, x.flat)).encode(),
}


@pytest.mark.parametrize('way', LOSSLESS)
def test_an_image_kept_without_loss_comes_out_as_it_was(tmp_path, test_images, way):
    for pixels in test_images[:20]:
        prepared = prepare_file(tmp_path, LOSSLESS[way](pixels))
        np.testing.assert_array_equal(prepared[..., 0], pixels)


@pytest.mark.parametrize(
    ('form', 'mode'),
    [
        ('JPEG', 'L'),
        ('JPEG', 'RGB'),
        ('JPEG', 'CMYK'),
        ('WEBP', 'RGB'),
        ('AVIF', 'RGB'),
    ],
)
def test_an_image_kept_with_loss_comes_out_much_as_it_was(tmp_path, pixels, form, mode):
    image = Image.fromarray(pixels).convert(mode)
    prepared = prepare_file(tmp_path, encode(image, form, quality=95))
    difference = prepared[..., 0].astype(int) - pixels
    assert np.abs(difference).mean() < 4


def test_an_image_of_one_bit_is_black_and_white(tmp_path, pixels):
    content = encode(Image.fromarray(pixels > 127), 'PNG')
    prepared = prepare_file(tmp_path, content)
    np.testing.assert_array_equal(prepared[..., 0], (pixels > 127) * np.uint8(255))


# What a camera has done to the upright picture when it notes an orientation, by
# https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, 4.6.4: where row 0 and column 0
# of the stored picture are.
ORIENTATIONS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: x.T[::-1],
    7: lambda x: x.T[::-1, ::-1],
    8: lambda x: x.T[:, ::-1],
}


def test_of_16_bits_the_high_ones_are_read_in_every_row(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, (700, 3), dtype=np.uint16)
    read_back = read(tmp_path, encode(values, 'PNG'))
    np.testing.assert_array_equal(np.asarray(read_back), values // 256)
    values = values.astype(np.int32)
    values[-1, -1] = 2**16
    with pytest.raises(ImageFileError, match='32 bits'):
        read(tmp_path, encode(values, 'TIFF'))


def test_a_run_length_encoded_bmp_is_read(tmp_path, pixels):
    # Rows from below; of each, runs of one pixel, and its end, two zeros.
    rows = [b''.join(bytes([1, x]) for x in row) + b'\0\0' for row in pixels[::-1]]
    prepared = prepare_file(tmp_path, run_length_bmp(28, b''.join(rows)))
    np.testing.assert_array_equal(prepared[..., 0], pixels)


@pytest.mark.parametrize('orientation', ORIENTATIONS)
@pytest.mark.parametrize('form', ['PNG', 'TIFF'])
def test_a_picture_is_turned_upright(tmp_path, pixels, orientation, form):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.ascontiguousarray(ORIENTATIONS[orientation](pixels))
    prepared = prepare_file(tmp_path, encode(stored, form, exif=exif))
    np.testing.assert_array_equal(prepared[..., 0], pixels)


@pytest.mark.parametrize('form', ['GIF', 'PNG', 'WEBP', 'TIFF'])
def test_the_first_picture_of_several_is_read(tmp_path, test_images, form):
    first, *others = map(Image.fromarray, test_images[:3])
    options = {'lossless': True} if form == 'WEBP' else {}
    content = encode(first, form, save_all=True, append_images=others, **options)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
    prepared = prepare_file(tmp_path, content)
    np.testing.assert_array_equal(prepared[..., 0], test_images[0])


# --- Reading what is not good.


def tiled_tiff(size: int, tile: int) -> bytes:
    """A TIFF file of a black image in one deflated tile, which may be larger."""
    packed = zlib.compress(bytes(tile * tile), 9)
    offset = 8 + 2 + 12 * 10 + 4
    # Width, height, bits, compression (8, deflate), photometric (1, black is 0),
    # samples, the tile's width, height, offset and bytes.
    tags = {256: size, 257: size, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile, 323: tile, 324: offset, 325: len(packed)}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, tags[tag]) for tag in tags)
    return b'II*\0' + struct.pack('<IH', 8, 10) + entries + bytes(4) + packed


def run_length_bmp(size: int, content: bytes) -> bytes:
    """A BMP file of grey pixels, 8 bits each, with compression 1: run lengths."""
    shades = b''.join(bytes([x, x, x, 0]) for x in range(256))
    start = 14 + 40 + len(shades)
    header = b'BM' + struct.pack('<IHHI', start + len(content), 0, 0, start)
    info = (40, size, size, 1, 8, 1, len(content), 0, 0, 256, 0)
    return header + struct.pack('<IiiHHIIiiII', *info) + shades + content


# The content of files, and what must be said of them.
BAD = {
    'empty': (b'', 'empty'),
    'text': (b'this is text\n', 'no PNG, JPEG'),
    'html': (b'<!DOCTYPE html><title>404</title>', 'no PNG, JPEG'),
    'svg': (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'no PNG, JPEG'),
    # Pillow would start Ghostscript.
    'EPS': (encode(Image.new('L', (9, 9)), 'EPS'), 'no PNG, JPEG'),
    'rare format': (encode(Image.new('L', (9, 9)), 'PCX'), 'no PNG, JPEG'),
    'PNG of 3.6 gigapixels': (png(60_000, 60_000), 'more than 67 million pixels'),
    'PNG of 80 megapixels': (png(10_000, 8_000), 'more than 67 million pixels'),
    'no pixels': (png(0, 28), ''),
    'few pixels': (png(28, 28, bytes(100)), 'damaged'),
    'truncated PNG': (boot()[:5000], 'damaged: image file is truncated'),
    'truncated JPEG': (boot('JPEG')[:2000], 'damaged: image file is truncated'),
    'truncated GIF': (boot('GIF')[:2000], 'damaged: image file is truncated'),
    'truncated BMP': (boot('BMP')[:2000], 'damaged: image file is truncated'),
    'truncated WebP': (boot('WEBP')[:2000], 'damaged'),
    'truncated TIFF': (boot('TIFF')[:2000], 'damaged: image file is truncated'),
    'only a signature': (boot()[:8], ''),
    'floats': (encode(np.zeros((9, 9), np.float32), 'TIFF'), 'floating-point'),
    '32 bits': (encode(np.full((9, 9), 2**17, np.int32), 'TIFF'), '32 bits'),
    # An end of line for each row in 17 kB, which took 10 seconds.
    'BMP of endless lines': (run_length_bmp(8191, bytes(2 * 8191)), 'run-length'),
    # 64 x 64 pixels in 80 kB, which would take 134 MB.
    'TIFF of one huge tile': (tiled_tiff(64, 11_584), 'more than 67 million pixels'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_file_is_told_in_one_line(tmp_path, case):
    content, part = BAD[case]
    with pytest.raises(ImageFileError) as caught:
        read(tmp_path, content)
    assert part in str(caught.value)
    assert str(caught.value).strip()
    assert '\n' not in str(caught.value)


def test_a_tiled_tiff_of_usual_tiles_is_read(tmp_path):
    # Or the test above would refuse it for another reason.
    assert read(tmp_path, tiled_tiff(64, 256)).size == (64, 64)


def test_a_file_without_end_or_writer_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'loop.png').symlink_to('loop.png')
    for path in (tmp_path / 'pipe.png', '/dev/zero', tmp_path):
        with pytest.raises(ImageFileError, match='not a regular file'):
            image_files.read(str(path))
    with pytest.raises(ImageFileError, match='Too many levels of symbolic links'):
        image_files.read(str(tmp_path / 'loop.png'))
    with pytest.raises(ImageFileError, match='No such file'):
        image_files.read(str(tmp_path / 'gone.png'))


def test_a_file_that_may_not_be_read_is_told(tmp_path, pixels, monkeypatch):
    (tmp_path / 'image.png').write_bytes(encode(pixels, 'PNG'))

    # Root, as which tests may run, may read everything.
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(image_files.os, 'open', refuse)
    with pytest.raises(ImageFileError, match='cannot be read: Permission denied'):
        image_files.read(str(tmp_path / 'image.png'))


def test_files_with_flipped_bytes_are_read_or_refused(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    good = [
        boot('PNG', exif=exif),
        boot('JPEG', exif=exif),
        boot('JPEG', progressive=True),
        boot('WEBP', exif=exif),
        boot('AVIF', exif=exif),
        boot('TIFF', exif=exif),
        boot('TIFF', compression='tiff_lzw'),
        boot('GIF'),
        boot('BMP'),
        boot('PPM'),
    ]
    rng = np.random.default_rng(0)
    refused = 0
    for content in good * 40:
        flipped = bytearray(content)
        # Mostly in the header.
        end = len(content) if rng.random() < 0.3 else 100
        for position in rng.integers(0, end, 3):
            flipped[position] = rng.integers(256)
        try:
            assert prepare_file(tmp_path, bytes(flipped)).shape == GREY
        except ImageFileError:
            refused += 1
    assert 50 < refused < 350


def test_reading_changes_no_setting_of_the_process(tmp_path):
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for content in (boot(), png(60_000, 60_000), png(10_000, 9_500)):
            with contextlib.suppress(ImageFileError):
                read(tmp_path, content)
    assert caught == []
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == (limit, filters)


def test_the_file_is_not_kept_with_its_pixels(tmp_path):
    # PNG files may be animated, so that Pillow would keep it.
    image = read(tmp_path, encode(Image.new('RGBA', (64, 64)), 'PNG'))
    assert image.fp is None or image.fp.closed
    assert image.getpixel((3, 3)) == (0, 0, 0, 0)
