"""What is asked of the workers, in words for their shell, and what they reply."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from typing import Any

from fmnist_jax.cloud.worker import MARKER

# In the home folder of every worker.
FOLDER = 'fmnist_jax_tpu'
ARCHIVE = 'fmnist_jax_tpu.tar.gz'
RESULTS = f'{FOLDER}/.job/results.tar.gz'
_WORKER = f'{FOLDER}/fmnist_jax/cloud/worker.py'

# Removes the files of the code that was there before, and nothing else.
UNPACK = (
    f'mkdir -p {FOLDER} && cd {FOLDER} && '
    '{ test ! -f .code || xargs -d "\\n" rm -f -- <.code; } && '
    f'tar -xzf ../{ARCHIVE} && '
    f'tar --quoting-style=literal -tzf ../{ARCHIVE} >.code'
)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a worker says of its training; see `worker.status`.

    Attributes:
      worker: its number; -1 where no code is there yet that knows it.
      state: running, ended, or absent if none was ever started.
      code: the exit code; None if it runs or was ended with all that watched it.
      time: when it ended, in seconds since 1970; None as above.
      flags: the training's; None if absent.
      stopped: whether somebody asked it to end.
      log: a part of its output, if asked for.
      offset: the byte of the output after that part.
      size: of the output, in bytes.
    """

    state: str
    worker: int = -1
    code: int | None = None
    time: float | None = None
    flags: list[str] | None = None
    stopped: bool = False
    log: str = ''
    offset: int = 0
    size: int = 0


def status(offset: int | None = None) -> str:
    """Asks how a training goes, also where no code was ever copied.

    Args:
      offset: the byte from which to send the output; -1 for its end, None for none.
    """
    return _if_there(['status', *([] if offset is None else [str(offset)])])


def start(flags: Sequence[str]) -> str:
    """Starts a training unless one runs."""
    return shlex.join(['python3', _WORKER, 'start', *flags])


def stop() -> str:
    """Ends a training, with a checkpoint, if there is one."""
    return _if_there(['stop'])


def pack(workdir: str) -> str:
    """Packs a work folder for copying."""
    return shlex.join(['python3', _WORKER, 'pack', workdir])


def _if_there(words: Sequence[str]) -> str:
    """Calls the worker's program; where no code is yet, the reply is `absent`."""
    call = shlex.join(['python3', _WORKER, *words])
    absent = shlex.quote(MARKER + json.dumps({'state': 'absent'}))
    return f'if test -f {_WORKER}; then {call}; else echo {absent}; fi'


def parse(output: str) -> list[dict[str, Any]]:
    """The replies in what a command printed, the last of each worker.

    gcloud's own lines are left aside, and the torn replies of broken connections.
    """
    replies = {}
    for text in output.split(MARKER)[1:]:
        try:
            reply, _ = json.JSONDecoder().raw_decode(text)
        except ValueError:
            continue
        replies[reply.get('worker', -1 - len(replies))] = reply
    return list(replies.values())
