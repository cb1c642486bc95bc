"""Mistakes in the input, and what a script says of them."""

import subprocess

from ml_collections import ConfigDict


def assert_fails(
    done: subprocess.CompletedProcess, *parts: str, exit_code: int = 2
) -> str:
    """Checks that the script said what is wrong, in one line; returns the line."""
    assert done.returncode == exit_code, done
    assert 'Traceback' not in done.stdout + done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith('error:')]
    assert len(errors) == 1, done.stderr
    assert done.stderr.endswith(f'{errors[0]}\n')
    for part in parts:
        assert part in errors[0]
    return errors[0]


def changed(config: ConfigDict, field: str, value: object) -> ConfigDict:
    """A config with one field set, to a value of any type."""
    values = config.to_dict()
    *parents, last = field.split('.')
    holder = values
    for parent in parents:
        holder = holder.setdefault(parent, {})
    holder[last] = value
    return ConfigDict(values)
