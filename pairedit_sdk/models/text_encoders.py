"""A model's text encoders: loaded when a prompt is first needed, and released when asked."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models import folders
from pairedit_sdk.models import precision as precisions

if TYPE_CHECKING:
    from pairedit_sdk.models.families.family import Family
    from pairedit_sdk.models.protocol import Condition


@dataclass(frozen=True)
class LoadedText:
    """Text encoders and tokenizers (or processors), by their folders in the pipeline."""

    encoders: Mapping[str, Any]
    tokenizers: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        encoder: nn.Module = next(iter(self.encoders.values()))
        return next(encoder.parameters()).device


class TextEncoders:
    """The text side of a pipeline.

    Args:
        folder: the pipeline's.
        family: which encoders there are, and what is made of their output.
        device: where the embeddings are wanted.
        dtype: of the embeddings.

    Attributes:
        loaded: the encoders, where they are in memory.
    """

    def __init__(
        self, folder: Path, family: Family, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.folder, self.family, self.device, self.dtype = folder, family, device, dtype
        self.loaded: dict[str, nn.Module] | None = None
        self._read: dict[str, Any] | None = None

    @torch.no_grad()
    def encode(
        self, prompt: str, length: int, make_room: Callable[[], None] = lambda: None
    ) -> Condition:
        """The prompt's embeddings.

        Args:
            prompt: any text; longer ones are cut.
            length: tokens that the encoder is given.
            make_room: called before the encoders are loaded.

        Raises:
            BaseModelError: the encoders or tokenizers cannot be read.
        """
        import transformers

        dtype = precisions.text_dtype(self.dtype)
        with folders.explain_damage(self.folder), no_bars():
            tokenizers = self._tokenizers()
            if self.loaded is None:
                make_room()
                encoders = {
                    part: getattr(transformers, kind).from_pretrained(
                        str(self.folder), subfolder=part, dtype=dtype
                    )
                    for part, kind in self.family.encoders.items()
                }
                where = self._place()
                self.loaded = {part: e.to(where).eval() for part, e in encoders.items()}
        made = self.family.embedded(LoadedText(self.loaded, tokenizers), prompt, length)
        return made.to(self.device, self.dtype)

    def release(self) -> None:
        """Free their memory; they are loaded again when they are needed."""
        if self.loaded is None:
            return
        self.loaded = self._read = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _tokenizers(self) -> dict[str, Any]:
        """Read once for many prompts."""
        from transformers import AutoTokenizer

        if self._read is None:
            self._read = {
                part: AutoTokenizer.from_pretrained(str(self.folder), subfolder=part)
                for part in self.family.tokenizers
            }
        return self._read

    def _place(self) -> torch.device:
        """The device, or the CPU where the encoders no longer fit on the GPU."""
        if self.device.type != "cuda":
            return self.device
        parts = [self.folder / part for part in self.family.encoders]
        stored = sum(f.stat().st_size for part in parts for f in part.glob("*.safetensors"))
        free, _ = torch.cuda.mem_get_info(self.device)
        return self.device if free > 1.2 * stored else torch.device("cpu")
