"""Starts trainings elsewhere: python3 -m fmnist_jax.cloud tpu NAME --zone=ZONE"""

import sys
from types import MappingProxyType

from fmnist_jax.cloud import processes, tpu
from fmnist_jax.errors import UserError

_COMMANDS = MappingProxyType({'tpu': tpu.exit_code, 'processes': processes.main})


def main() -> int:
    """Runs a command; a user's mistake is one line."""
    name = sys.argv[1] if len(sys.argv) > 1 else 'nothing'
    try:
        if name not in _COMMANDS:
            raise UserError(f'give the command first, tpu or processes, not {name}')
        return _COMMANDS[name](sys.argv[2:])
    except UserError as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return error.exit_code


if __name__ == '__main__':
    sys.exit(main())
