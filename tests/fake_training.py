"""A stand-in for launch.sh on a TPU VM's worker: six steps, resumed like a training."""

import json
import os
import signal
import sys
import time
from pathlib import Path

FAKE = Path(os.environ['FAKE_GCLOUD'])
WORKER = Path(os.environ['HOME']).name


def main(flags: list[str]) -> int:
    values = dict(flag[2:].partition('=')[::2] for flag in flags)
    workdir = values['workdir'].replace('gs://', f'{FAKE}/buckets/')
    mode = values.get('mode')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    if mode == 'fail' and WORKER == '1':
        print('loading the data')
        print('error: the data are not what they should be')
        return 2
    if mode in ('fail', 'wait'):
        print('waiting', flush=True)
        if mode == 'fail':
            time.sleep(0.5)
            return 134
        time.sleep(60)
    folder = Path(workdir)
    if WORKER != '0':
        # Only the first one writes, and a file half written must not be read.
        print('finished', flush=True)
        return 0
    (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(flags))
    state = folder / 'checkpoints' / 'step'
    step = int(state.read_text()) if state.exists() else 0
    while step < 6:
        step += 1
        print(f'step {step} é', flush=True)
        state.write_text(str(step))
        time.sleep(0.05)
        once = FAKE / 'was_disturbed'
        if (
            step == 3
            and mode in ('preempt', 'drop', 'repeat', 'end')
            and not once.exists()
        ):
            once.touch()
            if mode == 'end':
                return 75
            (FAKE / mode).touch()
            time.sleep(60 if mode == 'preempt' else 0.5)
    print('finished', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
