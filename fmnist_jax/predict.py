"""Classifies images: python -m fmnist_jax.predict --workdir=runs/tinyvgg IMAGE..."""

from absl import flags

from fmnist_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'The work folder of a run.')
_MODEL = flags.DEFINE_string(
    'model', None, 'A model that fmnist_jax.export wrote, instead of --workdir.'
)
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint',
    None,
    "Of --workdir's run: best (highest validation accuracy, the default), last, or a "
    'step.',
)
_INVERT = flags.DEFINE_enum(
    'invert',
    'auto',
    ('auto', 'yes', 'no'),
    'Whether dark becomes light. auto: if the image has a light background, the median '
    'of its border being above 127, and the model takes grey images. For models of '
    'data that are dark on light, say no.',
)
_JSON = flags.DEFINE_bool('json', False, 'Print JSON instead of a table.')
_FIGURE = flags.DEFINE_string(
    'figure', None, 'A .png, .svg or .pdf file to draw the images and bars into.'
)


def main(arguments: list[str]) -> None:
    """Classifies as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.evaluation.prediction import predict  # noqa: PLC0415

    predict(
        arguments,
        _WORKDIR.value,
        _CHECKPOINT.value,
        exported=_MODEL.value,
        invert=_INVERT.value,
        as_json=_JSON.value,
        figure=_FIGURE.value,
    )


if __name__ == '__main__':
    cli.run(main, arguments='IMAGE...')
