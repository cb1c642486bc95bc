"""`launch.sh tpu` against a stand-in for gcloud whose workers really run commands."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.clouds import ZONE, Cloud
from tests.mistakes import assert_fails

BUCKET = '--workdir=gs://bucket/a run'
ALL_STEPS = [1, 2, 3, 4, 5, 6]


@pytest.fixture
def cloud(tmp_path) -> Cloud:
    return Cloud(tmp_path)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_makes_the_vm_trains_on_every_worker_and_fetches_the_results(tmp_path):
    cloud = Cloud(tmp_path, num_workers=3)
    (cloud.checkout / 'new.py').write_text('not known to git')
    # A VM that has just begun does not listen yet.
    cloud.fail('ssh', 'cannot connect', 'cannot connect')
    odd = "--config.augmentation=({'name': \"it's  $HOME\"},)"
    done = cloud.launch('--type=v6e-8', odd)
    assert done.returncode == 0, done.stderr
    assert cloud.steps(done) == ALL_STEPS
    fetched = cloud.checkout / 'runs' / 'mytpu'
    # Through two shells, every letter as it was typed.
    assert json.loads((fetched / 'config.json').read_text()) == [
        '--workdir=runs/mytpu',
        odd,
    ]
    assert (fetched / 'checkpoints' / 'step').read_text() == '6'
    create = json.loads((cloud.fake / 'calls').read_text().splitlines()[1])
    assert '--accelerator-type=v6e-8' in create
    assert '--version=v2-alpha-tpuv6e' in create
    for number in range(3):
        assert (cloud.worker(number) / 'new.py').exists()
        assert not (cloud.worker(number) / '.git').exists()
        assert 'finished' in (cloud.worker(number) / '.job' / 'log').read_text()
    assert './launch.sh tpu mytpu --zone=us-central1-a --delete' in done.stderr


def test_a_finished_training_is_not_started_again_and_the_vm_can_go(cloud):
    cloud.launch(BUCKET)
    fields = json.loads((cloud.fake / 'node.json').read_text())
    (cloud.fake / 'node.json').write_text(json.dumps({**fields, 'state': 'STOPPED'}))
    done = cloud.launch(BUCKET)
    assert done.returncode == 0, done.stderr
    assert 'the training has finished' in done.stderr
    assert 'start' in cloud.verbs()
    assert cloud.verbs().count('scp') == 1
    # A disk that cannot be read may hold results.
    (cloud.fake / 'node.json').write_text(json.dumps({**fields, 'state': 'STOPPED'}))
    assert_fails(cloud.launch('--delete'), 'tpu-vm start', 'tpu-vm delete mytpu')
    (cloud.fake / 'node.json').write_text(json.dumps(fields))
    cloud.fail('ssh', 'cannot connect')
    assert_fails(cloud.launch('--delete'), 'cannot connect', 'tpu-vm delete mytpu')
    assert 'delete' not in cloud.verbs()
    done = cloud.launch('--delete')
    assert done.returncode == 0, done.stderr
    assert cloud.verbs()[-1] == 'delete'
    assert 'there is no TPU VM mytpu' in cloud.launch('--delete').stderr


def test_the_results_are_fetched_before_the_vm_is_deleted(cloud):
    cloud.launch('--delete_when_done')
    assert cloud.verbs()[-1] == 'delete'
    assert (cloud.checkout / 'runs' / 'mytpu' / 'config.json').exists()


@pytest.mark.slow
def test_code_that_was_removed_here_is_removed_there_and_runs_are_not(cloud):
    extra = cloud.checkout / 'extra ö.py'
    extra.write_text('')
    cloud.launch()
    assert (cloud.worker(0) / 'extra ö.py').exists()
    extra.unlink()
    done = cloud.launch('--workdir=runs/other')
    assert done.returncode == 0, done.stderr
    assert not (cloud.worker(0) / 'extra ö.py').exists()
    assert (cloud.worker(0) / 'runs' / 'mytpu').exists()
    assert (cloud.checkout / 'runs' / 'other').exists()


def test_a_preempted_vm_is_made_again_and_the_training_goes_on(cloud):
    scarce = 'There is no more capacity in the zone "us-central1-a"'
    cloud.fail('create', '', scarce)
    done = cloud.launch(BUCKET, '--mode=preempt', '--spot')
    assert done.returncode == 0, done.stderr
    assert cloud.steps(done)[-3:] == [4, 5, 6]
    assert cloud.steps(done).count(4) == 1
    verbs = cloud.verbs()
    assert verbs.count('create') == 3
    assert f'{scarce}; trying until there is some' in done.stderr
    assert verbs.count('delete') == 1
    assert 'the VM is PREEMPTED; starting again (1 of 100)' in done.stderr
    fetched = cloud.checkout / 'runs' / 'a run'
    assert (fetched / 'config.json').exists()
    assert not (fetched / 'checkpoints').exists()


def test_a_vm_is_made_again_as_it_was(cloud):
    cloud.launch(BUCKET, '--spot', '--type=v4-8', '--runtime_version=special')
    (cloud.fake / 'preempt').touch()
    done = cloud.launch(BUCKET)
    assert done.returncode == 0, done.stderr
    assert 'is PREEMPTED: deleting it, and making it again' in done.stderr
    lines = (cloud.fake / 'calls').read_text().splitlines()
    makes = [line for line in map(json.loads, lines) if 'create' in line]
    assert len(makes) == 2
    assert makes[0] == makes[1]


def test_no_more_restarts_than_asked_for(cloud):
    done = cloud.launch('--mode=preempt', '--spot', '--max_restarts=0')
    assert 'the VM is PREEMPTED' in done.stderr
    assert done.returncode == 75
    assert cloud.verbs().count('create') == 1


@pytest.mark.parametrize('trouble', ['drop', 'repeat'])
def test_a_broken_connection_loses_and_repeats_no_output(cloud, trouble):
    done = cloud.launch(BUCKET, f'--mode={trouble}')
    assert done.returncode == 0, done.stderr
    assert cloud.steps(done) == ALL_STEPS
    assert cloud.verbs().count('create') == 1
    assert ('connected again' in done.stderr) == (trouble == 'drop')


def test_a_training_that_was_asked_to_end_is_started_again(cloud):
    done = cloud.launch('--mode=end')
    assert done.returncode == 0, done.stderr
    assert cloud.steps(done) == ALL_STEPS
    assert 'worker 0 was asked to end; starting again' in done.stderr


def test_the_worker_that_failed_first_is_told_in_one_line(tmp_path):
    cloud = Cloud(tmp_path, num_workers=2)
    done = cloud.launch('--mode=fail')
    line = 'worker 1 ended with exit code 2: error: the data are not what they should'
    assert_fails(done, line)
    assert 'loading the data' in done.stderr
    assert 'mytpu is still there and costs money' in done.stderr


def start(cloud: Cloud, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        cloud.command(ZONE, *arguments),
        cwd=cloud.checkout,
        env=cloud.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_interrupting_leaves_the_training_alone_and_stop_ends_it(cloud):
    process = start(cloud, BUCKET, '--mode=wait')
    assert process.stdout.readline() == 'waiting\n'
    pid = int((cloud.worker(0) / '.job' / 'pid').read_text())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith('launch.sh: interrupted; ')
    assert f"'{BUCKET}' --mode=wait" in errors
    os.kill(pid, 0)

    done = cloud.launch('--config.seed=3')
    assert_fails(done, 'another training runs on mytpu', '--stop')
    assert_fails(cloud.launch('--delete'), 'a training runs on mytpu', '--stop')

    # Without flags of a training: the one that runs.
    watching = start(cloud)
    assert watching.stdout.readline() == 'waiting\n'
    done = cloud.launch('--stop')
    assert done.returncode == 0, done.stderr
    assert 'worker 0: exit code 75' in done.stderr
    _, errors = watching.communicate(timeout=10)
    assert watching.returncode == 75
    assert 'the training was stopped; the same command goes on' in errors
    assert '75' in (cloud.worker(0) / '.job' / 'exit.json').read_text()


def test_stop_tells_what_is_known(tmp_path):
    cloud = Cloud(tmp_path, num_workers=2)
    assert_fails(cloud.launch('--stop'), 'there is no TPU VM mytpu')
    cloud.launch(BUCKET)
    done = cloud.launch('--stop')
    assert done.returncode == 0, done.stderr
    assert '(worker 0: exit code 0, worker 1: exit code 0)' in done.stderr
    shutil.rmtree(cloud.worker(1))
    assert 'a worker without a training' in cloud.launch('--stop').stderr
    (cloud.fake / 'drop').touch()
    done = cloud.launch('--stop')
    assert_fails(done, 'may still run on mytpu', '1 did not reply')


def test_a_config_that_git_ignores_is_told_before_a_vm_is_made(cloud):
    path = cloud.checkout / 'runs' / 'own.py'
    path.parent.mkdir()
    path.write_text('')
    assert_fails(cloud.launch('--config=runs/own.py'), 'git ignores it')
    assert not (cloud.fake / 'calls').exists()


def test_a_training_runs_once_however_often_it_is_started(cloud):
    cloud.launch()
    worker = cloud.worker(0) / 'fmnist_jax' / 'cloud' / 'worker.py'
    environment = {**cloud.environment(), 'HOME': '/0', 'TPU_WORKER_ID': '0'}
    command = ['python3', str(worker), 'start', '--workdir=x', '--mode=wait']
    starts = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    replies = [json.loads(x.communicate()[0].partition(' ')[2]) for x in starts]
    assert all(reply['state'] == 'running' for reply in replies)
    log = cloud.worker(0) / '.job' / 'log'
    wait_for(lambda: 'waiting' in log.read_text())
    time.sleep(0.3)
    assert log.read_text().count('waiting') == 1
    # Whatever watched over it is gone: it still counts as running while it lives.
    pid = int((cloud.worker(0) / '.job' / 'pid').read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    ask = [*command[:2], 'status']
    asked = subprocess.check_output(ask, env=environment, text=True)
    assert '"state": "running"' in asked
    subprocess.run([*command[:2], 'stop'], env=environment, check=True)
    asked = subprocess.check_output(ask, env=environment, text=True)
    assert '"state": "ended"' in asked


def node(state: str) -> str:
    return json.dumps({'state': state, 'acceleratorType': 'v5litepod-8'})


def test_a_vm_in_a_bad_state_or_of_another_type_is_told(cloud):
    (cloud.fake / 'node.json').write_text(node('HIDDEN'))
    assert_fails(cloud.launch(), 'is in state HIDDEN', '--delete')
    (cloud.fake / 'node.json').write_text(node('READY'))
    done = cloud.launch('--type=v4-8')
    assert_fails(done, 'exists with the type v5litepod-8, not v4-8', 'another NAME')


ERRORS = {
    'not logged in': (
        'describe',
        'You do not currently have an active account selected.\\nPlease run:\\n\\n  '
        '$ gcloud auth login\\n\\nto obtain new credentials.',
        ['look for TPU VM mytpu', 'gcloud auth login'],
    ),
    'no project': (
        'describe',
        'The required property [project] is not currently set.',
        ['gcloud config set project ID'],
    ),
    'unknown zone': (
        'describe',
        'INVALID_ARGUMENT: Location us-central1-a is not found or access is denied.',
        ['gcloud compute tpus locations list'],
    ),
    'API off': (
        'describe',
        'PERMISSION_DENIED: Cloud TPU API has not been used in project 1 before.',
        ['gcloud services enable tpu.googleapis.com'],
    ),
    'quota': (
        'create',
        "RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepod' has been exceeded. Limit: 0",
        ['make TPU VM mytpu', "Quota limit 'TPUV5sLitepod'", 'more quota'],
    ),
    'capacity': (
        'create',
        'There is no more capacity in the zone "us-central1-a"; you can try another',
        ['no more capacity', '--spot'],
    ),
}


@pytest.mark.parametrize('case', ERRORS)
def test_what_gcloud_refuses_is_one_line_with_its_own_words(cloud, case):
    verb, message, parts = ERRORS[case]
    cloud.fail(verb, message)
    assert_fails(cloud.launch(), *parts)


def test_a_missing_gcloud_is_told(cloud):
    done = cloud.launch(PATH=str(cloud.checkout))
    assert_fails(done, 'gcloud, the Google Cloud CLI, is not installed')


@pytest.mark.slow
def test_results_do_not_overwrite_another_run(cloud):
    place = cloud.checkout / 'runs' / 'mytpu'
    place.mkdir(parents=True)
    (place / 'config.json').write_text('{}')
    assert_fails(cloud.launch(), f'{place} is another run; move it away')
    assert (place / 'config.json').read_text() == '{}'
    place.rename(place.with_name('older'))
    assert cloud.launch().returncode == 0
    assert (place / 'checkpoints' / 'step').exists()
    # Once more, over what is of the same run.
    assert cloud.launch().returncode == 0
    assert (place / 'checkpoints' / 'step').exists()
    assert {x.name for x in place.parent.iterdir()} == {'mytpu', 'older'}


def test_results_of_a_bucket_do_not_overwrite_another_run(cloud):
    place = cloud.checkout / 'runs' / 'a run'
    place.mkdir(parents=True)
    (place / 'config.json').write_text('{}')
    assert_fails(cloud.launch(BUCKET), f'{place} is another run; move it away')
    assert [x.name for x in place.iterdir()] == ['config.json']
    place.rename(place.with_name('older'))
    assert cloud.launch(BUCKET).returncode == 0
    # What was copied to it since stays.
    (place / 'checkpoints').mkdir()
    assert cloud.launch(BUCKET).returncode == 0
    assert {x.name for x in place.iterdir()} == {'config.json', 'checkpoints'}
