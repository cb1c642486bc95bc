"""What a row of a project's results is: a config, and figures of its runs."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType

# What a project calls its figures on images that are not trained on, and what that is:
# `metrics`: validation lines of `metrics.jsonl`, where the test set is validation;
# `evaluation`: `eval/test/metrics.json`, where validation is a split of its own;
# `batch_statistics`, `batch_statistics_scaled`: S4's evaluation, of pixels as they are
# and divided by 255; see batch_statistics.py in the folder above;
# `lr_range_test`: the last epoch of `lr_range_test.json`.
SOURCES = (
    'metrics',
    'evaluation',
    'batch_statistics',
    'batch_statistics_scaled',
    'lr_range_test',
)
# S1's sweep of learning rates: of epochs 0 to 49, each 10^(1/20) times the one before.
LR_RANGE_TEST_EPOCHS = 50
# In the order of the columns: what a table calls a metric, its digits and its unit.
METRICS: Mapping[str, tuple[str, int, str]] = MappingProxyType(
    {
        'train_loss': ('train loss', 4, ''),
        'train_accuracy': ('train accuracy', 2, ' %'),
        'validation_accuracy': ('validation accuracy', 2, ' %'),
        'test_loss': ('test loss', 4, ''),
        'test_accuracy': ('test accuracy', 2, ' %'),
        'shirt_f1': ('F1 of Shirt', 2, ' %'),
        'learning_rate': ('learning rate', 5, ''),
    }
)
EPOCHS = ('last', 'highest_accuracy', 'lowest_loss')


@dataclasses.dataclass(frozen=True)
class Reading:
    """Figures of a run, at one of its epochs.

    Attributes:
      title: what tells it from the other readings of a run.
      epoch: one of `EPOCHS`: the last; or that of the highest accuracy, or the lowest
        loss, on what the run validates on.
      source: one of `SOURCES`.
      published: figures by metric, with the digits that they were published with:
        `train_loss`, `train_accuracy`, `validation_accuracy`, `test_loss`,
        `test_accuracy`, `shirt_f1`, `learning_rate`.
      explanations: by metric, why ours differs by more than chance: a sentence.
      not_judged: by metric, why the spread of our runs says nothing of whether the
        published figure agrees: a sentence.
    """

    title: str = ''
    epoch: str = 'last'
    source: str = 'metrics'
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    explanations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    not_judged: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A row of a project's results: a config, and what is read of its runs.

    Attributes:
      name: of the folder of its runs.
      project: S0 to S4.
      title: what the table calls it.
      config: the name of a file in configs/seeds/, and maybe a variant of it.
      readings: what the table shows.
      overrides: fields of the config that differ.
      num_seeds: how many runs, with seeds from 0: at least five where one takes less
        than ten minutes on two CPU cores, three where less than an hour, else one.
      evaluated_at: one of `EPOCHS`, whose checkpoint is scored on the test set; None
        where the test set is the validation set, so that every epoch is.
      order: of the altered images that it is trained on, `shuffled` or `grouped`; None
        for the images as they are.
      script: `main`; or `lr_range_test`, for a run over learning rates.
      not_run: why it is not run; '' if it is.
    """

    name: str
    project: str
    title: str
    config: str
    readings: Sequence[Reading]
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    num_seeds: int = 5
    evaluated_at: str | None = None
    order: str | None = None
    script: str = 'main'
    not_run: str = ''

    @property
    def config_name(self) -> str:
        """The name of the config's file, without its variant."""
        return self.config.partition(':')[0]

    @property
    def has_batch_statistics(self) -> bool:
        """Whether its test figures are computed as S4 did, too."""
        return any(r.source.startswith('batch_statistics') for r in self.readings)


def figures(
    train_loss: str | None = None,
    train_accuracy: str | None = None,
    test_loss: str | None = None,
    test_accuracy: str | None = None,
    **others: str,
) -> Mapping[str, str]:
    """Figures by metric, as `Reading.published` has them, but for None."""
    values = {
        'train_loss': train_loss,
        'train_accuracy': train_accuracy,
        'test_loss': test_loss,
        'test_accuracy': test_accuracy,
    }
    return {k: v for k, v in values.items() if v is not None} | others
