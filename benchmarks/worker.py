"""A competitor's process: waits for a request, does it, answers.

    python -m benchmarks.worker package.module:Class

Both directions carry one JSON object a line, on standard input and output. A request is
`{"method": …, "arguments": {…}}`; the first one's method is `start`, and makes the
competitor. An answer is `{"result": …}`, `{"error": …}`, or, first and last,
`{"missing": …}` when the competitor's module cannot be imported. Between requests the
process blocks on the pipe. It ends when its input does.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from benchmarks.workloads import Workload
from fmnist_jax.errors import one_line


def serve(competitor_class: type, requests: TextIO, answers: TextIO) -> None:
    """Answers one request after the other, until there are no more."""
    competitor: Any = None
    for line in requests:
        request = json.loads(line)
        try:
            if request['method'] == 'start':
                competitor = _start(competitor_class, **request['arguments'])
                result = competitor.versions()
            else:
                result = getattr(competitor, request['method'])(**request['arguments'])
        except Exception as error:
            traceback.print_exc()
            _answer(answers, error=f'{type(error).__name__}: {one_line(error)}')
        else:
            _answer(answers, result=result)


def _start(competitor_class: type, workload: str, folder: str, threads: int) -> Any:
    return competitor_class(Workload.parse(workload), Path(folder), threads)


def _answer(answers: TextIO, **message: Any) -> None:
    print(json.dumps(message), file=answers, flush=True)


def main() -> None:
    """Serves the competitor that the first argument names."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # In a file, too, lines are there when they are printed.
    sys.stdout.reconfigure(line_buffering=True)
    module, _, name = sys.argv[1].partition(':')
    try:
        competitor_class = getattr(importlib.import_module(module), name)
    except ImportError as error:
        traceback.print_exc()
        _answer(answers, missing=one_line(error))
        return
    serve(competitor_class, sys.stdin, answers)


if __name__ == '__main__':
    main()
