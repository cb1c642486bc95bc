"""A bucket as a work folder: gcsfs, TensorStore and Orbax on a stand-in for Google."""

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from etils import epath

from fmnist_jax import workdir
from fmnist_jax.errors import UserError
from fmnist_jax.training import recorder
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.evaluation import evaluate as evaluate_lib
from fmnist_jax.training.train import train_and_evaluate
from tests import fake_gcs
from tests.conftest import ROOT

TIMES = ('seconds', 'images_per_second')


@pytest.fixture(scope='module')
def service() -> Iterator[tuple[fake_gcs.Store, dict[str, str]]]:
    """What is stored, and the environment in which it is found; also this process's."""
    pytest.importorskip('gcsfs', reason='gs:// needs gcsfs')
    with (
        fake_gcs.serve() as (store, environment),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield store, environment


@pytest.fixture
def store(service) -> fake_gcs.Store:
    service[0].objects.clear()
    service[0].failures = 0
    _forget_listings()
    return service[0]


def _forget_listings() -> None:
    # Between tests, the objects change without gcsfs.
    import gcsfs  # noqa: PLC0415

    gcsfs.GCSFileSystem.clear_instance_cache()


def metrics(folder: epath.Path) -> list[dict]:
    lines = map(json.loads, (folder / workdir.METRICS).read_text().splitlines())
    return [{k: v for k, v in x.items() if k not in TIMES} for x in lines]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_resumed_and_evaluated(
    store, small_config, tmp_path, monkeypatch
):
    small_config.num_cpu_devices = 8
    small_config.num_epochs = 3
    small_config.checkpoint.keep_last = 2
    train_and_evaluate(small_config, tmp_path)

    finish_epoch = recorder.Recorder.finish_epoch

    def fail_in_the_second(self, epoch, *arguments):
        if epoch == 1:
            raise RuntimeError('the machine is gone')
        finish_epoch(self, epoch, *arguments)

    bucket = 'gs://bucket/a folder/run'
    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, 'finish_epoch', fail_in_the_second)
        with pytest.raises(RuntimeError, match='the machine is gone'):
            train_and_evaluate(small_config, bucket)
    _forget_listings()
    train_and_evaluate(small_config, bucket)

    folder = epath.Path(bucket)
    assert metrics(folder) == metrics(epath.Path(tmp_path))
    there, here = Checkpoints(folder), Checkpoints(epath.Path(tmp_path))
    assert there.steps() == here.steps()
    assert all(map(there.is_whole, there.steps()))
    last = here.steps()[-1]
    expected = here.read_variables(last)['params']
    params = there.read_variables(last)['params']
    for layer, arrays in expected.items():
        for name, array in arrays.items():
            assert np.array_equal(params[layer][name], array)

    evaluate_lib.evaluate(bucket, 'validation', 'last')
    measured = workdir.read_json(folder / 'eval' / 'validation' / 'metrics.json')
    assert measured['accuracy'] == metrics(folder)[-1]['accuracy']
    names = {name for _, name in store.objects}
    assert all(name.startswith('a folder/run/') for name in names)
    assert not [
        name for name in names if '.write-test' in name or name.endswith('.tmp')
    ]


def test_files_of_a_bucket_appear_whole_and_mistakes_are_told(store):
    folder = workdir.create('gs://bucket/run')
    assert not store.objects
    workdir.write_json(folder / 'deeper' / 'x.json', {'a': 1})
    assert workdir.read_json(folder / 'deeper' / 'x.json') == {'a': 1}
    with pytest.raises(UserError, match='is missing; is gs://bucket/run a work folder'):
        workdir.read_json(folder / 'nix.json')
    store.failures = 10
    with pytest.raises(
        UserError, match=r'^cannot write to gs://bucket/run: .*Forbidden'
    ):
        workdir.check(folder)
    with pytest.raises(
        UserError, match=r'^cannot write gs://bucket/run/y: .*Forbidden'
    ):
        workdir.write_bytes(folder / 'y', b'content')
    assert [name for _, name in store.objects] == ['run/deeper/x.json']


def test_other_places_are_told():
    for name in ('ftp://host/x', 'memory://x', 'nix://'):
        with pytest.raises(UserError, match='a local path or gs://BUCKET/FOLDER'):
            workdir.create(name)


def test_a_missing_library_is_told():
    program = (
        'import sys; sys.modules["gcsfs"] = None\n'
        'from fmnist_jax import workdir\n'
        'from fmnist_jax.errors import UserError\n'
        'folder = workdir.locate("gs://bucket/x")\n'
        'for call in (workdir.create, workdir.read_json):\n'
        '    try: call(folder)\n'
        '    except UserError as error: print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith('cannot write to gs://bucket/x: ')
    assert lines[1].startswith('gs://bucket/x cannot be read: ')
    assert all('install gcsfs' in line for line in lines)
