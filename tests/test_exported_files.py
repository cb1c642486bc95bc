"""Exported files: those that are damaged or of another kind are refused."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import export as jax_export

from fmnist_jax.errors import UserError
from fmnist_jax.training.exporting import sealed
from fmnist_jax.training.exporting.exported import ExportedModel, load


def flip(position: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[int(position * (len(content) - 1))] ^= 1
        return bytes(damaged)

    return change


def reseal(change: Callable[[bytes, dict], tuple[bytes, dict]]):
    """What has a right checksum, and is not right for all that."""

    def changed(content: bytes) -> bytes:
        program, about, _, _ = content.rsplit(b'\n', 3)
        return sealed.seal(*change(program, json.loads(about)))

    return changed


def sine(program: bytes, about: dict) -> tuple[bytes, dict]:
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    return jax_export.export(jax.jit(jnp.sin))(shape).serialize(), about


def from_the_future(program: bytes, about: dict) -> tuple[bytes, dict]:
    """As later versions write it: of a later format, with other operations."""
    changed, count = re.subn(rb'(StableHLO_v)\d', rb'\g<1>9', program)
    assert count == 1
    changed, count = re.subn(rb'(convolution_v)\d', rb'\g<1>9', changed)
    assert count == 1
    return changed, {**about, 'jax': '9.0'}


def seal_text(content: bytes) -> bytes:
    return content + hashlib.sha256(content).hexdigest().encode() + b'\n'


OTHER_KIND = 'is not a file of fmnist_jax.export'
# What becomes of a file, and what the message must hold.
DAMAGED = {
    'empty': (lambda _: b'', OTHER_KIND),
    'text': (lambda _: b'Fashion\nMNIST\nis\nfun\n', OTHER_KIND),
    'zeros': (lambda content: bytes(len(content)), OTHER_KIND),
    'cut in half': (lambda content: content[: len(content) // 2], OTHER_KIND),
    'cut by a byte': (lambda content: content[:-1], OTHER_KIND),
    'without its front': (lambda content: content[100:], 'is damaged'),
    'with something after': (lambda content: content + b'\n', OTHER_KIND),
    'without its two lines': (
        lambda content: content.rsplit(b'\n', 3)[0],
        OTHER_KIND,
    ),
    'first bit flipped': (flip(0), 'is damaged'),
    'bit of a weight flipped': (flip(0.4), 'is damaged'),
    'bit of the JSON flipped': (lambda c: c.replace(b'"Bag"', b'"Bog"'), 'is damaged'),
    'digit of the checksum changed': (
        lambda content: content[:-2] + (b'1\n' if content[-2:-1] == b'0' else b'0\n'),
        'is damaged',
    ),
    'line break flipped': (flip(1), OTHER_KIND),
    'of other JSON': (
        lambda content: seal_text(content.rsplit(b'\n', 3)[0] + b'\n[3]\n'),
        'not a JSON object',
    ),
    'of no JSON': (lambda _: seal_text(b'a\nb\n'), 'not a JSON object'),
    'of another program': (reseal(sine), 'not hold a classifier of images'),
    'of a program alone': (
        reseal(lambda program, _: (program, {})),
        'not hold a classifier of images',
    ),
    'of too many classes': (
        reseal(lambda p, about: (p, {**about, 'class_names': ['a'] * 11})),
        'not hold a classifier of images',
    ),
    'of no program': (
        reseal(lambda _, about: (b'nothing', about)),
        f'cannot be read by JAX {jax.__version__}',
    ),
    'newer than this JAX': (
        reseal(from_the_future),
        f'was exported by JAX 9.0 and cannot be read by JAX {jax.__version__}',
    ),
}


def assert_load_fails(path: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert '\n' not in message
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize('case', DAMAGED)
def test_a_file_that_is_damaged_or_of_another_kind_is_refused(
    exported, tmp_path, capfd, case
):
    change, problem = DAMAGED[case]
    content = exported[0].read_bytes()
    changed = change(content)
    assert changed != content
    path = tmp_path / 'file'
    path.write_bytes(changed)
    assert_load_fails(path, problem)
    # MLIR's parser prints what it thinks of a program.
    assert capfd.readouterr() == ('', '')


def test_a_file_sealed_again_is_accepted(exported, tmp_path, test_images):
    """So what is refused above is not refused for having been sealed again."""
    path = tmp_path / 'file'
    same = reseal(lambda program, about: (program, about))
    path.write_bytes(same(exported[0].read_bytes()))
    assert isinstance(load(path), ExportedModel)


def test_what_is_no_file_is_refused(tmp_path):
    assert_load_fails(tmp_path / 'absent', 'is missing')
    assert_load_fails(tmp_path, 'is a folder')
    os.mkfifo(tmp_path / 'pipe')
    assert_load_fails(tmp_path / 'pipe', 'is not an ordinary file')
