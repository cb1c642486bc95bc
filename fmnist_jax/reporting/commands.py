"""Commands that are printed for a reader to copy."""

import os
import shlex
import shutil
import sys


def command(script: str, *arguments: str) -> str:
    """A command for a shell in which this interpreter may not be `python`.

    Args:
      script: of this package, such as `evaluate`.
      *arguments: of it, as it should see them.
    """
    python = 'python'
    if shutil.which(python) != sys.executable:
        python = os.path.relpath(sys.executable)
        if python.startswith(os.pardir):
            python = sys.executable
    return shlex.join([python, '-m', f'fmnist_jax.{script}', *arguments])
