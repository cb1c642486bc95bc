"""What `launch.sh tpu` asks gcloud for, without asking it; mistakes in the flags."""

import ast
import fcntl
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fmnist_jax.cloud import failures, job, options, results, source, vm, watch, worker
from fmnist_jax.cloud.watch import End
from fmnist_jax.errors import UserError
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails

ZONE = '--zone=us-central1-a'


def parse(*arguments: str) -> options.Options:
    return options.parse(['mytpu', ZONE, *arguments])


def test_a_laptop_needs_the_standard_library_alone():
    allowed = {*sys.stdlib_module_names, 'fmnist_jax'}
    for path in (ROOT / 'fmnist_jax' / 'cloud').glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert {name.split('.')[0] for name in names} <= allowed, path
    # The workers' own Python is 3.10.
    worker = ROOT / 'fmnist_jax' / 'cloud' / 'worker.py'
    ast.parse(worker.read_text(), feature_version=(3, 10))
    assert 'fmnist_jax' not in {
        node.module.split('.')[0]
        for node in ast.walk(ast.parse(worker.read_text()))
        if isinstance(node, ast.ImportFrom)
    }


def test_flags_are_divided_between_launcher_and_training():
    chosen = parse(
        *('--type', 'v5p-8', '--config', 'configs/tinyvgg.py', '-workdir', 'runs/a b'),
        *('--config.model.width=2', '--spot', '--max_restarts=0', '--profile'),
    )
    assert chosen.accelerator_type == 'v5p-8'
    assert chosen.runtime_version == 'v2-alpha-tpuv5'
    assert chosen.spot
    assert chosen.training == [
        '--workdir=runs/a b',
        *('--config', 'configs/tinyvgg.py', '--config.model.width=2', '--profile'),
    ]
    assert parse().training == ['--workdir=runs/mytpu']
    assert parse().runtime_version == 'v2-alpha-tpuv5-lite'
    assert parse('--type=v4-8').runtime_version == 'tpu-ubuntu2204-base'


MISTAKES = {
    'no name': ([ZONE], ['NAME of the TPU VM is missing']),
    'nothing': ([], ['NAME of the TPU VM is missing']),
    'a bad name': (['My_TPU', ZONE], ["'My_TPU'", 'lower-case']),
    'no zone': (['mytpu'], ['--zone is missing', '--zone=us-central1-a']),
    'a region': (['mytpu', '--zone=us-central1'], ['--zone=us-central1 is no zone']),
    'v5e': (['mytpu', ZONE, '--type=v5e-8'], ['v5litepod-8']),
    'unknown type': (['mytpu', ZONE, '--type=h100'], ["'h100'", '--runtime_version']),
    'no value': (['mytpu', '--zone'], ['--zone', 'expected one argument']),
    'no number': (['mytpu', ZONE, '--max_restarts=x'], ['--max_restarts', "'x'"]),
    'a negative number': (['mytpu', ZONE, '--max_restarts=-1'], ['at least 0']),
    'two actions': (['mytpu', ZONE, '--stop', '--delete'], ['not allowed with']),
    'a flag too many': (
        ['mytpu', ZONE, '--stop', '--config.seed=1'],
        ['--config.seed'],
    ),
    'spot': (['mytpu', ZONE, '--spot'], ['--workdir=gs://BUCKET', '--max_restarts=0']),
    'no work folder': (['mytpu', ZONE, '--workdir='], ['--workdir has no value']),
    'no config': (['mytpu', ZONE, '--config=configs/nix.py'], ['no such file']),
    'a config elsewhere': (['mytpu', ZONE, '--config=/tmp/x.py'], ['only files below']),
    'no config, in two words': (
        ['mytpu', ZONE, '--config', 'configs/nix.py'],
        ['--config=configs/nix.py', 'no such file'],
    ),
    'a word without a flag': (
        ['mytpu', ZONE, '--config.seed=1', 'configs/tinyvgg.py'],
        ["unexpected argument 'configs/tinyvgg.py'"],
    ),
    'not a number': (['mytpu', ZONE, '--poll_seconds=nan'], ['--poll_seconds']),
    'for ever': (['mytpu', ZONE, '--poll_seconds=inf'], ['--poll_seconds']),
}


@pytest.mark.parametrize('case', MISTAKES)
def test_a_mistake_in_the_flags_is_told(case):
    arguments, parts = MISTAKES[case]
    with pytest.raises(UserError) as caught:
        options.parse(arguments)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize('arguments', [['--help'], ['-h'], ['mytpu', '-h']])
def test_help_is_given_wherever_it_is_asked_for(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(arguments)
    assert caught.value.code == 0
    assert '--dry_run' in capsys.readouterr().out


def test_launch_sh_starts_it_without_setting_up(tmp_path):
    odd = "--config.augmentation=({'name': 'x y'},)"
    command = [ROOT / 'launch.sh', 'tpu', 'mytpu', ZONE, '--dry_run', odd]
    environment = {'PATH': '/usr/bin:/bin', 'PYTHON': sys.executable}
    environment['FMNIST_JAX_VENV'] = str(tmp_path / 'venv')
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    assert not (tmp_path / 'venv').exists()
    lines = [x for x in done.stdout.splitlines() if not x.startswith('#')]
    verbs = [shlex.split(x)[4] for x in lines if x.startswith('gcloud ')]
    expected = 'describe create start delete ssh scp ssh ssh ssh ssh scp'
    assert verbs == expected.split()
    # As typed, after this shell and the worker's.
    start = next(x for x in lines if 'worker.py start' in x)
    remote = next(x for x in shlex.split(start) if x.startswith('--command='))
    assert shlex.split(remote.partition('=')[2])[-1] == odd
    subprocess.run(['bash', '-n'], input=done.stdout, text=True, check=True)


def test_a_mistake_is_one_line():
    assert_fails(run_script('fmnist_jax.cloud', 'tpu', 'mytpu'), '--zone is missing')
    assert_fails(run_script('fmnist_jax.cloud'), 'tpu or processes, not nothing')
    assert_fails(run_script('fmnist_jax.cloud', 'nix'), 'tpu or processes, not nix')


def test_the_code_is_what_git_knows_and_what_is_new(tmp_path, monkeypatch):
    for name in ('kept.py', 'gone.py', 'new ö.py', 'runs/x', '.venv/y'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('')
    # A downloaded archive has no .git.
    assert source.files(tmp_path) == ['gone.py', 'kept.py', 'new ö.py']
    git = ['git', '-C', str(tmp_path)]
    (tmp_path / '.gitignore').write_text('/runs/\n.venv/\n')
    subprocess.run([*git, 'init', '--quiet'], check=True)
    subprocess.run([*git, 'add', 'kept.py', 'gone.py'], check=True)
    (tmp_path / 'gone.py').unlink()
    assert source.files(tmp_path) == ['.gitignore', 'kept.py', 'new ö.py']
    # Nor has every machine git.
    monkeypatch.setenv('PATH', str(tmp_path))
    assert source.files(tmp_path) == ['.gitignore', 'kept.py', 'new ö.py']
    assert source.commit(tmp_path) is None


def test_replies_are_found_among_other_lines_and_torn_ones():
    output = (
        'SSH: …\n@fmnist_jax {"worker": 1, "st@fmnist_jax {"worker": 0, "state": "x"}\n'
        '@fmnist_jax {"worker": 0, "state": "y"}@fmnist_jax {"worker": 1, "code": 3}\n'
    )
    assert job.parse(output) == [
        {'worker': 0, 'state': 'y'},
        {'worker': 1, 'code': 3},
    ]
    assert job.parse('nothing') == []
    # Where no code is, nobody knows the worker's number.
    output = '@fmnist_jax {"state": "absent"}' * 2 + '@fmnist_jax {"worker": 1}'
    assert len(job.parse(output)) == 3


def ended(worker: int, code: int | None, time: float | None, **more) -> job.Reply:
    return job.Reply('ended', worker, code, time and float(time), **more)


@pytest.mark.parametrize(
    ('replies', 'end', 'code', 'worker'),
    [
        ([ended(0, 0, 1), ended(1, 0, 2)], End.DONE, 0, 0),
        ([ended(0, 134, 9), ended(1, 137, 3)], End.FAILED, 137, 1),
        ([ended(0, 134, 9), ended(1, 75, 3)], End.PREEMPTED, 75, 0),
        ([ended(0, 134, 9), ended(1, None, None)], End.PREEMPTED, 75, 0),
        ([ended(0, 75, 9, stopped=True), ended(1, 75, 9)], End.STOPPED, 75, 0),
        ([ended(0, 3, 1), ended(1, 134, 2)], End.FAILED, 3, 0),
    ],
)
def test_the_end_of_a_training_is_judged_by_its_first_failure(
    replies, end, code, worker
):
    outcome = watch.judge(replies)
    assert (outcome.end, outcome.code, outcome.worker) == (end, code, worker)


class OneIsLost(vm.Vm):
    """A VM with two workers, of which the second ends and the first goes on."""

    def __init__(self, code: int = 2):
        self.options = parse('--poll_seconds=0')
        self.code = code
        self.asked = []

    def ask(self, question: str, worker: int = 0):
        reply = {'state': 'running', 'log': '', 'size': 0, 'offset': 0}
        lines = 'one\ntwo\nerror: three\n'
        return (reply if worker == 0 else {'state': 'ended', 'log': lines}), None

    def ask_all(self, question: str) -> list[job.Reply]:
        self.asked.append(question)
        return [job.Reply('running', 0), ended(1, self.code, 5)]


def test_the_others_of_a_worker_that_failed_are_ended(monkeypatch, capsys):
    monkeypatch.setattr(watch, '_ALL_WORKERS', 0.0)
    monkeypatch.setattr(watch, '_GRACE', 0.2)
    machine = OneIsLost()
    outcome = watch.Watch(machine, 2, 0).run()
    assert outcome.end is End.FAILED
    assert outcome.reason == 'worker 1 ended with exit code 2: error: three'
    assert machine.asked[-1] == job.stop()
    errors = capsys.readouterr().err
    assert 'ending the others: workers 0' in errors
    assert 'the last lines of worker 1:\n  one\n  two\n' in errors


def test_who_ends_well_ends_nobody(monkeypatch):
    class EndsInTime(OneIsLost):
        def ask_all(self, question: str) -> list[job.Reply]:
            replies = super().ask_all(question)
            return [ended(0, 0, 9), replies[1]] if len(self.asked) > 9 else replies

    monkeypatch.setattr(watch, '_ALL_WORKERS', 0.0)
    monkeypatch.setattr(watch, '_GRACE', 0.0)
    machine = EndsInTime(code=0)
    assert watch.Watch(machine, 2, 0).run().end is End.DONE
    assert set(machine.asked) == {job.status()}


def test_the_others_are_ended_though_the_connection_breaks(monkeypatch):
    class Breaks(OneIsLost):
        def ask_all(self, question: str) -> list[job.Reply]:
            replies = super().ask_all(question)
            if question == job.stop() and self.asked.count(question) == 1:
                raise vm.UnreachableError('a moment')
            return replies

    monkeypatch.setattr(watch, '_ALL_WORKERS', 0.0)
    monkeypatch.setattr(watch, '_GRACE', 0.0)
    machine = Breaks()
    assert watch.Watch(machine, 2, 0).run().end is End.FAILED
    assert machine.asked.count(job.stop()) == 2


def pack(archive: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(archive, 'w:gz') as opened:
        folder = tarfile.TarInfo('results')
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        for member in (folder, *members):
            opened.addfile(member)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = '') -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


# Python has filters from 3.11.4 on.
@pytest.mark.parametrize('has_filters', [True, False])
def test_results_are_unpacked_into_their_folder_alone(
    tmp_path, monkeypatch, has_filters
):
    if not has_filters:
        monkeypatch.delattr(tarfile, 'data_filter', raising=False)
    (tmp_path / 'outside').mkdir()
    place, archive = tmp_path / 'inside', tmp_path / 'archive'
    place.mkdir()
    pack(archive, member('results/config.json'))
    results.unpack(archive, place)
    assert (place / 'results' / 'config.json').exists()
    for bad in (
        [member('../outside/evil')],
        [member(f'{tmp_path}/outside/evil')],
        [
            member('results/way', tarfile.SYMTYPE, '../../outside'),
            member('results/way/evil'),
        ],
        [member('results/way', tarfile.LNKTYPE, '../outside/evil')],
        [member('results/pipe', tarfile.FIFOTYPE)],
    ):
        pack(archive, *bad)
        with pytest.raises(UserError, match='no file or folder of a work folder'):
            results.unpack(archive, place)
    assert not list((tmp_path / 'outside').iterdir())
    assert not (place / 'results' / 'pipe').exists()


def test_who_asks_is_no_training_to_another(tmp_path):
    folder = tmp_path / '.job'
    assert worker.stop(folder)['state'] == 'absent'
    asking = worker.try_lock(folder, fcntl.LOCK_SH)
    assert worker.status(folder)['state'] == 'absent'
    assert worker.try_lock(folder) is None
    os.close(asking)
    training = worker.try_lock(folder)
    # It has not said yet which process it is.
    assert worker.stop(folder, patience=0.0)['state'] == 'running'
    os.close(training)


def test_messages_of_gcloud_are_one_line_of_some_length():
    text = failures.message('WARNING: x\nERROR: (gcloud.x) first\n\n  second\n')
    assert text == '(gcloud.x) first second'
    assert failures.message('') == 'it printed no message'
    assert len(failures.message('ERROR: ' + 'x' * 5000)) < 600
