"""What a range test leaves: a JSON file, a figure, and the last lines printed."""

from collections.abc import Callable
from typing import Any

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.reporting.lr_range_test.measurements import Measurements
from fmnist_jax.reporting.lr_range_test.reading import READINGS, suggest

RESULT = 'lr_range_test.json'


def write_result(
    folder: epath.Path,
    measurements: Measurements,
    description: dict[str, Any],
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Writes `lr_range_test.json`, `.png` and `.pdf`, and tells what came out.

    Args:
      folder: to write to.
      measurements: of the test, which has ended.
      description: of what was tested; written as it is.
      log: told the suggestion, in a line that can be copied, and the files.

    Returns:
      What the JSON file holds: `learning_rate`, `loss`, `smoothed_loss` (lists, up to
      where the test ended; per epoch also `validation_loss`,
      `smoothed_validation_loss` and `validation_accuracy`), `suggestion` (a number or
      None) and its `rule`, a `note` if any, `lowest_at` (the rate of the lowest
      smoothed loss), `diverged_at` (the rate at which the test stopped, or None) and
      `divergence` (when one stops), `smoothing` (the weight of the past in the moving
      average), and the description.
    """
    result = _result(measurements) | description
    contents = _figures(result)
    for name, content in contents.items():
        workdir_lib.write_bytes(folder / name, content)
    workdir_lib.write_json(folder / RESULT, result)
    _tell(result, log)
    for name in (RESULT, *contents):
        log(f'written: {folder / name}')
    return result


def _figures(result: dict[str, Any]) -> dict[str, bytes]:
    if not result['loss']:
        return {}
    # Matplotlib takes half a second to import: not before training.
    from fmnist_jax.reporting.figures import style  # noqa: PLC0415
    from fmnist_jax.reporting.figures.lr_range_test import (  # noqa: PLC0415
        range_test_figure,
    )

    figure = range_test_figure(result)
    return {
        'lr_range_test.png': style.to_png(figure),
        'lr_range_test.pdf': style.to_pdf(figure),
    }


def _result(measurements: Measurements) -> dict[str, Any]:
    reading = READINGS[measurements.per]
    train, validation = measurements.train, measurements.validation
    curve = train if measurements.per == 'step' else validation
    diverged = measurements.diverged_at is not None
    found = suggest(measurements.rates, curve.smoothed, reading, diverged=diverged)
    result: dict[str, Any] = {
        'suggestion': found.learning_rate,
        'rule': reading.rule,
        'note': found.note,
        'lowest_at': found.lowest_at,
        'diverged_at': measurements.diverged_at,
        'divergence': reading.divergence,
        'smoothing': train.beta,
        'learning_rate': measurements.rates[: len(train.values)],
        'loss': train.values,
        'smoothed_loss': train.smoothed,
    }
    if measurements.per == 'epoch':
        result |= {
            'validation_loss': validation.values,
            'smoothed_validation_loss': validation.smoothed,
            'validation_accuracy': measurements.accuracy,
        }
    return result


def _tell(result: dict[str, Any], log: Callable[[str], None]) -> None:
    if result['diverged_at'] is not None:
        log(
            f'stopped at learning rate {result["diverged_at"]:.2g}: diverged '
            f'({result["divergence"]})'
        )
    if result['suggestion'] is not None:
        log(f'suggestion: {result["rule"]}:')
        log(f'--config.optimizer.learning_rate={result["suggestion"]:g}')
    if result['note'] is not None:
        log(result['note'])
