"""The flags that the scripts which score trained runs share."""

from collections.abc import Callable

from absl import flags

from fmnist_jax import config as config_lib

# They are flags of the script that defines them by this module, in its `--help`, too.
flags.disclaim_key_flags()


def define_what() -> Callable[[], dict[str, str | None]]:
    """Defines what is scored: `split`, `checkpoint`, `data_dir` and `idx_dir`.

    Returns:
      What gives their values, once flags are parsed, as keyword arguments.
    """
    return _values(
        flags.DEFINE_enum(
            'split', 'test', config_lib.SPLITS, 'Which split, as configs define it.'
        ),
        flags.DEFINE_string(
            'checkpoint',
            'best',
            'Of each run: best (highest validation accuracy), last, or a step.',
        ),
        flags.DEFINE_string(
            'data_dir',
            None,
            "Where data are prepared; default: as in the (first) run's config.",
        ),
        flags.DEFINE_string(
            'idx_dir',
            None,
            "A folder of IDX files; default: as in the (first) run's config.",
        ),
    )


def define_how() -> Callable[[], dict[str, str | bool]]:
    """Defines how it is scored: `views` and `calibrate`; see `define_what`."""
    return _values(
        flags.DEFINE_enum(
            'views',
            'none',
            ('none', 'flip'),
            'The mean of the probabilities over which views of each image: none, the '
            'image as it is; flip, that and its mirror image (written to '
            'eval/SPLIT-flip).',
        ),
        flags.DEFINE_bool(
            'calibrate',
            False,
            'Fit a temperature on the validation split, and say what it makes of the '
            'scores.',
        ),
    )


def _values(*holders: flags.FlagHolder) -> Callable[[], dict]:
    return lambda: {holder.name: holder.value for holder in holders}
