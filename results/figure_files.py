"""PNG files that hold the data which they show.

So that whether one is out of date does not depend on the version of Matplotlib.
"""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_KEY = 'Data'


def with_data(png: bytes, data: Any) -> bytes:
    """The same figure, with plain data in it."""
    info = PngInfo()
    info.add_text(_KEY, json.dumps(data))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(buffer, 'png', pnginfo=info, optimize=True)
    return buffer.getvalue()


def data_of(path: Path) -> Any:
    """What a figure's file shows; None if there is no such file."""
    if not path.exists():
        return None
    with Image.open(path) as image:
        return json.loads(image.text[_KEY])
