"""Files appear whole or not at all, whoever else writes, and mistakes are told."""

import subprocess
import sys

import pytest
from etils import epath

from fmnist_jax import workdir
from fmnist_jax.errors import UserError
from tests.conftest import ROOT

WRITER = """
import sys
from etils import epath
from fmnist_jax import workdir
folder, letter = epath.Path(sys.argv[1]), sys.argv[2]
for _ in range(300):
    workdir.check(folder / 'deeper')
    workdir.write_bytes(folder / 'file', letter.encode() * 100_000)
"""


def test_writers_of_one_file_do_not_meet(tmp_path):
    command = [sys.executable, '-c', WRITER, str(tmp_path)]
    writers = [
        subprocess.Popen([*command, letter], cwd=ROOT, stderr=subprocess.PIPE)
        for letter in 'ab'
    ]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / 'file').exists():
            assert (tmp_path / 'file').read_text() in ('a' * 100_000, 'b' * 100_000)
    for writer in writers:
        assert writer.returncode == 0, writer.stderr.read()
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    folder = epath.Path(tmp_path)
    with pytest.raises(UserError, match=r'cannot write .*: File name too long'):
        workdir.write_bytes(folder / ('x' * 300), b'content')
    (tmp_path / 'taken').mkdir()
    with pytest.raises(UserError, match=r'cannot write .*taken: '):
        workdir.write_bytes(folder / 'taken', b'content')
    assert [path.name for path in tmp_path.iterdir()] == ['taken']


def test_a_full_disk_is_told():
    with pytest.raises(UserError, match=r'/dev/full: No space left on device'):
        workdir.write_in_place(epath.Path('/dev/full'), b'content')
