"""The text side of a CLIP model, whose embeddings are compared with those of its image side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models.folders import BUILT_IN

BATCH = 64


class TextTower:
    """Texts to embeddings.

    Args:
        name: a folder or a hub id.
        model: a CLIP text model with projection.
        tokenizer: its tokenizer.
    """

    def __init__(self, name: str, model: torch.nn.Module, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model.eval().requires_grad_(False), tokenizer

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings of length 1, float32 [N, D] on the CPU."""
        device = next(self.model.parameters()).device
        parts = []
        for start in range(0, len(texts), BATCH):
            given = self.tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            out = self.model(
                input_ids=given["input_ids"].to(device),
                attention_mask=given["attention_mask"].to(device),
            )
            parts.append(out.text_embeds.float().cpu())
        return torch.nn.functional.normalize(torch.cat(parts), dim=-1)


def load_text_tower(name_or_path: str, device: str | None = None) -> TextTower:
    """The text side of a whole CLIP model.

    Args:
        name_or_path: a folder or a hub id, such as openai/clip-vit-large-patch14.
        device: where it runs; ``None`` is the CPU.

    Raises:
        BaseModelError: nothing is there, or it has no text side, as the built-in encoder.
    """
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    place = str(BUILT_IN.get(name_or_path, name_or_path))
    try:
        kind = _model_type(place)
        if kind != "clip":
            raise BaseModelError(
                f"The encoder {name_or_path} cannot compare words with pictures",
                expected="a whole CLIP model, such as openai/clip-vit-large-patch14",
                got=f"a model of type {kind}" if kind else "no text side",
                next_step="Name another with --encoder, or leave it out to ask all phrases",
            )
        with no_bars():
            model = CLIPTextModelWithProjection.from_pretrained(place, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The encoder {name_or_path} cannot be loaded ({' '.join(str(error).split())[:120]})",
            expected="a folder or a hub id of a whole CLIP model",
            next_step="Download it first, or leave out --encoder to ask all phrases",
        ) from error
    return TextTower(name_or_path, model.to(device or "cpu"), tokenizer)


def _model_type(place: str) -> str:
    config = Path(place) / "config.json"
    if config.is_file():
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type", ""))
    if Path(place).is_dir():
        return ""
    from transformers import AutoConfig

    return str(AutoConfig.from_pretrained(place).model_type)
