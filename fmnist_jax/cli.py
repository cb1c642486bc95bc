"""What every script shares: flags in, one call, an exit code."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from fmnist_jax.errors import UserError


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses `argv`; a mistake in it becomes a `UserError`.

    ml_collections executes the config file and applies `--config.…` overrides while
    flags are parsed, and reports mistakes with a variety of exception types.
    """
    try:
        return flags.FLAGS(argv, known_only=False)
    except flags.Error as error:
        raise UserError(_first_line(error)) from error
    except FileNotFoundError as error:
        raise UserError(
            f'config file {error.filename or error} not found; '
            'name one with --config=configs/NAME.py'
        ) from error
    except (AttributeError, KeyError) as error:
        message = error.args[0] if error.args else str(error)
        raise UserError(f'unknown config field: {message}') from error
    except (ImportError, SyntaxError, TypeError, ValueError) as error:
        raise UserError(f'config: {_first_line(error)}') from error


def _first_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main` and exits.

    Exit codes: 0 done; 2 a mistake in the flags, config, data or work folder
    (`UserError`); 3 training diverged; 130 interrupted.
    """
    try:
        app.run(lambda _: _main(main), flags_parser=_parse_flags_or_exit)
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        print('interrupted; run the same command again to resume', file=sys.stderr)
        sys.exit(130)


def _main(main: Callable[[], None]) -> None:
    # Orbax tells of every file it writes; what matters here is printed.
    logging.set_verbosity(logging.WARNING)
    main()


def _parse_flags_or_exit(argv: Sequence[str]) -> list[str]:
    try:
        arguments = _parse_flags(argv)
        if len(arguments) > 1:
            raise UserError(
                f'unexpected argument {arguments[1]!r}; options start with --'
            )
        return arguments
    except UserError as error:
        _fail(error)


def _fail(error: UserError) -> None:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(error.exit_code)
