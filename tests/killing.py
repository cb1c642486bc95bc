"""Trainings that are killed in chosen phases, and in which phase they were."""

import os
import random
import time
from pathlib import Path

from tests.jobs import Job
from tests.whole_runs import data_flags, last_step

# A phase of `Killer`.
WRITING = 'while a checkpoint was being written'


def make_flags(data_dir: str) -> list[str]:
    """All that has a state or draws numbers; seconds of training in four epochs."""
    return [
        *data_flags(data_dir),
        '--config.model.name=tests.nets:DropoutNet',
        "--config.augmentation=({'name': 'pad_and_crop'},)",
        '--config.optimizer.name=adamw',
        '--config.optimizer.learning_rate=0.003',
        '--config.optimizer.schedule=cosine',
        '--config.optimizer.warmup=0.5 epochs',
        '--config.optimizer.weight_decay=0.05',
        '--config.optimizer.clip_norm=1.0',
        '--config.label_smoothing=0.1',
        '--config.ema_decay=0.99',
        '--config.gradient_accumulation=2',
        '--config.train_metrics=after_epoch',
        '--config.num_epochs=4',
        '--config.num_cpu_devices=2',
        # A checkpoint every 0.15 s as well as after every epoch.
        '--config.checkpoint.every_minutes=0.0025',
    ]


def is_writing(workdir: Path) -> bool:
    """Whether a checkpoint newer than the newest sealed one is half-written.

    (Old ones lose their manifest first when they are removed.)
    """
    newest = last_step(workdir)
    try:
        names = os.listdir(workdir / 'checkpoints')
    except FileNotFoundError:
        return False
    # Orbax writes into STEP.orbax-checkpoint-tmp and renames it.
    return any(int(name.split('.')[0]) > newest for name in names)


class Killer:
    """Starts a training and kills it with SIGKILL in a chosen phase.

    Attributes:
      phases: in which it really was.
    """

    def __init__(self, flags: list[str], workdir: Path, seed: int = 2):
        self.phases: list[str] = []
        self._flags, self._workdir = flags, workdir
        self._random = random.Random(seed)

    def start(self) -> Job:
        """Starts it, from where it stands."""
        log = self._workdir.parent / f'{self._workdir.name}.log'
        return Job(log, 'fmnist_jax.main', *self._flags, f'--workdir={self._workdir}')

    def before_training(self) -> None:
        """Kills it while it starts."""
        job = self.start()
        time.sleep(self._random.uniform(0.5, 3))
        self._kill(job)

    def while_writing(self) -> None:
        """Kills it while it writes a checkpoint."""
        job = self.start()
        job.wait_until(lambda: not is_writing(self._workdir))  # Cleaned up.
        job.wait_until(lambda: is_writing(self._workdir))
        time.sleep(self._random.uniform(0, 0.03))
        self._kill(job)

    def after_checkpoint(self) -> None:
        """Kills it soon after it has written one."""
        before = last_step(self._workdir)
        job = self.start()
        job.wait_until(lambda: last_step(self._workdir) > before)
        time.sleep(self._random.uniform(0, 0.1))
        self._kill(job)

    def _kill(self, job: Job) -> None:
        job.kill()
        phase = 'before any checkpoint'
        if is_writing(self._workdir):
            phase = WRITING
        elif last_step(self._workdir):
            phase = 'after a checkpoint'
        self.phases.append(phase)
