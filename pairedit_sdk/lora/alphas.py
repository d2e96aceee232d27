"""The alpha of a LoRA file's layers: from tensors, the header, peft's file beside it, or custom."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.formats import METADATA, PREFIX, Form
from pairedit_sdk.lora.patterns import matches

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
#: Starts that take a part out of the model's own weights, so that a LoRA trained from there is the
#: new weights without what was there, and not the change.
_TAKEN_OUT = ("pissa", "corda", "olora", "loftq", "lora_ga")
#: Kinds of LoRA that compute something else than W + B A, by the setting that turns them on.
_VARIANTS = {
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "alora_invocation_tokens": "an activated LoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
}


class Alphas:
    """What a file says of alpha, and what is the custom where it says nothing.

    Args:
        header: the file's metadata.
        path: of the file, beside which peft's description may be.
        given: what the user says, where the file says nothing and there is no custom.

    Attributes:
        is_dora: whether the description says so.

    Raises:
        EditError: the description is damaged, or that of an adapter that is no change of the
            model's weights.
    """

    def __init__(self, header: Mapping[str, str], path: Path, given: float | None) -> None:
        self.source, self.given = path.name, given
        self.config, self.stated = _config(header, path)
        self.is_dora = bool(self.config.get("use_dora"))
        self._require_a_change()
        try:
            self.patterns, self.ranks = (
                {str(pattern): value for pattern, value in dict(self.config.get(key) or {}).items()}
                for key in ("alpha_pattern", "rank_pattern")
            )
        except (TypeError, ValueError) as error:
            raise EditError(f"{self.source}: its LoRA metadata is damaged") from error
        # Versions up to 0.2 wrote whole names, without the ^ that keeps ``proj_out`` apart.
        targets = self.config.get("target_modules")
        own = targets if "pairedit" in header and isinstance(targets, list) else []
        self.whole = {name for name in own if isinstance(name, str)}

    def factor(self, form: Form, layer: str, rank: int | None, alpha: float | None) -> float:
        """What a layer's product is to be multiplied by: alpha / rank.

        Args:
            form: that the layer is in.
            layer: its name in the file, without the form's prefix.
            rank: that alpha is divided by; ``None`` where the form has none, and alpha no effect.
            alpha: the layer's own tensor, if there is one.

        Raises:
            EditError: it is no number, or nobody says it.
        """
        if alpha is None and form.described and self.config.get("r") is not None:
            return self._described(layer, rank)
        if alpha is None:
            alpha = self.given
        if alpha is None and form.needed and not (form.described and self.stated):
            raise EditError(
                f"{self.source} does not say its alpha, and without it the strength is unknown",
                expected=f"an {PEFT_CONFIG} beside it" if form.described else "alpha tensors",
                next_step="Say it with `pairedit edits import --alpha` (PairEdit and Concept "
                "Sliders train with 1)",
            )
        if alpha is not None and not math.isfinite(alpha):
            raise EditError(f"{self.source}: the alpha of {layer} is no number")
        return 1.0 if alpha is None or rank is None else alpha / rank

    def _described(self, layer: str, rank: int | None) -> float:
        """What peft's description says of a layer."""
        root = bool(self.config.get("use_rslora"))  # alpha / √rank in place of alpha / rank
        try:
            if rank is None:
                rank = int(self._of(self.ranks, layer, self.config["r"]))
            usual = self.config.get("lora_alpha", self.config.get("alpha", self.config["r"]))
            said = float(self._of(self.patterns, layer, usual))
            if not math.isfinite(said):
                raise ValueError(said)
            return said / (rank**0.5 if root else rank)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise EditError(
                f"{self.source}: its LoRA metadata gives {layer} no alpha that can be used "
                f"({' '.join(str(error).split())[:120]})",
                expected="a finite number, by a plain pattern of names",
            ) from error

    def _of(self, patterns: Mapping[str, Any], layer: str, usual: Any) -> Any:
        """peft's patterns match a layer's name or the end of it, the first one that does."""
        given = (
            value
            for pattern, value in patterns.items()
            if (pattern == layer if pattern in self.whole else matches(pattern, layer))
        )
        return next(given, usual)

    def _require_a_change(self) -> None:
        start = str(self.config.get("init_lora_weights") or "").lower()
        if start.startswith(_TAKEN_OUT):
            raise EditError(
                f"{self.source} was trained from a start by {start}, which changes the model's own "
                "weights too, and the file does not hold how",
                expected="a LoRA that is added to the model as it is",
                next_step="Save it as a plain LoRA where it was trained, with peft's "
                "save_pretrained(…, path_initial_model_for_weight_conversion=…)",
            )
        for setting, name in _VARIANTS.items():
            if self.config.get(setting):
                raise EditError(
                    f"{self.source} is {name} ({setting}), which is no sum of weights",
                    expected="a plain LoRA",
                )


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
