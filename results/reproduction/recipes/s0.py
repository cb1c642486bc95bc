"""S0, Molten-Ice/Deep-Learning, in PyTorch."""

from results.reproduction.recipes.recipe import Reading, Recipe, figures

RECIPES = (
    Recipe(
        'linear_v0',
        'S0',
        'linear_v0',
        'linear_v0',
        (
            Reading(
                'best epoch (its 6th)',
                'highest_accuracy',
                published=figures('3.69213', '75.01', '2.73955', '77.70'),
            ),
            Reading(
                'epoch 10',
                published=figures('3.81149', '74.36', '5.99207', '70.89'),
                explanations={
                    'test_accuracy': 'It leaps from epoch to epoch: of the 50 epochs '
                    'of our five runs, 13 are below 70.89 %, and the tenth happens not '
                    'to be one in any.'
                },
            ),
        ),
    ),
    Recipe(
        'tinyvgg_3block',
        'S0',
        'tinyvgg_3block',
        'tinyvgg_3block',
        (
            Reading(
                'best epoch (its 6th)',
                'highest_accuracy',
                published=figures('0.31982', '88.29', '0.33969', '88.17'),
            ),
            Reading(
                'epoch 10', published=figures('0.29356', '89.08', '0.37845', '85.94')
            ),
        ),
    ),
    Recipe(
        'tinyvgg_3block-after_epoch',
        'S0',
        'tinyvgg_3block, training figures after each epoch',
        'tinyvgg_3block:after_epoch',
        (Reading('best epoch', 'highest_accuracy'), Reading('epoch 10')),
    ),
)
