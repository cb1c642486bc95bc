"""The figure of predictions as a file, of the kind that its name's ending says.

Matplotlib takes half a second to import: names are checked without it.
"""

from collections.abc import Iterable, Sequence

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.predictions import Prediction

_FORMATS = ('.png', '.svg', '.pdf')


def check(name: epath.PathLike, images: Iterable[str]) -> epath.Path:
    """The path of a figure, which can be written.

    Args:
      name: as `--figure` gives it.
      images: files, which are not to be overwritten.

    Raises:
      UserError: it cannot be written, or is one of the images.
    """
    path = epath.Path(name).expanduser()
    if path.suffix.lower() not in _FORMATS:
        raise UserError(
            f'--figure={path} must end in {" or ".join(_FORMATS)}, which says what '
            'kind of file is drawn'
        )
    if path.is_dir():
        raise UserError(f'--figure={path} is a folder; name a file')
    files = {workdir_lib.absolute(epath.Path(file)) for file in images}
    if workdir_lib.absolute(path) in files:
        raise UserError(
            f'--figure={path} would overwrite one of the images; choose another name'
        )
    workdir_lib.check(path.parent, 'choose another --figure')
    return path


def write(
    predictions: Sequence[Prediction], class_names: Sequence[str], path: epath.Path
) -> None:
    """Draws predictions, as `predictions_figure` does, into a file.

    Args:
      predictions: one has an image at least.
      class_names: one a label.
      path: as `check` gave it.
    """
    from fmnist_jax.reporting.figures import style  # noqa: PLC0415
    from fmnist_jax.reporting.figures.predictions import (  # noqa: PLC0415
        predictions_figure,
    )

    figure = predictions_figure(predictions, class_names)
    kind = path.suffix.lower()
    if kind == '.svg':
        content = style.to_svg(figure).encode()
    elif kind == '.pdf':
        content = style.to_pdf(figure)
    else:
        content = style.to_png(figure)
    workdir_lib.write_bytes(path, content)
