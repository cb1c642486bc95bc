"""`launch.sh processes`: all end together, and one line says why."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from fmnist_jax import stopping
from fmnist_jax.cloud import processes, runner
from fmnist_jax.errors import UserError
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails

# A Group of short programs, one an argument, with the waits made short.
GROUP = """
import sys
from pathlib import Path
from fmnist_jax.cloud import processes
processes._TERMINATE_AFTER, processes._KILL_AFTER = 0.5, 1.0
commands = [[sys.executable, '-c', program] for program in sys.argv[2:]]
sys.exit(processes.Group(commands, Path(sys.argv[1])).wait())
"""
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}'
# As a training does: it ends with 75 when it is asked to.
OBEDIENT = f'import signal, sys; signal.signal(15, lambda *_: sys.exit(75)); {SLEEP}'


def start(folder, *programs: str, before: Sequence[str] = ()) -> subprocess.Popen:
    return subprocess.Popen(
        [*before, sys.executable, '-c', GROUP, str(folder), *programs],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ENDS = {
    'all well': (('', ''), 0, None),
    'an error in the second': (
        ('', 'raise SystemExit(5)'),
        5,
        'process 1 ended with exit',
    ),
    'a mistake in the flags': (('raise SystemExit(2)', SLEEP), 2, 'mend what it says'),
    'stopped': (
        ('raise SystemExit(75)', 'raise SystemExit(75)'),
        75,
        'run the same co',
    ),
    'killed': ((STUBBORN, 'import os; os.kill(os.getpid(), 9)'), 137, 'by SIGKILL'),
    'a crash': (
        (SLEEP, 'import os; os.kill(os.getpid(), 11)'),
        139,
        'process 1 was ended by SIGSEGV',
    ),
}


@pytest.mark.parametrize('case', ENDS)
def test_the_end_of_one_is_the_end_of_all_and_is_told(tmp_path, case):
    programs, code, part = ENDS[case]
    process = start(tmp_path, *programs)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    lines = errors.strip().splitlines()
    assert len(lines) == (part is not None), errors
    if part:
        assert part in lines[0]
        assert 'run the same command again' in lines[0]


@pytest.mark.parametrize(
    ('codes', 'first'),
    [
        ([-signal.SIGABRT, -signal.SIGSEGV], 1),
        ([75, 0, 5], 2),
        ([-signal.SIGABRT, None], 0),
        ([75, -signal.SIGABRT], 0),
        ([0, 2, 1], 1),
    ],
)
def test_the_cause_is_who_does_not_just_miss_another(codes, first):
    assert processes._first(codes) == first


def test_the_first_writes_to_the_terminal_and_the_others_to_files(tmp_path):
    process = start(tmp_path, *(f'print({name!r})' for name in 'abc'))
    output, _ = process.communicate(timeout=20)
    assert output == 'a\n'
    assert (tmp_path / '1.log').read_text() == 'b\n'
    assert (tmp_path / '2.log').read_text() == 'c\n'


@pytest.mark.parametrize(
    ('program', 'times', 'code'), [(OBEDIENT, 1, 75), (STUBBORN, 2, 137)]
)
def test_signals_are_passed_on_and_a_second_ends_all(tmp_path, program, times, code):
    process = start(tmp_path, program, program)
    assert process.stdout.readline() == 'up\n'
    while not (tmp_path / '1.log').read_text():
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert 'launch.sh: SIGINT: the processes stop after a checkpoint' in errors


@pytest.mark.parametrize('number', ['', '0', '-1', 'two', '--config=x', '99999'])
def test_a_number_that_is_none_is_told(number):
    done = run_script('fmnist_jax.cloud', 'processes', number)
    assert_fails(done, 'needs their number first', './launch.sh processes 2')


def test_the_exit_code_of_a_stopped_training_is_that_of_training():
    assert runner.REQUEUE == stopping.EXIT_CODE


def test_the_port_is_free():
    with socket.create_server(('127.0.0.1', processes._free_port())) as server:
        assert server.getsockname()[1] > 1023


def test_what_nohup_ignores_is_ignored(tmp_path):
    process = start(tmp_path, OBEDIENT, before=['nohup'])
    assert process.stdout.readline() == 'up\n'
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 75
    assert 'SIGHUP' not in errors
    assert 'SIGTERM: the processes stop' in errors


def test_if_one_cannot_be_started_the_others_are_ended(tmp_path, monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(processes.subprocess, 'Popen', Popen)
    monkeypatch.setattr(processes.signal, 'signal', lambda *_: None)
    commands = [[sys.executable, '-c', SLEEP], ['/nonexistent/program']]
    with pytest.raises(UserError, match='cannot start 2 processes: No such file'):
        processes.Group(commands, tmp_path)
    (first,) = started
    assert first.wait(10) == -signal.SIGKILL


def test_a_mistake_in_the_flags_reaches_the_user():
    done = run_script('fmnist_jax.cloud', 'processes', '1', '--config=configs/nix.py')
    assert done.returncode == 2
    assert 'configs/nix.py' in done.stderr
    assert (
        done.stderr.strip().splitlines()[-1].startswith('error: process 0 ended with')
    )
    assert 'Traceback' not in done.stderr


def test_nobody_is_left_behind(tmp_path):
    process = start(
        tmp_path, 'import os; print(os.getpid(), flush=True);' + SLEEP, '1/0'
    )
    pid = int(process.stdout.readline())
    process.communicate(timeout=20)
    assert process.returncode == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
