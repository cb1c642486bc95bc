"""The one place where commands are run."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from fmnist_jax.errors import UserError

# The exit code of a command that took too long, as of `timeout`.
TIMED_OUT = 124
# That of a training that was asked to end and wrote a checkpoint: `stopping.EXIT_CODE`.
REQUEUE = 75


def say(text: str) -> None:
    """Tells what is being done; the training's own output goes to standard output."""
    print(f'launch.sh: {text}', file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
      code: its exit code.
      output: its standard output.
      errors: its standard error.
    """

    code: int
    output: str
    errors: str


def run(command: Sequence[str], timeout: float | None = None) -> Result:
    """Runs a command without a terminal; Ctrl-C reaches the caller alone.

    Args:
      command: its words.
      timeout: in seconds; a command that takes longer is ended.

    Raises:
      UserError: there is no such program.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UserError(_missing(command[0])) from error
    except OSError as error:
        raise UserError(f'cannot run {command[0]}: {error.strerror}') from error
    try:
        output, errors = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        output, errors = b'', f'no answer within {timeout:.0f} seconds'.encode()
        code = TIMED_OUT
    except BaseException:
        _end(process)
        raise
    return Result(
        code, output.decode('utf-8', 'replace'), errors.decode(errors='replace')
    )


def _end(process: subprocess.Popen) -> None:
    """Ends a command with all that it started, such as ssh."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _missing(program: str) -> str:
    if program != 'gcloud':
        return f'{program} is not installed'
    return (
        'gcloud, the Google Cloud CLI, is not installed or not on the PATH; install it '
        '(https://cloud.google.com/sdk/docs/install), then: gcloud auth login'
    )
