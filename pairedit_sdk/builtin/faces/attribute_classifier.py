"""A small classifier that reads the attributes of a drawn face from its picture.

It measures the built-in model (does a sample show what its caption names?) and edits of it (was
the attribute changed, and did any other change?). Trained by
:mod:`pairedit_sdk.builtin.build.classifier`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face, visible
from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.io.files import read_tensors, write_tensors

SIZE = 128
WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "mini" / "attributes.safetensors"

#: Every attribute with its values, in the order of the classifier's outputs.
VALUES: dict[str, tuple[str, ...]] = {name: tuple(values) for name, values in ATTRIBUTES.items()}


def seen_attributes(*faces: Face) -> frozenset[str]:
    """The attributes whose value can be told from the picture of every one of ``faces``."""
    return frozenset(name for name in VALUES if all(visible(face, name) for face in faces))


def _conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU()
    )


class AttributeClassifier(nn.Module):
    """Convolutions to 8×8, flattened so that position counts, and one softmax per attribute.

    The picture itself, averaged to 8×8, goes to the heads beside the features: the norms take the
    absolute colour away, and a background's or a shirt's is nothing else.

    Group norm rather than batch norm: a picture's reading must not depend on the others in its
    batch, and there are no running statistics for a checkpoint to lose.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.ReLU(),
            _conv(16, 48, 2),
            _conv(48, 48, 1),
            _conv(48, 96, 2),
            _conv(96, 96, 1),
            _conv(96, 128, 2),
            nn.Conv2d(128, 24, 1),
            nn.GroupNorm(8, 24),
            nn.ReLU(),
        )
        self.heads = nn.Sequential(
            nn.Linear((24 + 3) * (SIZE // 16) ** 2, 160),
            nn.LayerNorm(160),
            nn.ReLU(),
            nn.Linear(160, sum(map(len, VALUES.values()))),
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of every attribute.

        Args:
            images: [B, 3, H, W] in −1 … 1; other sizes than 128×128 are resized.

        Returns:
            Attribute to [B, number of its values], in the order of :data:`VALUES`.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected [B, 3, H, W]; got {tuple(images.shape)}")
        parameter = next(self.parameters())
        images = images.to(parameter)
        if images.shape[-2:] != (SIZE, SIZE):
            images = F.interpolate(
                images, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True
            )
        seen = torch.cat([self.features(images), F.avg_pool2d(images, 16)], dim=1)
        logits = self.heads(seen.flatten(1))
        parts = logits.split([len(values) for values in VALUES.values()], dim=1)
        return dict(zip(VALUES, parts, strict=True))

    @torch.no_grad()
    def probabilities(self, images: torch.Tensor, batch: int = 64) -> dict[str, torch.Tensor]:
        """Softmax of :meth:`forward`, on the CPU, computed ``batch`` pictures at a time."""
        parts = [self(images[k : k + batch]) for k in range(0, len(images), batch)]
        return {
            name: torch.cat([p[name].float().softmax(dim=1).cpu() for p in parts])
            for name in VALUES
        }

    def predict(self, images: torch.Tensor, batch: int = 64) -> dict[str, list[str]]:
        """The likeliest value of every attribute of every picture: attribute to B values.

        Every attribute gets a value, also one that cannot be seen (the colour of a hat that is
        not worn); :func:`seen_attributes` says which of them mean something.
        """
        return {
            name: [VALUES[name][k] for k in p.argmax(dim=1).tolist()]
            for name, p in self.probabilities(images, batch).items()
        }


def save_attribute_classifier(
    model: AttributeClassifier, path: Path | str, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write the weights as float16, with the attributes that they are for."""
    tensors = {name: t.half() for name, t in model.state_dict().items()}
    return write_tensors(
        Path(path), tensors, {**(metadata or {}), "attributes": json.dumps(VALUES)}
    )


def load_attribute_classifier(path: Path | str | None = None) -> AttributeClassifier:
    """The classifier, float32 on the CPU, ready to read.

    Args:
        path: a file of :func:`save_attribute_classifier`; the shipped one if not given.

    Raises:
        BaseModelError: the file is missing, damaged, or for other attributes than
            :data:`~pairedit_sdk.builtin.faces.face.ATTRIBUTES` now has.
    """
    path = WEIGHTS if path is None else Path(path)
    again = "Train it again with the built-in model's build command"
    if not path.is_file():
        raise BaseModelError(
            f"The attribute classifier's weights are missing: {path}",
            expected="a safetensors file",
            next_step="Reinstall the package or train them with the built-in model's build command",
        )
    try:
        tensors, metadata = read_tensors(path)
        known = {k: tuple(v) for k, v in json.loads(metadata.get("attributes", "{}")).items()}
    except Exception as error:
        raise BaseModelError(
            f"The attribute classifier's weights cannot be read: {path}",
            expected="a safetensors file",
            got=str(error),
            next_step=again,
        ) from error
    if known != VALUES or list(known) != list(VALUES):
        differing = [n for n in (*VALUES, *known) if known.get(n) != VALUES.get(n)]
        raise BaseModelError(
            f"The attribute classifier in {path} was trained for other attributes",
            expected=f"the {len(VALUES)} attributes that faces.py draws, in its order",
            got=f"differences in {', '.join(dict.fromkeys(differing)) or 'their order'}",
            next_step=again,
        )
    with torch.random.fork_rng([]):  # the weights that it begins with are drawn
        model = AttributeClassifier()
    try:
        model.load_state_dict({name: t.float() for name, t in tensors.items()})
    except RuntimeError as error:
        raise BaseModelError(
            f"The attribute classifier in {path} has another architecture",
            got=" ".join(str(error).split()),
            next_step=again,
        ) from error
    return model.eval()
