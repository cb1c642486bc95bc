"""The lock of a data set, where the file system has none to give."""

import errno

import pytest
from etils import epath

from fmnist_jax.data import prepared
from fmnist_jax.data.prepared import Prepared
from fmnist_jax.data.registry import FASHION_MNIST
from fmnist_jax.errors import UserError


def prepare(folder) -> None:
    data = Prepared(FASHION_MNIST, epath.Path(folder), FASHION_MNIST.sha256)
    with pytest.raises(UserError, match=r'--config\.data\.data_dir') as caught:
        data.prepare(None, None, pytest.fail)
    assert '\n' not in str(caught.value)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def refuse(file, operation: int) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(prepared.fcntl, 'flock', refuse)
    prepare(tmp_path)


def test_a_folder_in_the_lock_s_place_is_told(tmp_path):
    (tmp_path / FASHION_MNIST.name / '.lock').mkdir(parents=True)
    prepare(tmp_path)
