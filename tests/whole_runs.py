"""What a training left in its work folder, to be compared with another's."""

import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests import event_files
from tests.conftest import run_script

# Timing fields, which differ from run to run.
TIMES = ('seconds', 'images_per_second')


def data_flags(data_dir: str, num_train: int = 4800) -> list[str]:
    """The flags of a training on the first images; 1,000 others validate."""
    return [
        '--config=configs/default.py',
        f'--config.data.data_dir={data_dir}',
        f'--config.data.train_split=train[:{num_train}]',
        '--config.data.validation_split=train[55000:56000]',
    ]


def train_undisturbed(flags: list[str], workdir: Path) -> Path:
    """Trains to the end in a process of its own; the work folder."""
    done = run_script('fmnist_jax.main', *flags, f'--workdir={workdir}')
    assert done.returncode == 0, done.stderr
    return workdir


def last_step(workdir: Path) -> int:
    """The step of the newest checkpoint that has its manifest; 0 if there is none."""
    manifests = workdir.glob('checkpoints/*/manifest.sha256')
    return max((int(path.parent.name) for path in manifests), default=0)


def state_at(workdir: Path, step: int) -> dict:
    """Everything in a checkpoint, read by Orbax itself."""
    path = workdir / 'checkpoints' / str(step)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        return jax.tree.map(np.asarray, checkpointer.restore(path, args).state)


def metrics(workdir: Path) -> list[str]:
    """The lines of metrics.jsonl, byte for byte but for the times."""
    lines = []
    for line in (workdir / 'metrics.jsonl').read_text().splitlines():
        record = json.loads(line)
        times = [record.pop(name) for name in TIMES if name in record]
        assert len(times) == (2 if record['split'] == 'train' else 0)
        assert all(value > 0 for value in times)
        lines.append(json.dumps(record))
    return lines


def assert_same_run(workdir: Path, expected: Path) -> None:
    """The same, bit for bit."""
    state = state_at(workdir, last_step(workdir))
    expected_state = state_at(expected, last_step(expected))
    assert jax.tree.structure(state) == jax.tree.structure(expected_state)
    for (path, leaf), other in zip(
        jax.tree_util.tree_leaves_with_path(state),
        jax.tree.leaves(expected_state),
        strict=True,
    ):
        assert leaf.tobytes() == other.tobytes(), path
    assert metrics(workdir) == metrics(expected)
    shown = event_files.same_in_every_run(workdir)
    assert shown == event_files.same_in_every_run(expected)


def assert_same_but_for_rounding(
    workdir: Path, expected: Path, tolerance: float
) -> None:
    """Numbers that are close, up to the last step of the first."""
    lines = list(map(json.loads, metrics(workdir)))
    others = list(map(json.loads, metrics(expected)))
    for line, other in zip(lines, others[: len(lines)], strict=True):
        assert line.keys() == other.keys()
        for key, value in line.items():
            if isinstance(value, float):
                np.testing.assert_allclose(value, other[key], rtol=tolerance)
            else:
                assert value == other[key]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance),
        state_at(workdir, last_step(workdir)),
        state_at(expected, last_step(workdir)),
    )
