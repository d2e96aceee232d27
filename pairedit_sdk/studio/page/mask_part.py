"""Painting a mask on the picture.

A canvas of the page's own lies over the picture. Gradio's ImageEditor is no help here: it tells of
a stroke before it has the stroke, and sends its pictures anew with every event of the page.
"""

from __future__ import annotations

import base64
import binascii
from io import BytesIO

import gradio as gr
import numpy as np
from PIL import Image

from pairedit_sdk.errors import InputError
from pairedit_sdk.images.photo import Photo

_PNG = "data:image/png;base64,"

_HTML = """
<div class="pe-paint"><img alt="The picture to paint on" draggable="false"><canvas></canvas></div>
<div class="pe-brush">
  <label>Brush <input type="range" min="4" max="120" value="36"></label>
  <label><input type="checkbox"> Erase</label>
  <button type="button">Clear</button>
</div>
"""
_CSS = """
.pe-paint { position: relative; width: fit-content; margin: 0 auto; line-height: 0; }
.pe-paint img { max-width: 100%; max-height: 420px; margin: 0; user-select: none; }
.pe-paint img:not([src]) { display: none; }
.pe-paint canvas {
  position: absolute; inset: 0; width: 100%; height: 100%;
  opacity: .6; cursor: crosshair; touch-action: none;
}
.pe-brush {
  display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; margin-top: .6rem;
  color: var(--body-text-color); accent-color: var(--color-accent);
}
.pe-brush label { display: flex; gap: .4rem; align-items: center; }
.pe-brush button { text-decoration: underline; }
"""
# The canvas has the pixels of the picture as it is shown here. What is painted is opaque, and the
# value is the canvas as a PNG; it changes when a stroke ends. The template holds nothing that
# changes, so that Gradio never draws the canvas anew.
_JS = """
const [shown, canvas] = element.querySelectorAll(".pe-paint > *");
const [size, erase] = element.querySelectorAll(".pe-brush input");
const pen = canvas.getContext("2d");
let last = null;

const tell = (value) => { props.value = value; trigger("input"); };
const clear = () => { last = null; pen.clearRect(0, 0, canvas.width, canvas.height); };
const show = () => {
  clear();
  if (props.picture) shown.src = props.picture; else shown.removeAttribute("src");
};
const at = (event) => {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
};
const stroke = (event) => {
  const [x, y, scale] = at(event);
  pen.globalCompositeOperation = erase.checked ? "destination-out" : "source-over";
  pen.strokeStyle = "#6366f1";
  pen.lineWidth = size.value * scale;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...(last || [x, y]));
  pen.lineTo(x, y);
  pen.stroke();
  last = [x, y];
};
const end = () => {
  if (!last) return;
  last = null;
  tell(canvas.toDataURL("image/png"));
};

shown.addEventListener("load", () => {
  canvas.width = shown.naturalWidth;
  canvas.height = shown.naturalHeight;
  if (!props.value) return;
  const painted = new Image();
  painted.onload = () => {
    pen.globalCompositeOperation = "source-over";
    pen.drawImage(painted, 0, 0);
  };
  painted.src = props.value;
});
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !shown.hasAttribute("src")) return;
  canvas.setPointerCapture(event.pointerId);
  stroke(event);
});
canvas.addEventListener("pointermove", (event) => { if (last) stroke(event); });
canvas.addEventListener("pointerup", end);
canvas.addEventListener("pointercancel", end);
element.querySelector("button").addEventListener("click", () => { clear(); tell(""); });
watch(["picture", "value"], show);
show();
"""


class Painter:
    """A picture to paint on, see :attr:`part`, whose value is what :func:`mask_file` takes.

    Attributes:
        part: the component; its event ``input`` comes after each stroke.
    """

    def __init__(self) -> None:
        self.part = gr.HTML(
            "",
            picture="",
            html_template=_HTML,
            css_template=_CSS,
            js_on_load=_JS,
            apply_default_css=False,
            elem_id="edit-mask",
        )

    @staticmethod
    def on(picture: Image.Image | None) -> gr.HTML:
        """The component with another picture, or none, and nothing painted on it.

        Args:
            picture: as large as the mask will be.
        """
        return gr.HTML("", picture="" if picture is None else _jpeg(picture))


def mask_file(drawn: str | None) -> bytes | None:
    """The file of a mask, white where somebody painted, or nothing where nobody did.

    Args:
        drawn: the value of a :class:`Painter`: the address of a PNG that holds itself, opaque where
            somebody painted.

    Returns:
        A grey PNG of 0 and 255, with the pixels of the picture that was painted on.

    Raises:
        InputError: it is no such address, or no picture.
    """
    if not drawn:
        return None
    try:
        data = base64.b64decode(drawn.removeprefix(_PNG), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("The mask cannot be read", expected="a PNG of the page") from error
    alpha = Photo.read(BytesIO(data), "The mask").alpha
    if alpha is None:  # painted all over
        return None
    painted = alpha > np.iinfo(alpha.dtype).max // 2
    if not painted.any():
        return None
    file = BytesIO()
    Image.fromarray(np.where(painted, 255, 0).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _jpeg(picture: Image.Image) -> str:
    held = BytesIO()
    picture.convert("RGB").save(held, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
