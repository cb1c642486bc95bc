"""Mistakes that `export` tells: in its arguments, work folders, paths and models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax.errors import UserError
from fmnist_jax.training.exporting.export import export
from tests.conftest import run_script
from tests.exporting import make_run
from tests.mistakes import assert_fails

# Arguments of fmnist_jax.export, and what the message must hold.
ARGUMENTS = {
    'no work folder': (['--output={folder}/file'], ['--workdir']),
    'no output': (['--workdir={run}'], ['--output']),
    'unexpected argument': (
        ['--workdir={run}', '--output={folder}/file', 'more'],
        ["unexpected argument 'more'"],
    ),
    'absent work folder': (
        ['--workdir={folder}/absent', '--output={folder}/file'],
        ['{folder}/absent/config.json is missing', 'a work folder?'],
    ),
}


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments_of_the_script(tmp_path, finished_run, case):
    arguments, parts = (
        [text.format(folder=tmp_path, run=finished_run) for text in texts]
        for texts in ARGUMENTS[case]
    )
    assert_fails(run_script('fmnist_jax.export', *arguments), *parts)
    assert not list(tmp_path.iterdir())


def assert_export_fails(
    workdir: Path, output: Path | str, *parts: str, checkpoint: str = 'best'
) -> None:
    with pytest.raises(UserError) as caught:
        export(workdir, output, checkpoint)
    message = str(caught.value)
    assert '\n' not in message
    for part in parts:
        assert part in message


def test_a_checkpoint_that_is_not_there_leaves_the_file_as_it_was(
    finished_run, tmp_path
):
    path = tmp_path / 'file'
    path.write_text('mine')
    for checkpoint, part in (
        ('7', 'no checkpoint 7 in'),
        ('bset', "must be best, last or a step, not 'bset'"),
    ):
        assert_export_fails(finished_run, path, part, checkpoint=checkpoint)
    assert path.read_text() == 'mine'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    'damage',
    [
        'no checkpoint',
        'without its manifest',
        'with half a file',
        'without a file',
        'without provenance',
    ],
)
def test_a_work_folder_that_is_not_whole_is_refused(finished_run, tmp_path, damage):
    run = tmp_path / 'run'
    shutil.copytree(finished_run, run)
    problem = f'no whole checkpoint in {run}/checkpoints'
    for step in (run / 'checkpoints').iterdir():
        largest = max(step.rglob('*'), key=lambda p: p.stat().st_size)
        assert largest.is_file()
        if damage == 'no checkpoint':
            shutil.rmtree(step)
        elif damage == 'without its manifest':
            (step / 'manifest.sha256').unlink()
        elif damage == 'with half a file':
            largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        elif damage == 'without a file':
            largest.unlink()
    if damage == 'without provenance':
        (run / 'provenance.json').unlink()
        problem = f'{run}/provenance.json is missing'
    assert_export_fails(run, tmp_path / 'file', problem)
    assert not (tmp_path / 'file').exists()


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    # Else the work folder, which is not there, would be told.
    absent = tmp_path / 'absent'
    (tmp_path / 'mine').write_text('mine')
    in_file = tmp_path / 'mine' / 'deeper' / 'file'
    assert_export_fails(absent, tmp_path, str(tmp_path), 'is a folder', '--output')
    assert_export_fails(absent, '/dev/null', '/dev/null', 'a device', '--output')
    folder = str(in_file.parent)
    assert_export_fails(absent, in_file, folder, 'mine: Not a directory', '--output')
    assert_export_fails(absent, '/proc/file', 'cannot write to /proc: ', '--output')
    assert_export_fails(absent, tmp_path / 'file', 'absent/config.json is missing')
    assert [p.name for p in tmp_path.iterdir()] == ['mine']
    assert (tmp_path / 'mine').read_text() == 'mine'


OWN_MODEL = """
from flax import linen as nn

class Own(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        rows = [images[i].reshape(-1) for i in range(images.shape[0])]
        return nn.Dense(self.num_classes)(nn.relu(images.reshape(len(rows), -1)))
"""


def test_a_model_of_one_s_own_that_needs_a_fixed_batch_is_told(
    tmp_path, data_dir, monkeypatch
):
    (tmp_path / 'fixed_batch.py').write_text(OWN_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    make_run(
        tmp_path, np.zeros((784, 10), np.float32), np.zeros(10, np.float32), ('a',) * 10
    )
    config = json.loads((tmp_path / 'config.json').read_text())
    config['model']['name'] = 'fixed_batch:Own'
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert_export_fails(
        tmp_path,
        tmp_path / 'file',
        "model 'fixed_batch:Own' cannot be exported with an open batch size: ",
        f'{tmp_path}/fixed_batch.py, line 9',
        checkpoint='last',
    )
