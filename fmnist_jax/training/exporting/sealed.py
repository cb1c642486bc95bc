"""The file of an exported model: what `jax.export` serialises, then two lines of text.

They say what the model is, as JSON, and the SHA-256 of all that is before: `tail -n 2`
shows both. What `jax.export` serialises is a flatbuffer
(https://flatbuffers.dev/internals), which is read by offsets from its front, so
`jax.export.deserialize` takes the whole file as it is. It verifies nothing: after the
flip of a bit, most often weights are read wrong, and sometimes the process crashes,
hence the checksum. It tells damage, not who made a file: JAX asks to run only those
that one trusts.
"""

import hashlib
import json
import os
import re
from typing import Any

from etils import epath

from fmnist_jax.errors import UserError

_SHA256 = re.compile(rb'[0-9a-f]{64}')


def seal(program: bytes | bytearray, about: dict[str, Any]) -> bytes:
    """The content of a file.

    Args:
      program: as `jax.export` serialises it.
      about: what else there is to say, to be written as JSON.
    """
    content = b'%b\n%b\n' % (program, json.dumps(about).encode())
    return content + hashlib.sha256(content).hexdigest().encode() + b'\n'


def read(path: epath.Path) -> tuple[bytes, dict[str, Any]]:
    """Reads a file and verifies it.

    Returns:
      `program` and `about`, as in `seal`.

    Raises:
      UserError: there is no such file, it is of another kind, or it is damaged.
    """
    content = _read_bytes(path)
    program, *lines = content.rsplit(b'\n', 3)
    if len(lines) != 3 or lines[2] or not _SHA256.fullmatch(lines[1]):
        raise UserError(
            f'{path} is not a file of fmnist_jax.export, or its end is missing: such a '
            'file ends with its SHA-256'
        )
    about, checksum, _ = lines
    before = content[: -len(checksum) - 1]
    if hashlib.sha256(before).hexdigest().encode() != checksum:
        raise UserError(
            f'{path} is damaged: its SHA-256 is not the one in its last line; export '
            'the model again'
        )
    return program, _parse(path, about)


def _parse(path: epath.Path, about: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(about))
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{path} is not a file of fmnist_jax.export: the line before its last is '
            'not a JSON object'
        ) from error


def _read_bytes(path: epath.Path) -> bytes:
    if path.is_dir():
        raise UserError(f'{path} is a folder, not a file of fmnist_jax.export')
    if not path.exists():
        raise UserError(f'{path} is missing; write it with fmnist_jax.export')
    # A pipe would be waited for; epath takes one for a file.
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f'{path} is not an ordinary file, as fmnist_jax.export writes')
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror or error}') from error
