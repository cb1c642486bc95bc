"""A check of a model before anything is compiled: shapes only, nothing is computed."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import PyTree

from fmnist_jax.errors import UserError, explain
from fmnist_jax.models.fields import dropout_rate_of, with_dropout_rate

# More than one example, so that a model that loses the batch's dimension is found out.
_BATCH = 2


def check_model(
    model: nn.Module, name: str, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    """Checks that a model can be initialised, evaluated and trained as the step does.

    Args:
      model: as `create_model` gives it.
      name: what messages call it.
      image_shape: height, width, channels.
      num_classes: how many logits there must be.

    Raises:
      UserError: its call does not take images and `train`, it raises an exception, the
        images are too small for it, its logits are not floats [batch, num_classes], it
        has no parameters or other collections than `params` and `batch_stats`, or
        training changes what is in `batch_stats`.
    """
    called = f'model {name!r}{_place(model)}'
    _check_signature(model, called)

    def init(images):
        return model.init(jax.random.key(0), images, train=False)

    def evaluate(variables, images):
        logits, _ = model.apply(variables, images, train=False, mutable=[])
        _check_logits(logits, num_classes, called)
        return logits

    def train(variables, dropout_rate, images):
        logits, updates = with_dropout_rate(model, dropout_rate).apply(
            variables,
            images,
            train=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        _check_logits(logits, num_classes, called)
        _check_batch_stats(variables, updates, called)

    images = jax.ShapeDtypeStruct((_BATCH, *image_shape), jnp.float32)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    dropout_rate = jax.tree.map(lambda _: number, dropout_rate_of(model))
    with _told_in_one_line(model, name):
        try:
            variables = jax.eval_shape(init, images)
        except ZeroDivisionError as error:
            # Initialisers divide by the number of a layer's inputs.
            raise _empty_layer(called, image_shape) from error
        _check_collections(variables, called)
        if any(0 in leaf.shape for leaf in jax.tree.leaves(variables)):
            raise _empty_layer(called, image_shape)
        jax.eval_shape(_mapped(model, evaluate), variables, images)
        jax.eval_shape(_mapped(model, train), variables, dropout_rate, images)


def _place(model: nn.Module) -> str:
    """Where a model's call is defined, in brackets; '' where that is not known."""
    if not callable(model):
        return ''
    code = getattr(inspect.unwrap(type(model).__call__), '__code__', None)
    return f' ({code.co_filename}, line {code.co_firstlineno})' if code else ''


def _check_signature(model: nn.Module, called: str) -> None:
    if not callable(model):
        raise UserError(f'{called} needs a method __call__(self, images, *, train)')
    signature = inspect.signature(model.__call__)
    try:
        signature.bind('images', train=True)
    except TypeError as error:
        raise UserError(
            f'{called}: __call__ takes {signature}; it must take (images, *, train): '
            f'{error}'
        ) from error


def _check_collections(variables: PyTree, called: str) -> None:
    if others := sorted(variables.keys() - {'params', 'batch_stats'}):
        raise UserError(
            f'{called} has variables in {", ".join(map(repr, others))}; only those in '
            "'params' and 'batch_stats' are kept from step to step"
        )
    if not jax.tree.leaves(variables.get('params')):
        raise UserError(f'{called} has no parameters, so nothing to train')


def _check_logits(logits: Any, num_classes: int, called: str) -> None:
    expected = f'{called} must return logits [batch, classes], here '
    expected += f'{[_BATCH, num_classes]}, '
    if not isinstance(logits, jax.Array | np.ndarray):
        count = f' of {len(logits)}' if isinstance(logits, tuple | list | dict) else ''
        raise UserError(
            f'{expected}and nothing else, not a {type(logits).__name__}{count}'
        )
    if logits.shape != (_BATCH, num_classes):
        raise UserError(f'{expected}not {list(logits.shape)}')
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise UserError(f'{expected}of floating-point numbers, not {logits.dtype}')


def _check_batch_stats(before: PyTree, after: PyTree, called: str) -> None:
    old, new = (
        jax.tree.map(jnp.shape, tree.get('batch_stats', {})) for tree in (before, after)
    )
    if old != new:
        raise UserError(
            f"{called}: training changes the names or shapes in 'batch_stats' from "
            f'{old} to {new}; make the same ones whatever `train` is'
        )


def _mapped(model: nn.Module, function: Callable) -> Callable:
    """Over the axis that the model expects, of one device, if it expects one.

    Args:
      model: has its axis's name in its field `axis_name`, or no such field.
      function: its last argument is spread over the axis.
    """
    axis_name = getattr(model, 'axis_name', None)
    if axis_name is None:
        return function

    def mapped(*arguments):
        *replicated, images = arguments
        axes = (None,) * len(replicated) + (0,)
        return jax.vmap(function, axes, axis_name=axis_name)(*replicated, images[None])

    return mapped


def _empty_layer(called: str, image_shape: tuple[int, int, int]) -> UserError:
    height, width, _ = image_shape
    return UserError(
        f'{called}: a layer has no inputs or no features: images of {height}x{width} '
        'pixels are too small for it, or one of its fields is 0'
    )


@contextlib.contextmanager
def _told_in_one_line(model: nn.Module, name: str) -> Iterator[None]:
    """What the model raises becomes a `UserError` that says where."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        problem = explain(error, type(model).__module__)
        is_traced = isinstance(error, jax.errors.ConcretizationTypeError)
        if is_traced and jax.tree.leaves(dropout_rate_of(model)):
            problem += (
                '; dropout_rate is an array in training: fmnist_jax.models.layers.'
                'Dropout takes one, nn.Dropout and `if` do not'
            )
        raise UserError(f'model {name!r}: {problem}') from error
