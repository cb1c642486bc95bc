"""Competitors that train nothing, for the benchmark's own tests."""

import os
import sys
import time
from pathlib import Path

from benchmarks.workloads import Workload


class Fake:
    """Computes the losses that all compute, at a speed it makes up."""

    steps_per_second = 100.0

    def __init__(self, workload: Workload, folder: Path, threads: int):
        print('libraries print things')
        assert (str(workload), threads) == ('linear@10', 2)
        self._folder = folder

    def versions(self):
        return {'fake': '1.0'}

    def write_start(self):
        return {'steps_per_epoch': 1000, 'flops_per_image': 5.0}

    def losses(self, steps):
        assert steps == 20
        return [1.0 / (i + 1) for i in range(steps)]

    def time(self, steps):
        with (self._folder / 'turns').open('a') as file:
            file.write(f'{type(self).__name__}\n')
        return steps, steps / self.steps_per_second


class Ours(Fake):
    steps_per_second = 200.0


class Other(Fake):
    def losses(self, steps):
        return [loss * 1.01 for loss in super().losses(steps)]


class OtherForward(Fake):
    def losses(self, steps):
        first, *others = super().losses(steps)
        return [first * 1.001, *others]


class Diverging(Fake):
    def losses(self, steps):
        return [float('nan')] * steps


class Failing(Fake):
    def time(self, steps):
        raise ValueError(f'no {steps} steps\nand a second line')


class Ending(Fake):
    def time(self, steps):
        print('out of memory', file=sys.stderr, flush=True)
        os._exit(7)


class Endless(Fake):
    def time(self, steps):
        file = self._folder / 'endless'
        # Appears with its content.
        file.with_suffix('.tmp').write_text(str(os.getpid()))
        file.with_suffix('.tmp').rename(file)
        time.sleep(1000)
