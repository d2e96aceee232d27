from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import InputError
from pairedit_sdk.studio.page.mask_part import Painter, mask_file


def address(alpha: np.ndarray) -> str:
    """What a browser gives for a canvas that is opaque like this."""
    canvas = np.zeros((*alpha.shape, 4), np.uint8)
    canvas[..., 2], canvas[..., 3] = 240, alpha
    file = BytesIO()
    Image.fromarray(canvas).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_mask_is_white_where_it_is_painted() -> None:
    alpha = np.zeros((30, 40), np.uint8)
    alpha[5:10, 20:40] = 255
    alpha[10, 20:40] = 60  # the soft edge of a brush
    data = mask_file(address(alpha))
    assert data is not None
    mask = Image.open(BytesIO(data))
    assert (mask.mode, mask.size) == ("L", (40, 30))
    assert np.array_equal(np.asarray(mask), np.where(alpha > 127, 255, 0))


@pytest.mark.parametrize("drawn", [None, "", address(np.zeros((3, 4), np.uint8))])
def test_nothing_painted_is_no_mask(drawn: str | None) -> None:
    assert mask_file(drawn) is None


@pytest.mark.parametrize("drawn", ["data:image/png;base64,AAAA", "no address", "é"])
def test_what_is_no_picture_is_told(drawn: str) -> None:
    with pytest.raises(InputError, match=r"[Tt]he mask"):
        mask_file(drawn)


def test_the_painter_shows_a_picture_as_it_is_and_nothing_painted() -> None:
    part = Painter.on(Image.new("RGB", (40, 30), (200, 10, 10)))
    kind, _, data = part.props["picture"].partition(";base64,")
    assert kind == "data:image/jpeg"
    assert Image.open(BytesIO(base64.b64decode(data))).size == (40, 30)
    assert part.value == ""
    assert Painter.on(None).props["picture"] == ""
