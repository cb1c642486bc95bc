"""S1, DavAll22/Fashion-MNIST, in Keras."""

from results.reproduction.recipes.recipe import Reading, Recipe, figures

RECIPES = (
    Recipe(
        'keras_tinyvgg',
        'S1',
        'keras_tinyvgg',
        'keras_tinyvgg',
        (
            Reading(
                'epoch 25',
                published=figures(
                    '0.1248', '95.34', '0.3715', '90.02', shirt_f1='71.94'
                ),
                explanations={
                    'test_loss': 'Chance may be enough: it is within the limit of our '
                    "runs and S1's recipe in PyTorch, run here, together, and little "
                    "beyond that of ours and Keras'; see what is said below the tables "
                    'of PyTorch and Keras.'
                },
            ),
            Reading(
                'lowest test loss (its 9th epoch)',
                'lowest_loss',
                published=figures(test_loss='0.2803'),
            ),
        ),
        # Of five, the test loss was beyond.
        num_seeds=10,
        evaluated_at='last',
    ),
    Recipe(
        'keras_tinyvgg-lr_range_test',
        'S1',
        'learning-rate sweep over 50 epochs',
        'keras_tinyvgg',
        (
            Reading(
                source='lr_range_test',
                published=figures(
                    '0.5361', None, '0.5518', '79.56', learning_rate='1e-3'
                ),
                not_judged={'learning_rate': 'It was read off a curve by eye.'},
            ),
        ),
        script='lr_range_test',
    ),
)
