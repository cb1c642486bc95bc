"""What a config may say of an operation, and what is told where it may not."""

import inspect
import json
import typing

import pytest

from fmnist_jax.data.augmentation import OPERATIONS, make_augmentation
from fmnist_jax.data.augmentation.arguments import read_arguments
from fmnist_jax.data.augmentation.registry import make_operation
from fmnist_jax.errors import UserError

FLIP = {'name': 'horizontal_flip'}
CROP = {'name': 'pad_and_crop'}
TRANSLATE = {'name': 'translate'}
ROTATE = {'name': 'rotate'}
RAND = {'name': 'rand_augment'}
ERASING = {'name': 'random_erasing'}
CUTOUT = {'name': 'cutout'}
MIXUP = {'name': 'mixup'}
CUTMIX = {'name': 'cutmix'}

NAN, INFINITE = float('nan'), float('inf')
PROBABILITY = 'probability must be a number from 0 to 1, not '
UNKNOWN = [
    ({'name': 'horizontal_flop'}, "'horizontal_flop'; did you mean 'horizontal_flip'"),
    ({'name': 'make_augmentation'}, 'unknown augmentation'),
    ({'name': 3}, 'unknown augmentation 3'),
    ({'name': ['rotate']}, "unknown augmentation ['rotate']"),
    ({'probability': 0.5}, 'unknown augmentation None'),
    ({}, 'unknown augmentation None'),
    ({**FLIP, 'prob': 0.5}, "'prob'; did you mean 'probability'"),
    ({**FLIP, 'padding': 2}, "argument of augmentation 'horizontal_flip' 'padding'"),
    ({**CROP, 'key': 2}, "'key'"),
    ({**CROP, 'image': 2}, "'image'; did you mean 'padding'? Known: padding."),
    ({**MIXUP, 'partner': 2}, "'partner'"),
    ({**RAND, 'num_magnitude_bins': 31}, 'Known: magnitude, num_bins, num_ops.'),
]
VALUES = [
    ({**FLIP, 'probability': 1.01}, PROBABILITY + '1.01'),
    ({**FLIP, 'probability': -0.01}, PROBABILITY + '-0.01'),
    ({**FLIP, 'probability': NAN}, PROBABILITY + 'nan'),
    ({**FLIP, 'probability': INFINITE}, PROBABILITY + 'inf'),
    ({**FLIP, 'probability': 10**400}, PROBABILITY + '1000'),
    ({**FLIP, 'probability': '0.5'}, PROBABILITY + "'0.5'"),
    ({**FLIP, 'probability': None}, PROBABILITY + 'None'),
    ({**FLIP, 'probability': True}, PROBABILITY + 'True'),
    ({**FLIP, 'probability': (0.5,)}, PROBABILITY + '(0.5,)'),
    ({**CROP, 'padding': -1}, 'padding must be a whole number from 0 to 32767, not -1'),
    ({**CROP, 'padding': 1.5}, 'padding must be a whole number from 0 to'),
    ({**CROP, 'padding': 2.0}, 'padding must be a whole number from 0 to'),
    ({**CROP, 'padding': True}, 'padding must be a whole number from 0 to'),
    ({**CROP, 'padding': 2**40}, 'padding must be a whole number from 0 to'),
    ({**TRANSLATE, 'fraction': 1.5}, 'fraction must be a number from 0 to 1'),
    ({**TRANSLATE, 'pixels': -1}, 'pixels must be a whole number from 0 to'),
    ({**TRANSLATE, 'pixels': '2'}, 'pixels must be a whole number from 0 to'),
    ({**TRANSLATE, 'fill': 'nearest'}, "fill must be 'black' or 'edge', not 'nearest'"),
    ({**TRANSLATE, 'fill': 0}, "fill must be 'black' or 'edge', not 0"),
    ({**TRANSLATE, 'pixels': 2, 'fraction': 0.2}, 'give fraction or pixels, not both'),
    ({**ROTATE, 'degrees': -10}, 'degrees must be a number from 0 to 180, not -10'),
    ({**ROTATE, 'degrees': 180.5}, 'degrees must be a number from 0 to 180'),
    ({**ROTATE, 'degrees': [-10, 10]}, 'degrees must be a number from 0 to 180'),
    ({**ROTATE, 'interpolation': 'cubic'}, "must be 'bilinear' or 'nearest'"),
    ({**ROTATE, 'fill': ['edge']}, "fill must be 'black' or 'edge'"),
    ({**RAND, 'num_ops': 0}, 'num_ops must be a whole number from 1 to 14, not 0'),
    ({**RAND, 'num_ops': 15}, 'num_ops must be a whole number from 1 to 14'),
    ({**RAND, 'magnitude': -1}, 'magnitude must be a whole number from 0 to'),
    ({**RAND, 'magnitude': 9.5}, 'magnitude must be a whole number from 0 to'),
    ({**RAND, 'magnitude': 31}, 'magnitude must be at most num_bins - 1 = 30, not 31'),
    ({**RAND, 'num_bins': 5}, 'magnitude must be at most num_bins - 1 = 4, not 9'),
    ({**RAND, 'num_bins': 1}, 'num_bins must be a whole number from 2 to'),
    ({**ERASING, 'probability': 2}, PROBABILITY + '2'),
    ({**ERASING, 'area': 0.1}, 'area must be two numbers, such as (0.1, 0.5), not 0.1'),
    ({**ERASING, 'area': (0.1,)}, 'area must be two numbers, such as'),
    ({**ERASING, 'area': (0.1, 0.2, 0.3)}, 'area must be two numbers, such as'),
    ({**ERASING, 'area': '12'}, 'area must be two numbers, such as'),
    ({**ERASING, 'area': (0.3, 0.2)}, 'area must have the smaller number first, not'),
    (
        {**ERASING, 'area': (0.3, 1.2)},
        'area must be two numbers, each of which must be a number from 0 to 1, not',
    ),
    ({**ERASING, 'area': (None, 0.5)}, 'area must be two numbers, each of which'),
    ({**ERASING, 'ratio': (0, 1)}, 'must be a number above 0 and at most 1000, not'),
    ({**ERASING, 'ratio': (3.3, 0.3)}, 'ratio must have the smaller number first'),
    ({**ERASING, 'value': 'white'}, "value must be 'black' or 'random', not 'white'"),
    ({**ERASING, 'value': 0}, "value must be 'black' or 'random', not 0"),
    ({**CUTOUT, 'size': -1}, 'size must be a whole number from 0 to'),
    ({**CUTOUT, 'size': 8.0}, 'size must be a whole number from 0 to'),
    ({**MIXUP, 'alpha': 0}, 'alpha must be a number from 0.01 to 100, not 0'),
    ({**MIXUP, 'alpha': -1}, 'alpha must be a number from 0.01 to 100'),
    ({**MIXUP, 'probability': 1.5}, PROBABILITY + '1.5'),
    ({**CUTMIX, 'alpha': INFINITE}, 'alpha must be a number from 0.01 to 100, not inf'),
    ({**CUTMIX, 'probability': -1}, PROBABILITY + '-1'),
]


def message_of(entry: dict) -> str:
    with pytest.raises(UserError) as caught:
        # After one that is right.
        make_augmentation((FLIP, entry), 10)
    message = str(caught.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize(('entry', 'part'), UNKNOWN)
def test_an_unknown_name_is_told_with_the_nearest(entry, part):
    assert part in message_of(entry)


@pytest.mark.parametrize(('entry', 'part'), VALUES)
def test_a_value_that_is_not_allowed_is_told_with_what_is(entry, part):
    message = message_of(entry)
    assert message.startswith(f'augmentation {entry["name"]!r}: ')
    assert part in message


RIGHT = [
    {**FLIP, 'probability': 0},
    {**FLIP, 'probability': 1},
    {**CROP, 'padding': 0},
    {**TRANSLATE, 'pixels': None},
    {**TRANSLATE, 'pixels': None, 'fraction': 1},
    {**ROTATE, 'degrees': 180},
    {**RAND, 'num_ops': 14, 'magnitude': 0, 'num_bins': 2},
    {**RAND, 'magnitude': 30},
    {**ERASING, 'area': (0, 1), 'ratio': (1, 1)},
    {**ERASING, 'area': [0.1, 0.1], 'ratio': [0.5, 2]},
    {**CUTOUT, 'size': 0},
    {**MIXUP, 'alpha': 0.01},
    {**CUTMIX, 'alpha': 100, 'probability': 0},
]


@pytest.mark.parametrize('entry', RIGHT)
def test_the_ends_of_ranges_are_allowed(entry):
    given = dict(entry)
    assert callable(make_operation(entry).function)
    assert entry == given


@pytest.mark.parametrize('entry', RIGHT)
def test_a_config_read_back_from_a_file_is_the_same(entry):
    read_back = json.loads(json.dumps(entry))
    function, again = (make_operation(x).function for x in (entry, read_back))
    assert function.func is again.func
    assert function.keywords == again.keywords
    # As annotated: tuples, and floats where whole numbers were given.
    hints = typing.get_type_hints(function.func)
    for name, value in again.keywords.items():
        if hints[name] is float:
            assert type(value) is float
        elif typing.get_origin(hints[name]) is tuple:
            assert [type(number) for number in value] == [float, float]


@pytest.mark.parametrize('name', OPERATIONS)
def test_defaults_are_allowed_and_every_argument_says_what_is(name):
    function = OPERATIONS[name].function
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert read_arguments(name, function, defaults) == defaults
    assert read_arguments(name, function, {}) == defaults
    assert defaults
    positional = [p.name for p in parameters if p.name not in defaults]
    expected = ['key', 'image']
    if OPERATIONS[name].mixes:
        expected = ['key', 'example', 'partner']
    assert positional == expected


def test_names_are_those_of_the_functions():
    for name, operation in OPERATIONS.items():
        assert operation.function.__name__ == name
