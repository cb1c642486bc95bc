"""What every script shares: flags in, one call, an exit code."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags, logging
from ml_collections import ConfigDict

from fmnist_jax.errors import UserError, one_line
from fmnist_jax.stopping import EXIT_CODE, Stopped


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses `argv`; a mistake in it, or in the config file, becomes a `UserError`.

    ml_collections executes the config file and applies `--config.…` overrides while
    flags are parsed, so that anything may be raised here.
    """
    try:
        arguments = flags.FLAGS(argv)
        if 'config' in flags.FLAGS:
            _check_config(flags.FLAGS.config)
    except Exception as error:
        raise UserError(_explain(error)) from error
    return arguments


def _check_config(config: object) -> None:
    # What stands in for a config file that could not be read raises when it is used.
    if config is not None and not (config.keys and isinstance(config, ConfigDict)):
        raise TypeError(f'get_config() must return a ConfigDict, not {config!r}')


def _explain(error: Exception) -> str:
    """What is wrong with the flags or the config file, in one line."""
    causes = list(_causes(error))
    for cause in causes:
        if place := _place_in_config_file(cause):
            text = one_line(_inner(cause))
            kind = '' if isinstance(cause, UserError) else f'{type(cause).__name__}: '
            return f'{place}: {kind}{text}'
    if isinstance(error, flags.Error):
        return _explain_flag(error, causes[0])
    if isinstance(error, OSError):
        # The last line of several names the file.
        reason = str(causes[0]).splitlines()[-1].strip()
        return f'config file: {reason}; name one with --config=configs/NAME.py'
    if isinstance(_inner(error), KeyError):
        return (
            f'unknown config field: {one_line(_inner(error))} (see configs/default.py)'
        )
    return _explain_config(error)


def _explain_flag(error: flags.Error, first: BaseException) -> str:
    text = one_line(_inner(error))
    if missing := re.match(r'flag --(\w+)=None: .* other than None', text):
        if flags.FLAGS[missing[1]].present:
            return f'--{missing[1]}: get_config() must return a ConfigDict, not None'
        return f'--{missing[1]} is missing'
    # ml_collections puts the traceback into its message.
    return _explain_config(first) if 'Traceback (most recent' in text else text


def _explain_config(error: BaseException) -> str:
    text = one_line(_inner(error))
    if 'get_config() takes 0 positional arguments' in text:
        return 'the config file has no variants: name it without the colon'
    return f'config: {text}'


def _place_in_config_file(error: BaseException) -> str | None:
    # Of a value on the command line, ml_collections says `<unknown>`.
    if isinstance(error, SyntaxError) and not str(error.filename).startswith('<'):
        return f'{error.filename}, line {error.lineno}'
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        # The name under which ml_collections runs the file of --config.
        if frame.f_globals.get('__name__') == 'config_config':
            return f'{frame.f_code.co_filename}, line {line}'
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it was raised from, the first that was raised first."""
    context = None if error.__suppress_context__ else error.__context__
    if before := error.__cause__ or context:
        yield from _causes(before)
    yield error


def _inner(error: BaseException) -> BaseException:
    # ml_collections raises exceptions of exceptions.
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return error


def run(
    main: Callable[..., None],
    arguments: str | None = None,
    default_config: os.PathLike | None = None,
) -> None:
    """Parses the flags, calls `main` and exits.

    Exit codes: 0 done; 2 a mistake in the flags, config, data or work folder
    (`UserError`); 3 training diverged; 4 some of the files to classify could not be
    read, the others were classified; 5 a program does not fit into an accelerator's
    memory; 75 training was stopped by a signal, or lost one of its processes, and can
    be gone on with; 130 interrupted; 141 nobody reads the output.

    Args:
      main: called without arguments, or with the list of those that are not flags.
      arguments: what those are called; None where there must be none.
      default_config: the file of `--config` where none is named. As a default of the
        flag, it would be read while the flag is defined, where nobody explains a
        mistake in an override.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        named = any(re.match('--?config(=|$)', argument) for argument in argv[1:])
        if default_config is not None and not named:
            argv = [argv[0], f'--config={os.fspath(default_config)}', *argv[1:]]
        return _parse_flags_or_exit(argv, arguments)

    def call(argv: Sequence[str]) -> None:
        # Orbax tells of every file it writes; what matters here is printed.
        logging.set_verbosity(logging.WARNING)
        main(*([argv[1:]] if arguments else []))

    try:
        app.run(call, flags_parser=parse)
    except UserError as error:
        _fail(error)
    except Stopped as stopped:
        print(f'{stopped}; run the same command again to go on', file=sys.stderr)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:
        print('interrupted; run the same command again', file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough. Python would complain
        # once more when it closes what is left, so that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _parse_flags_or_exit(argv: Sequence[str], expected: str | None) -> list[str]:
    try:
        arguments = _parse_flags(argv)
        if expected and not arguments[1:]:
            raise UserError(f'{expected} is missing')
        if not expected and arguments[1:]:
            raise UserError(
                f'unexpected argument {arguments[1]!r}; options start with --'
            )
        return arguments
    except UserError as error:
        _fail(error)


def _fail(error: UserError) -> None:
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    if _is_one_of_several():
        # An orderly exit would wait for the others, who may wait for this process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.exit_code)
    sys.exit(error.exit_code)


def _is_one_of_several() -> bool:
    """Whether this process has joined others; see training/joining.py."""
    jax = sys.modules.get('jax')
    return jax is not None and jax.distributed.is_initialized()
