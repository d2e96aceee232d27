"""The alpha of a LoRA file's layers: from tensors, the header, peft's file beside it, or custom."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.patterns import matches

PREFIX = "transformer."
METADATA = "lora_adapter_metadata"
PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Alphas:
    """What a file says of alpha, and what is the custom where it says nothing.

    Args:
        header: the file's metadata.
        path: of the file, beside which peft's description may be.
        given: what the user says, where the file says nothing and there is no custom.

    Raises:
        EditError: the description is damaged, or that of a DoRA.
    """

    def __init__(self, header: Mapping[str, str], path: Path, given: float | None) -> None:
        self.source, self.given = path.name, given
        self.config, self.stated = _config(header, path)
        self.patterns: dict[str, Any] = {}
        if self.config.get("use_dora"):
            raise EditError(
                f"{self.source} is a DoRA, which also scales the model's own weights",
                expected="a plain LoRA",
            )
        try:
            given_by_layer = dict(self.config.get("alpha_pattern") or {})
            self.patterns = {str(pattern): value for pattern, value in given_by_layer.items()}
        except (TypeError, ValueError) as error:
            raise EditError(f"{self.source}: its LoRA metadata is damaged") from error

    def factor(self, form: str, layer: str, rank: int, alpha: float | None) -> float:
        """alpha / rank of a layer, which ``alpha`` is the tensor of, if there is one.

        Raises:
            EditError: it is no number, or nobody says it.
        """
        if alpha is None and form in ("diffusers", "peft") and self.config.get("r") is not None:
            root = bool(self.config.get("use_rslora"))  # alpha / √rank in place of alpha / rank
            try:
                # peft's patterns match a layer's name or the end of it, the first one that does.
                given = (
                    value for pattern, value in self.patterns.items() if matches(pattern, layer)
                )
                said = next(given, self.config.get("lora_alpha", self.config["r"]))
                return _finite(said) / (rank**0.5 if root else rank)
            except (TypeError, ValueError, OverflowError) as error:
                raise EditError(
                    f"{self.source}: its LoRA metadata gives {layer} no alpha that can be used "
                    f"({' '.join(str(error).split())[:120]})",
                    expected="a finite number, by a plain pattern of names",
                ) from error
        if alpha is None:
            alpha = self.given
        if alpha is None and (form == "PairEdit" or (form == "peft" and not self.stated)):
            raise EditError(
                f"{self.source} does not say its alpha, and without it the strength is unknown",
                expected=f"an {PEFT_CONFIG} beside it" if form == "peft" else "alpha tensors",
                next_step="Say it with `pairedit edits import --alpha` (PairEdit and Concept "
                "Sliders train with 1)",
            )
        if alpha is not None and not math.isfinite(alpha):
            raise EditError(f"{self.source}: the alpha of {layer} is no number")
        return 1.0 if alpha is None else alpha / rank


def _finite(said: Any) -> float:
    value = float(said)
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _config(header: Mapping[str, str], path: Path) -> tuple[dict[str, Any], bool]:
    """peft's description of the LoRA, from the header or the file beside it."""
    beside = path.with_name(PEFT_CONFIG)
    try:
        if METADATA in header:
            values = json.loads(header[METADATA])
            return {k.removeprefix(PREFIX): v for k, v in values.items()}, True
        if path.name == PEFT_WEIGHTS and beside.is_file():
            return dict(json.loads(beside.read_text(encoding="utf-8"))), True
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise EditError(f"{path.name}: its LoRA metadata is damaged") from error
    return {}, False
