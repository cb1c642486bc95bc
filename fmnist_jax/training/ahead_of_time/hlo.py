"""Reads a compiled program's text: how often each of its operations runs.

The text is XLA's, https://openxla.org/xla/operation_semantics, as the compiler for TPUs
has scheduled it. XLA's own cost analysis counts what is in a loop once, and does not
tell the chip's memory (HBM) from the core's (VMEM).
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

_COMPUTATION = re.compile(r'(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\) -> .*\{')
_OPERATION = re.compile(
    r'\s+(?P<root>ROOT )?%?(?P<name>[\w.-]+) = (?P<result>.*?) '
    r'(?P<opcode>[a-z][a-z\d-]*)\((?P<rest>.*)'
)
_ARRAY = re.compile(
    r'(?P<dtype>[a-z]\w*)\[(?P<sizes>[\d,]*)\](?:\{(?P<layout>[^}]*)\})?'
)
_CALLED = re.compile(
    r'\b(calls|body|condition|to_apply|branch_computations|true_computation|'
    r'false_computation|called_computations)=(?:\{([^}]*)\}|(%?[\w.-]+))'
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class ArrayType:
    """An array as it lies in memory.

    Attributes:
      dtype: XLA's name of the type of a number.
      sizes: of its dimensions.
      order: the dimensions, from the one whose neighbours are neighbours in memory.
      tile: sizes of the pieces that memory holds whole, of the first of `order` last.
      in_hbm: whether it lies in the chip's memory, not in the core's.
    """

    dtype: str
    sizes: tuple[int, ...]
    order: tuple[int, ...]
    tile: tuple[int, ...]
    in_hbm: bool

    @property
    def num_bytes(self) -> int:
        """Of its numbers."""
        return math.ceil(math.prod(self.sizes) * self._bits / 8)

    @property
    def padded_bytes(self) -> int:
        """Of its numbers and of what fills its tiles up."""
        sizes = [self.sizes[dimension] for dimension in self.order]
        for number, tile in enumerate(reversed(self.tile)):
            if number < len(sizes):
                sizes[number] = math.ceil(sizes[number] / tile) * tile
        return math.ceil(math.prod(sizes) * self._bits / 8)

    @property
    def _bits(self) -> int:
        # A truth value takes a byte; all other types have their size in their name, but
        # for a token, which has none.
        match = re.match(r'[a-z]+(\d+)', self.dtype)
        return int(match[1]) if match else 8 * (self.dtype == 'pred')


@dataclasses.dataclass(frozen=True)
class Operation:
    """One line of a program.

    Attributes:
      name: unique in the program.
      opcode: what it does.
      results: the arrays it gives.
      operands: names of the operations whose results it takes.
      called: names of the computations that it runs, and as what.
      text: the line from the operands on.
    """

    name: str
    opcode: str
    results: tuple[ArrayType, ...]
    operands: tuple[str, ...]
    called: tuple[tuple[str, str], ...]
    text: str

    @property
    def cycles(self) -> int:
        """The compiler's estimate of the core's clock cycles; 0 if it made none."""
        match = _CYCLES.search(self.text)
        return int(match[1]) if match else 0


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations: lists of operations, by name.

    Attributes:
      computations: all of them.
      entry: the name of the one that the program begins with.
    """

    computations: Mapping[str, Sequence[Operation]]
    entry: str

    def executions(self) -> dict[str, int]:
        """How often each computation runs in a run of the program.

        A loop whose number of rounds cannot be read counts once, and so does each side
        of a condition. What is run for every number of an array (`to_apply`) is left
        out.
        """
        counts: dict[str, int] = {}

        def visit(name: str, times: int) -> None:
            counts[name] = counts.get(name, 0) + times
            for operation in self.computations[name]:
                rounds = self._rounds(operation)
                for role, called in operation.called:
                    if role != 'to_apply' or operation.opcode == 'call':
                        visit(called, times * rounds)

        visit(self.entry, 1)
        return counts

    def _rounds(self, operation: Operation) -> int:
        if operation.opcode != 'while':
            return 1
        if match := _TRIPS.search(operation.text):
            return int(match[1])
        # As `lax.scan` counts: from 0, by 1, while less than a constant.
        condition = self.computations[dict(operation.called)['condition']]
        constants = {x.name: x.text for x in condition if x.opcode == 'constant'}
        for test in condition:
            if test.opcode == 'compare' and 'direction=LT' in test.text:
                limit = constants.get(test.operands[-1], '')
                if match := re.match(r'(\d+)\)', limit):
                    return int(match[1])
        return 1


def parse(text: str) -> Program:
    """A program from its text, as `compiled.as_text()` gives it."""
    computations: dict[str, list[Operation]] = {}
    entry, current = '', None
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = computations.setdefault(match['name'], [])
            entry = match['name'] if match['entry'] else entry
        elif current is not None and (match := _OPERATION.match(line)):
            current.append(_operation(match))
    return Program(computations, entry)


def _operation(match: re.Match) -> Operation:
    rest = match['rest']
    called = [
        (role, name.strip().lstrip('%'))
        for role, several, one in _CALLED.findall(rest)
        for name in (several or one).split(',')
    ]
    return Operation(
        name=match['name'],
        opcode=match['opcode'],
        results=tuple(map(_array_type, _ARRAY.finditer(match['result']))),
        operands=tuple(re.findall(r'%([\w.-]+)', rest.partition(')')[0])),
        called=tuple(called),
        text=rest,
    )


def _array_type(match: re.Match) -> ArrayType:
    order, _, rest = (match['layout'] or '').partition(':')
    sizes = _numbers(match['sizes'])
    tile = re.search(r'T\(([\d,]+)\)', rest)
    space = re.search(r'S\((\d+)\)', rest)
    return ArrayType(
        dtype=match['dtype'],
        sizes=sizes,
        order=_numbers(order) or tuple(reversed(range(len(sizes)))),
        tile=_numbers(tile[1]) if tile else (),
        in_hbm=space is None or space[1] == '0',
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(','))))
