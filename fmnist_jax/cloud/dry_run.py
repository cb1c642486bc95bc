"""What `./launch.sh tpu` would run, for reading or for doing it by hand."""

import shlex
from collections.abc import Iterator

from fmnist_jax.cloud import gcloud, job, results, source
from fmnist_jax.cloud.options import Options, in_bucket


def commands(options: Options) -> Iterator[str]:
    """Lines for a shell: commands, each after a comment that says what it is for."""
    node = options.node
    yield from _step('is it there, and in which state?', gcloud.describe(node))
    if options.action == 'stop':
        yield from _step('end the training', gcloud.ssh(node, job.stop()))
        return
    if options.action == 'delete':
        yield from _step('is a training running?', gcloud.ssh(node, job.status()))
        yield '# if its work folder, whose name is known there, is on the disk:'
        yield from _results(options)
        yield from _step('delete it', gcloud.delete(node))
        return
    make = gcloud.create(
        node, options.accelerator_type, options.runtime_version, options.spot
    )
    yield from _step('if it is absent', make)
    yield from _step('if it is STOPPED', gcloud.start(node))
    yield from _step('if it was preempted, before making it', gcloud.delete(node))
    yield from _step('does a training run already?', gcloud.ssh(node, job.status()))
    yield from _training(options)
    yield from _results(options)
    if options.delete_when_done:
        yield from _step('at the end', gcloud.delete(node))


def _training(options: Options) -> Iterator[str]:
    node, archive = options.node, f'/tmp/{job.ARCHIVE}'
    yield '# the code: what git tracks, and what is new'
    root = shlex.quote(str(source.ROOT))
    yield (
        f'(cd {root} && {shlex.join(source.LIST)} | '
        f'tar --null --files-from=- --create --gzip --file={archive})'
    )
    copy = gcloud.copy_to(node, archive, job.ARCHIVE)
    yield from _step('to every worker', copy)
    yield from _step('unpack it there', gcloud.ssh(node, job.UNPACK))
    start = gcloud.ssh(node, job.start(options.training))
    yield from _step('set up and train, on every worker', start)
    look = gcloud.ssh(node, job.status(0), '0')
    yield from _step(f'every {options.poll_seconds:g} s: state and output', look)


def _results(options: Options) -> Iterator[str]:
    node, workdir = options.node, options.training[0].partition('=')[2]
    target = str(results.destination(workdir))
    if in_bucket(workdir):
        yield from _step('the results', gcloud.copy_from_bucket(workdir, target))
        return
    yield from _step('the results', gcloud.ssh(node, job.pack(workdir), '0'))
    local = f'/tmp/{node.name}-results.tar.gz'
    yield shlex.join(gcloud.copy_from(node, job.RESULTS, local))
    yield shlex.join(['mkdir', '-p', target])
    yield shlex.join(
        ['tar', '--strip-components=1', '--directory', target, '-xzf', local]
    )


def _step(comment: str, command: list[str]) -> Iterator[str]:
    yield f'# {comment}'
    yield shlex.join(command)
