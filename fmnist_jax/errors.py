"""Mistakes a user can mend: one clear line, no traceback, a non-zero exit code."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Says what is wrong, where, and what to do. Scripts exit with `exit_code`."""

    exit_code = 2


class DivergenceError(UserError):
    """The training loss is no longer finite."""

    exit_code = 3


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> UserError:
    """The error for a name that is not registered, with the nearest that is."""
    valid = sorted(valid)
    # A cutoff of 0 makes difflib always propose the best match it has.
    nearest = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.0)
    hint = f'; did you mean {nearest[0]!r}?' if nearest else ';'
    return UserError(f'unknown {kind} {name!r}{hint} Known: {", ".join(valid)}.')
