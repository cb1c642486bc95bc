"""The scripts that score trained runs show the flags that they share as their own."""

import pytest

from tests.conftest import run_script

WHAT = ('--split', '--checkpoint', '--data_dir', '--idx_dir')
HOW = ('--views', '--[no]calibrate')


@pytest.mark.parametrize(
    ('script', 'flags', 'others'),
    [
        ('evaluate', (*WHAT, *HOW), ('--members',)),
        ('ensemble', (*WHAT, *HOW, '--members'), ()),
        ('robustness', WHAT, HOW),
    ],
)
def test_help_lists_the_flags_of_a_script(script, flags, others):
    told = run_script(f'fmnist_jax.{script}', '--help').stdout
    for flag in ('--workdir', *flags):
        assert f'  {flag}: ' in told
    for flag in others:
        assert flag not in told
