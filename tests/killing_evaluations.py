"""Evaluations that are killed: in which phase they were, and what they leave."""

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.jobs import Job

# The last of its own modules to be imported.
_IMPORTED = '| fmnist_jax.training.evaluation.evaluate\n'
_FILES = {'.json', '.npz', '.png', '.pdf', '.html'}


def assert_whole(path: Path) -> None:
    """A file of an evaluation can be read to its end."""
    if path.suffix == '.json':
        json.loads(path.read_text())
    elif path.suffix == '.npz':
        with np.load(path) as arrays:
            # Checked by their checksums, as they are read.
            assert {name: arrays[name].shape for name in arrays}
    elif path.suffix == '.png':
        with Image.open(path) as image:
            image.load()
    else:
        end = {'.pdf': b'%%EOF', '.html': b'</html>'}[path.suffix]
        assert path.read_bytes().rstrip().endswith(end)


class EvaluationKiller:
    """Starts evaluations of the test split and kills them with SIGKILL.

    Attributes:
      phases: in which they were.
      num_whole: how many files they left, each of them whole.
    """

    def __init__(self, workdir: Path, log: Path, seed: int):
        self.phases: list[str] = []
        self.num_whole = 0
        self._workdir, self._log = workdir, log
        self._target = workdir / 'eval' / 'test'
        self._random = random.Random(seed)

    def at_random(self) -> None:
        """Kills one within its first seconds, over what is there or not."""
        if self._random.random() < 0.5:
            shutil.rmtree(self._target, ignore_errors=True)
        before = self._snapshot()
        job = self._start()
        time.sleep(self._random.uniform(0.2, 4))
        self._kill(job, before)

    def while_writing(self) -> None:
        """Kills one soon after it has written its first file."""
        shutil.rmtree(self._target, ignore_errors=True)
        before = self._snapshot()
        job = self._start()
        job.wait_until(lambda: self._snapshot() != before)
        time.sleep(self._random.uniform(0, 1.5))
        self._kill(job, before)

    def _start(self) -> Job:
        self._log.unlink(missing_ok=True)
        return Job(
            self._log,
            'fmnist_jax.evaluate',
            f'--workdir={self._workdir}',
            environment={'PYTHONPROFILEIMPORTTIME': '1'},
        )

    def _kill(self, job: Job, before: dict[str, tuple[int, int]]) -> None:
        if job.has_ended:
            assert job.code() == 0, job.printed
            return
        job.kill()
        if self._snapshot() != before:
            self.phases.append('after its first file, before its last')
        elif _IMPORTED in job.printed:
            self.phases.append('while reading and scoring')
        else:
            self.phases.append('while importing')
        for path in self._files():
            assert_whole(path)
            self.num_whole += 1

    def _snapshot(self) -> dict[str, tuple[int, int]]:
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in self._files()}

    def _files(self) -> list[Path]:
        """All but what a killed process was about to rename."""
        files = [p for p in self._target.glob('*') if not p.name.endswith('.tmp')]
        assert {path.suffix for path in files} <= _FILES
        return files
