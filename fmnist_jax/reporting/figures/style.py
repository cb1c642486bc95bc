"""What all figures share: colours, type, and how they become files.

Figures are made without `pyplot`, which keeps every figure it made and needs a display
chosen; names in them are drawn as they are, never as mathematics.
"""

import contextlib
import io
import warnings

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color: told apart by the colour-blind.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, BLACK = (
    '#0072b2',
    '#e69f00',
    '#009e73',
    '#d55e00',
    '#cc79a7',
    '#56b4e9',
    '#f0e442',
    '#000000',
)
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)

_SETTINGS = {
    'font.size': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#dddddd',
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    # Text stays text: small files, and names that a reader can select.
    'svg.fonttype': 'none',
    'pdf.fonttype': 42,
    # The same figure gives the same bytes.
    'svg.hashsalt': 'fmnist_jax',
    # A class may be called "$5".
    'text.parse_math': False,
}

# Dots an inch of a PNG, unless told otherwise, and of images within SVG and PDF.
DPI = 150


def settings() -> contextlib.AbstractContextManager[None]:
    """The style, for a `with` statement around all that makes a figure."""
    return mpl.rc_context(_SETTINGS)


def new_figure(width: float | int, height: float | int) -> Figure:
    """An empty figure of so many inches, that lays itself out."""
    # Texts are as wide as in the PNG for what looks where they fit: how wide a letter
    # is for its size differs with the resolution.
    return Figure(figsize=(width, height), layout='constrained', dpi=DPI)


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as PNG."""
    return _save(figure, 'png', dpi=dpi)


def to_pdf(figure: Figure) -> bytes:
    """The figure as PDF, for papers."""
    return _save(figure, 'pdf', metadata={'CreationDate': None})


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element, to stand within HTML."""
    text = _save(figure, 'svg', metadata={'Date': None}).decode()
    return text[text.index('<svg') :]


def shorten(name: str, length: int = 26) -> str:
    """A name that fits beside a row or below a column."""
    return name if len(name) <= length else f'{name[: length - 1]}…'


def _save(figure: Figure, format: str, **kwargs) -> bytes:
    buffer = io.BytesIO()
    with settings(), warnings.catch_warnings():
        # Signs that the font lacks, as in names of other scripts, are drawn as boxes.
        warnings.filterwarnings('ignore', 'Glyph')
        figure.savefig(buffer, format=format, **kwargs)
    return buffer.getvalue()
