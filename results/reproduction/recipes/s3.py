"""S3, AkhilSinghRana/Fashion-MNIST-CNN, in Keras."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from results.reproduction.recipes.recipe import Reading, Recipe, figures


def _row(
    variant: str,
    title: str,
    published: Mapping[str, str],
    order: str | None = None,
    num_seeds: int = 3,
    *,
    explanations: Mapping[str, str] = MappingProxyType({}),
) -> Recipe:
    # The checkpoint of the lowest validation loss is what S3 scores on the test set.
    reading = Reading(
        epoch='lowest_loss',
        source='evaluation',
        published=published,
        explanations=explanations,
    )
    return Recipe(
        f'keras_cnns-{variant}',
        'S3',
        title,
        f'keras_cnns:{variant}',
        (reading,),
        num_seeds=num_seeds,
        evaluated_at='lowest_loss',
        order=order,
    )


def _augmented(
    model: str, published: Mapping[str, str], num_seeds: int = 3
) -> tuple[Recipe, Recipe]:
    title = f'{model} + augmentation'
    sound = f'{title}, sound validation'
    return (
        _row(f'{model}_leaking', title, published, 'shuffled', num_seeds),
        _row(f'{model}_sound', sound, {}, 'grouped', num_seeds),
    )


_VGG_LIKE_80 = dataclasses.replace(
    _row(
        'vgg_like_leaking',
        'vgg_like + augmentation, 80 epochs',
        figures(None, '98.61', '0.2404', '94.87', validation_accuracy='97.20'),
        'shuffled',
        num_seeds=1,
    ),
    name='keras_cnns-vgg_like_leaking-80_epochs',
    overrides={'num_epochs': 80},
    not_run='needs an accelerator',
)

_ALTERED_ANEW = dataclasses.replace(
    _row(
        'vgg_like_leaking',
        'vgg_like + augmentation, altered anew for each run',
        {},
        'shuffled',
    ),
    name='keras_cnns-vgg_like_leaking-altered_anew',
    alters_anew=True,
)

RECIPES = (
    _row(
        'arch1',
        'arch1, no augmentation',
        figures('0.2602', '90.36', '0.2419', '90.92', validation_accuracy='91.50'),
        num_seeds=5,
        explanations={
            'test_loss': 'Chance may be enough: it is within the limit of our runs and '
            "S3's recipe in Keras, run here, together, which draws another validation "
            'split for each seed; see the table of Keras below.'
        },
    ),
    *_augmented(
        'arch1',
        figures('0.2201', '91.81', '0.2179', '91.82', validation_accuracy='92.93'),
        num_seeds=5,
    ),
    *_augmented(
        'arch2',
        figures('0.2107', '92.19', '0.2213', '91.78', validation_accuracy='93.08'),
    ),
    *_augmented(
        'vgg_like',
        figures('0.1367', '94.96', '0.1823', '93.54', validation_accuracy='94.85'),
    ),
    _ALTERED_ANEW,
    _VGG_LIKE_80,
)
