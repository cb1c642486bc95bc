"""The rows of results/frontier.md: what is trained, scored and compared.

The best found elsewhere, with sources, is in results/frontier/elsewhere.json.
"""

import dataclasses
from collections.abc import Mapping, Sequence

CPU, ACCELERATOR = 'cpu', 'accelerator'
FLIP, CALIBRATE = '--views=flip', '--calibrate'


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs of one recipe, with seeds from 0.

    `teachers`, `members` and `runs_of` name other rows, whose runs of the same seed are
    meant; `NAME+2` those of a seed that is larger by two.

    Attributes:
      name: of the folder of its runs.
      title: what the tables call it.
      config: a file below configs/, without its ending, and maybe a variant of it; ''
        of a row that trains nothing.
      overrides: fields of the config that differ.
      num_seeds: how many runs.
      is_scored: whether the test set is scored, once for each run, at the checkpoint of
        the best validation accuracy. Rows that are not are judged on validation alone.
      chosen_from: of a scored row, the trial that validation chose: the runs of all
        trials must be committed before the test set is touched.
      trial_of: of a row that is not scored, the scored one that it is a trial of.
      needs: `cpu`, or `accelerator`: never run without one.
      teachers: whom it is distilled from.
      members: of an ensemble.
      runs_of: whose runs are scored anew, by `evaluation`; trains nothing.
      evaluation: further flags of `evaluate`, or of `ensemble`.
      is_robustness_scored: whether corrupted images are scored, too.
      compared_with: of what is an ablation, too, the row from which it differs in one
        part.
    """

    name: str
    title: str
    config: str = ''
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    num_seeds: int = 3
    is_scored: bool = False
    chosen_from: str = ''
    trial_of: str = ''
    needs: str = CPU
    teachers: Sequence[str] = ()
    members: Sequence[str] = ()
    runs_of: str = ''
    evaluation: Sequence[str] = ()
    is_robustness_scored: bool = False
    compared_with: str = ''

    @property
    def split(self) -> str:
        """What it is scored on."""
        return 'test' if self.is_scored else 'validation'

    @property
    def evaluation_folder(self) -> str:
        """Of its scores, below `eval/`."""
        return f'{self.split}-flip' if FLIP in self.evaluation else self.split

    @property
    def sources(self) -> tuple[str, ...]:
        """The rows, and how much larger their seeds, that must be trained before."""
        runs_of = (self.runs_of,) if self.runs_of else ()
        return (*self.teachers, *self.members, *runs_of)


@dataclasses.dataclass(frozen=True)
class Goal:
    """A line of the table of goals.

    Attributes:
      title: what it is about.
      elsewhere: the best found elsewhere; test accuracy in per cent.
      goal: likewise.
      rows: a single forward pass each, and judged by the goal.
      others: with several views or models; lines of their own, and not judged.
      limit: of parameters; None for any number.
    """

    title: str
    elsewhere: str
    goal: float
    rows: Sequence[str]
    others: Sequence[str] = ()
    limit: int | None = None


GOALS = (
    Goal(
        '≤ 8,000 parameters',
        '89.1',
        92.0,
        ('tiny', 'tiny-distilled'),
        ('tiny-flip', 'tiny-ensemble'),
        limit=8_000,
    ),
    Goal(
        '≤ 100,000 parameters',
        '92.5',
        95.0,
        ('small', 'small_longer'),
        (
            'small-flip',
            'small-ensemble',
            'small_longer-flip',
            'small_longer-ensemble',
        ),
        limit=100_000,
    ),
    Goal('≤ 300,000 parameters', '95.55 ± 0.04', 95.9, ('resnet20',), limit=300_000),
    Goal(
        'any number, one model',
        'about 96.6',
        96.9,
        ('wrn_16_4', 'wrn_28_10', 'wrn_40_4'),
    ),
)
# Expected calibration error after temperature scaling on validation: the best found
# elsewhere, of an ensemble of ten LeNet-5, and the goal.
ECE_ELSEWHERE, ECE_GOAL = 0.010, 0.005
# Of training on two CPU cores.
FIVE_MINUTES = 300


def _goal_row(
    name: str, title: str, config: str, *, compared_with: str = '', **fields: object
) -> tuple[Row, Row]:
    """A recipe as a trial, of one seed, and as it is scored."""
    trial = f'{name}-trial'
    return (
        Row(trial, title, config, num_seeds=1, trial_of=name, **fields),
        Row(
            name,
            title,
            config,
            is_scored=True,
            chosen_from=trial,
            evaluation=(CALIBRATE,),
            is_robustness_scored=True,
            compared_with=compared_with,
            **fields,
        ),
    )


def _trials(of: str, *changes: tuple[str, Mapping[str, object]]) -> tuple[Row, ...]:
    """Other recipes that a scored row was chosen from, of one seed each."""
    return tuple(
        Row(
            f'{of}-trial-{name}',
            of,
            f'frontier/{of}',
            overrides,
            num_seeds=1,
            trial_of=of,
        )
        for name, overrides in changes
    )


def _again(of: str, title: str) -> tuple[Row, Row]:
    """A scored row with mirrored views, and as an ensemble of its three runs."""
    scored = {'is_scored': True, 'chosen_from': f'{of}-trial'}
    return (
        Row(
            f'{of}-flip',
            f'{title}, and mirrored',
            runs_of=of,
            evaluation=(FLIP, CALIBRATE),
            **scored,
        ),
        Row(
            f'{of}-ensemble',
            f'{title}, three of them',
            num_seeds=1,
            members=(of, f'{of}+1', f'{of}+2'),
            evaluation=(CALIBRATE,),
            **scored,
        ),
    )


_MIRROR = {'name': 'horizontal_flip'}
_CROP = {'name': 'pad_and_crop', 'padding': 1}
_MUON = (('optimizer.name', 'muon'), ('optimizer.momentum', 0.95))

_SMALL = (
    *_goal_row('small', 'small', 'frontier/small'),
    *_again('small', 'small'),
    *_trials(
        'small_longer',
        ('no_erasing', {'augmentation': (_MIRROR, {**_CROP, 'padding': 2})}),
        ('muon', dict(_MUON)),
    ),
    *_goal_row('small_longer', 'small, longer', 'frontier/small_longer'),
    *_again('small_longer', 'small, longer'),
)
_TINY = (
    *_goal_row('tiny', 'tiny', 'frontier/tiny'),
    *_again('tiny', 'tiny'),
    *_trials(
        'tiny',
        ('30_epochs', {'num_epochs': 30}),
        ('more_decay', {'optimizer.weight_decay': 0.1}),
        ('most_decay', {'optimizer.weight_decay': 0.2}),
        ('crop', {'augmentation': (_CROP,)}),
        ('mirror', {'augmentation': (_MIRROR,)}),
        ('crop_decay', {'augmentation': (_CROP,), 'optimizer.weight_decay': 0.1}),
    ),
    *_goal_row(
        'tiny-distilled',
        'tiny, distilled from small',
        'frontier/tiny_distilled',
        compared_with='tiny',
        teachers=('small',),
    ),
)
_LARGE = (
    *_goal_row('resnet20', 'resnet20', 'frontier/resnet20', needs=ACCELERATOR),
    *(
        row
        for name in ('wrn_16_4', 'wrn_28_10', 'wrn_40_4')
        for row in _goal_row(
            name, name, f'frontier/wide_resnet:{name}', needs=ACCELERATOR
        )
    ),
)
_FIVE_MINUTES = _goal_row('five_minutes', 'five_minutes', 'frontier/five_minutes')

# What ablations are compared with.
BASE = 'ablation-base'


def _ablation(name: str, title: str, *changes: tuple[str, object], **fields) -> Row:
    fields = {'config': 'frontier/ablations', 'compared_with': BASE, **fields}
    return Row(f'ablation-{name}', title, overrides=dict(changes), **fields)


def _block(name: str, title: str, **fields: object) -> Row:
    """Other blocks than those of `five_minutes`, at its size."""
    changes = {f'model.{field}': value for field, value in fields.items()}
    return Row(
        f'ablation-{name}',
        title,
        'frontier/blocks',
        changes,
        num_seeds=2,
        compared_with='five_minutes',
    )


def _augmented(name: str, title: str, **arguments: object) -> Row:
    entry = {'name': name, **arguments}
    return _ablation(name, title, ('augmentation', (entry,)))


ABLATIONS = (
    # Six seeds: the last three are the second members of ensembles.
    _ablation('base', 'none of these', num_seeds=6, compared_with=''),
    _ablation('ema', 'averaged weights, 0.999', ('ema_decay', 0.999)),
    _ablation('label_smoothing', 'label smoothing 0.1', ('label_smoothing', 0.1)),
    _ablation(
        'cosine', 'cosine for one-cycle, no warm-up', ('optimizer.schedule', 'cosine')
    ),
    _ablation(
        'linear', 'linear for one-cycle, no warm-up', ('optimizer.schedule', 'linear')
    ),
    _ablation(
        'decay_all',
        'weight decay of biases and normalisation, too',
        ('optimizer.weight_decay_on', 'all'),
    ),
    _ablation('accumulation', 'batches in four parts', ('gradient_accumulation', 4)),
    _augmented('horizontal_flip', 'random mirror images'),
    _augmented('pad_and_crop', 'random crops', padding=2),
    _augmented('rand_augment', 'RandAugment, one operation', num_ops=1),
    _augmented('random_erasing', 'random erasing'),
    _augmented('mixup', 'mixup 0.2', alpha=0.2),
    _augmented('cutmix', 'cutmix, half of the images', probability=0.5),
    _ablation('residual', 'residual blocks for convolutions', ('model.block', 'basic')),
    _ablation(
        'stochastic_depth',
        'residual blocks, stochastic depth 0.1',
        ('model.block', 'basic'),
        ('model.stochastic_depth', 0.1),
        compared_with='ablation-residual',
    ),
    _ablation(
        'sam',
        'sharpness-aware minimisation, radius 0.05',
        ('optimizer.sam_radius', 0.05),
    ),
    _ablation('muon', 'Muon for AdamW', *_MUON),
    _block(
        'plain_blocks',
        'convolutions for residual blocks',
        block='conv',
        depths=(2, 2, 2),
        widths=(16, 36, 74),
    ),
    _block('squeeze_excite', 'residual blocks with squeeze-excite', squeeze_excite=8),
    _block(
        'inverted_residuals',
        'inverted residuals, depthwise, for residual blocks',
        block='bottleneck',
        expansion=4,
        depths=(2, 2, 2),
        widths=(18, 38, 76),
    ),
    _ablation(
        'flips', 'mirrored views, too', config='', runs_of=BASE, evaluation=(FLIP,)
    ),
    _ablation('ensemble', 'ensemble of two', config='', members=(BASE, f'{BASE}+3')),
)

# Each after those that it names.
ROWS = (*_SMALL, *_TINY, *_FIVE_MINUTES, *_LARGE, *ABLATIONS)
