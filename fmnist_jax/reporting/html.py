"""Self-contained HTML pages from `templates/`: no network, every name escaped."""

import functools
import re
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from fmnist_jax.reporting import units
from fmnist_jax.reporting.figures import style


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
      template: a file in `templates/`.
      **values: for the template; strings in them are escaped, whatever they hold.
    """
    return _environment().get_template(template).render(**values)


def inline_svg(figure: Figure, name: str) -> Markup:
    """A figure as an element of a page, where it takes the width it has.

    Args:
      figure: of Matplotlib, which gives all its figures' elements the same ids.
      name: what theirs begin with on this page.
    """
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{name}-', style.to_svg(figure))
    wide = figure.get_figwidth() > 6
    return Markup(svg.replace('<svg', '<svg class="wide"', 1) if wide else svg)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('fmnist_jax.reporting'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {'duration': units.duration, 'percent': units.percent}
    return environment
