"""Image files that would take too much memory or time, and those that may be read."""

import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from fmnist_jax.data import image_files, image_limits
from fmnist_jax.data.image_files import ImageFileError
from tests.images import GREY, boot, encode, png, prepare_file, read


def many_scans(size: int, count: int) -> bytes:
    """A progressive JPEG file of a black image whose last scan is there many times."""
    content = encode(Image.new('L', (size, size)), 'JPEG', progressive=True)
    end = content.rindex(b'\xff\xd9')
    scan = content[content.rindex(b'\xff\xda') : end]
    return content[:end] + count * scan + content[end:]


def test_a_jpeg_of_endless_scans_is_refused_at_once(tmp_path):
    # 40 kB of them, which would take half a minute.
    content = many_scans(4096, 3_000)
    start = time.process_time()
    with pytest.raises(ImageFileError, match=r'3,\d* JPEG scans'):
        read(tmp_path, content)
    assert time.process_time() - start < 0.5


def test_a_small_jpeg_may_hold_what_looks_like_scans(tmp_path):
    expected = np.asarray(read(tmp_path, many_scans(64, 1)))
    for content in (many_scans(64, 1_000), many_scans(64, 1) + b'\xff\xda' * 1_000):
        np.testing.assert_array_equal(np.asarray(read(tmp_path, content)), expected)


def test_a_file_of_gigabytes_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / 'large.png'
    path.write_bytes(boot())
    os.truncate(path, 2**40)
    with pytest.raises(ImageFileError, match='larger than 256 MiB'):
        image_files.read(str(path))
    monkeypatch.setattr(image_files, 'MAX_BYTES', 2**20)
    os.truncate(path, 2**20 + 1)
    with pytest.raises(ImageFileError, match='larger than 1 MiB'):
        image_files.read(str(path))
    # Zeros after the image's end do no harm.
    os.truncate(path, 2**20)
    assert image_files.read(str(path)).size == (64, 64)


def test_a_row_of_very_many_pixels_is_refused(tmp_path):
    # Shrinking 44 million of them would take 2 GB, 60 million an exception.
    for sides in ((65_536, 1), (1, 60_000_000)):
        content = png(*sides, bytes(2 * max(sides)))
        with pytest.raises(ImageFileError, match='more than 65,535 pixels wide or h'):
            read(tmp_path, content)
    longest = png(1, 65_535, bytes(2 * 65_535))
    assert prepare_file(tmp_path, longest).shape == GREY


# Files whose decoders need more memory for each pixel, and pixels that these may have.
COSTLY = {
    'WebP': (lambda: boot('WEBP'), 33),
    'AVIF': (lambda: boot('AVIF'), 33),
    'progressive JPEG': (lambda: boot('JPEG', progressive=True), 44),
    'JPEG in three scans': (lambda: scans_apart(boot('JPEG')), 44),
}


def scans_apart(content: bytes) -> bytes:
    """A header of a JPEG file that says its first scan holds the first component."""
    at = content.rindex(b'\xff\xda')
    return content[:at] + b'\xff\xda\0\x08\x01\x01\0\0\x3f\0' + content[at + 14 :]


@pytest.mark.parametrize('kind', COSTLY)
def test_of_costly_kinds_there_may_be_fewer_pixels(tmp_path, monkeypatch, kind):
    make, millions = COSTLY[kind]
    content = make()
    opened = Image.open(io.BytesIO(content))
    # The header's, as it would be in a large file.
    for size, refused in (((5_000, 6_000), False), ((6_000, 7_500), True)):
        monkeypatch.setattr(type(opened), 'size', size)
        monkeypatch.setattr(type(opened), 'width', size[0])
        monkeypatch.setattr(type(opened), 'height', size[1])
        if refused:
            with pytest.raises(ImageFileError, match=f'more than {millions} million'):
                image_limits.check(opened, content)
        else:
            image_limits.check(opened, content)
    monkeypatch.undo()


def test_a_usual_jpeg_may_have_them(monkeypatch):
    content = boot('JPEG')
    opened = Image.open(io.BytesIO(content))
    for name, value in (('size', (8_000, 8_000)), ('width', 8_000), ('height', 8_000)):
        monkeypatch.setattr(type(opened), name, value)
    image_limits.check(opened, content)


def test_a_file_that_pillow_reads_slowly_is_given_up(tmp_path, monkeypatch):
    # Pillow copies what it has at each of the segments.
    content = boot('JPEG')
    content = content[:2] + b'\xff\xe1\0\x09Exif\0\0a' * 100_000 + content[2:]
    monkeypatch.setattr(image_limits, '_MAX_SECONDS', 0.05)
    start = time.thread_time()
    with pytest.raises(ImageFileError, match=r'takes more than 0\.05 seconds'):
        read(tmp_path, content)
    assert time.thread_time() - start < 0.5


def test_a_file_of_too_many_parts_is_given_up(tmp_path, monkeypatch):
    content = boot('JPEG')
    content = content[:2] + b'\xff\xfe\0\2' * 3_000 + content[2:]
    assert read(tmp_path, content).size == (64, 64)
    monkeypatch.setattr(image_limits, '_MAX_READS', 2_000)
    with pytest.raises(ImageFileError, match='more than 2,000 parts'):
        read(tmp_path, content)


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr(image_files.Image, 'open', refuse)
    with pytest.raises(ImageFileError, match='no memory for its pixels'):
        read(tmp_path, boot())
