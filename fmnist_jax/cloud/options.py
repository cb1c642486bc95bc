"""The flags of `./launch.sh tpu`; all others are the training's."""

import argparse
import dataclasses
import itertools
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fmnist_jax.cloud.gcloud import Node, runtime_version
from fmnist_jax.cloud.source import ROOT, files
from fmnist_jax.errors import UserError

_DEFAULT_TYPE = 'v5litepod-8'
_HELP = """trains on a Cloud TPU: makes the VM if it is absent, copies the code to every
worker, trains, shows worker 0's output, starts again after a preemption, and fetches
the results. The training goes on when the connection breaks; the same command shows
its output again. All flags but those below are the training's: --config=FILE,
--config.FIELD=VALUE, --workdir=DIR (gs://… outlives the VM; default: runs/NAME on its
disk)."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
      node: the TPU VM.
      type: the accelerator type; None where none was named.
      version: the TPU software version; None for that of the type.
      spot: whether to ask for a spot VM.
      max_restarts: how often to start again after preemptions.
      poll_seconds: time between two looks at a training.
      action: train, stop or delete.
      delete_when_done: whether to delete the VM after a finished training.
      dry_run: whether only to print the commands.
      flags: the training's, without --workdir.
      workdir: the training's work folder; None where none was named.
    """

    node: Node
    type: str | None = None
    version: str | None = None
    spot: bool = False
    max_restarts: int = 100
    poll_seconds: float = 10.0
    action: str = 'train'
    delete_when_done: bool = False
    dry_run: bool = False
    flags: tuple[str, ...] = ()
    workdir: str | None = None

    @property
    def training(self) -> list[str]:
        """All of the training's flags."""
        return [f'--workdir={self.workdir or default_workdir(self.node)}', *self.flags]

    @property
    def accelerator_type(self) -> str:
        """The type of a VM that has to be made."""
        return self.type or _DEFAULT_TYPE

    @property
    def runtime_version(self) -> str:
        """The software version of a VM that has to be made."""
        return self.version or runtime_version(self.accelerator_type)

    def command(self, *more: str) -> str:
        """A command for the same VM, for messages."""
        project = [f'--project={self.node.project}'] if self.node.project else []
        words = ['tpu', self.node.name, f'--zone={self.node.zone}', *project, *more]
        return './launch.sh ' + shlex.join(words)


def default_workdir(node: Node) -> str:
    """Where a training is that names no work folder, on the VM and here."""
    return f'runs/{node.name}'


def in_bucket(workdir: str) -> bool:
    """Whether a work folder outlives the VM."""
    return '://' in workdir


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.replace('argument ', ''))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser('./launch.sh tpu', description=_HELP, allow_abbrev=False)
    add = parser.add_argument
    add('name', metavar='NAME', help='of the TPU VM')
    add('--zone', help='such as us-central1-a (required)')
    add('--type', help=f'accelerator type (default: {_DEFAULT_TYPE})')
    add('--project', help="project ID (default: gcloud's)")
    add('--runtime_version', help="TPU software version (default: the type's for JAX)")
    add('--spot', action='store_true', help='a cheaper VM that may be preempted')
    add('--max_restarts', type=int, default=100, help='after preemptions (100)')
    add('--poll_seconds', type=float, default=10.0, help='between looks (10)')
    add('--delete_when_done', action='store_true', help='delete the VM if all is well')
    add('--dry_run', action='store_true', help='only print the commands')
    action = parser.add_mutually_exclusive_group()
    for name, text in (('stop', 'end the training'), ('delete', 'delete the VM')):
        action.add_argument(
            f'--{name}', dest='action', action='store_const', const=name, help=text
        )
    return parser


def parse(arguments: Sequence[str]) -> Options:
    """The options that a command line gives.

    Raises:
      UserError: one is missing or makes no sense.
    """
    parser = _parser()
    first = arguments[0] if arguments else '-'
    if first.startswith('-') and first not in ('-h', '--help'):
        raise UserError('NAME of the TPU VM is missing: ./launch.sh tpu NAME --zone=…')
    own, flags = _divide(arguments, parser)
    values = vars(parser.parse_args(own))
    node = _node(values.pop('name'), values.pop('zone'), values.pop('project'))
    workdir, flags = _take_workdir(flags)
    options = Options(
        node,
        version=values.pop('runtime_version'),
        action=values.pop('action') or 'train',
        workdir=workdir,
        flags=tuple(flags),
        **values,
    )
    _check(options)
    return options


def _divide(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[str]]:
    """The launcher's own words, and the training's in the order given.

    The training's flags may have their value in the next word, so that such words can
    be told from NAME only if that comes first.
    """
    has_value = {}
    for action in parser._actions:
        for name in action.option_strings:
            has_value[name.lstrip('-')] = action.nargs is None
    own, flags, pending = list(arguments[:1]), [], list(arguments[1:])
    while pending:
        word = pending.pop(0)
        name, equals, value = word.lstrip('-').partition('=')
        if not word.startswith('-') or name not in has_value:
            flags.append(word)
            continue
        own.append(f'{"-" if len(name) == 1 else "--"}{name}{equals}{value}')
        if has_value[name] and not equals and pending:
            own.append(pending.pop(0))
    return own, flags


def _node(name: str, zone: str | None, project: str | None) -> Node:
    if not re.fullmatch(r'[a-z]([-a-z0-9]{0,61}[a-z0-9])?', name):
        raise UserError(
            f'NAME {name!r} cannot be that of a TPU VM: lower-case letters, digits and '
            'dashes, a letter first'
        )
    if not zone:
        raise UserError(
            '--zone is missing: where the TPU is or shall be, such as '
            '--zone=us-central1-a; gcloud compute tpus locations list shows all'
        )
    if not re.fullmatch(r'[a-z]+-[a-z]+\d+-[a-z]', zone):
        raise UserError(f'--zone={zone} is no zone; one is called us-central1-a, say')
    return Node(name, zone, project)


def _take_workdir(flags: list[str]) -> tuple[str | None, list[str]]:
    """The value of --workdir, the last if there are several, and the other flags."""
    workdir, others, pending = None, [], list(flags)
    while pending:
        word = pending.pop(0)
        if not re.match(r'--?workdir(=|$)', word):
            others.append(word)
        elif '=' in word:
            workdir = word.partition('=')[2]
        else:
            workdir = pending.pop(0) if pending else ''
    if workdir == '':
        raise UserError('--workdir has no value')
    return workdir, others


def _check(options: Options) -> None:
    for name in ('max_restarts', 'poll_seconds'):
        if not 0 <= getattr(options, name) < math.inf:
            raise UserError(f'--{name} must be a number of at least 0')
    if options.action != 'train':
        if options.flags or options.workdir:
            given = (*options.flags, options.workdir)[0]
            raise UserError(f'--{options.action} takes no flags of a training: {given}')
        return
    # Before a VM is made that costs money.
    _ = options.runtime_version
    if options.spot and options.max_restarts and not in_bucket(options.training[0]):
        raise UserError(
            'a spot VM may be preempted at any time, and with it goes its disk: name a '
            'work folder in a bucket with --workdir=gs://BUCKET/…, from which the '
            'training goes on; or accept the loss of the training with --max_restarts=0'
        )
    _check_flags(options.flags)


def _check_flags(flags: Sequence[str]) -> None:
    for before, word in itertools.pairwise(('', *flags)):
        if not word.startswith('-') and (not before.startswith('-') or '=' in before):
            raise UserError(
                f'unexpected argument {word!r}; flags of the training start with --'
            )
        if re.fullmatch('--?config', before):
            _check_config_file(word.partition(':')[0])
        elif value := re.fullmatch('--?config=(.*)', word):
            _check_config_file(value[1].partition(':')[0])


def _check_config_file(name: str) -> None:
    path = Path(name)
    if path.is_absolute() or '..' in path.parts or name.startswith('~'):
        raise UserError(
            f'--config={name}: only files below {ROOT} are copied to the TPU VM; name '
            'it from there, as configs/NAME.py'
        )
    if not (ROOT / path).is_file():
        raise UserError(f'--config={name}: there is no such file in {ROOT}')
    if path.as_posix() not in files():
        raise UserError(
            f'--config={name}: git ignores it, so that it is not copied to the TPU VM; '
            'move it'
        )
