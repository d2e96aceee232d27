"""FLUX.1's two text encoders: loaded when a prompt is first needed, and released when asked."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models import folders
from pairedit_sdk.models import precision as precisions
from pairedit_sdk.models.protocol import Condition


class TextEncoders:
    """CLIP's text tower for the pooled prompt, and T5 for the prompt's tokens.

    Args:
        folder: the pipeline's.
        device: where the embeddings are wanted.
        dtype: of the embeddings.

    Attributes:
        loaded: CLIP's tower and T5, where they are in memory.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.folder, self.device, self.dtype = folder, device, dtype
        self.loaded: tuple[nn.Module, nn.Module] | None = None
        self._read: tuple[Any, Any] | None = None

    @torch.no_grad()
    def encode(
        self, prompt: str, length: int, make_room: Callable[[], None] = lambda: None
    ) -> Condition:
        """The prompt's embeddings.

        Args:
            prompt: any text; longer ones are cut.
            length: tokens that T5 is given.
            make_room: called before the encoders are loaded.

        Raises:
            BaseModelError: the encoders or tokenizers cannot be read.
        """
        from transformers import CLIPTextModel, T5EncoderModel

        folder, dtype = str(self.folder), precisions.text_dtype(self.dtype)
        with folders.explain_damage(self.folder), no_bars():
            clip_tokenizer, t5_tokenizer = self._tokenizers()
            if self.loaded is None:
                make_room()
                clip = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=dtype)
                t5 = T5EncoderModel.from_pretrained(folder, subfolder="text_encoder_2", dtype=dtype)
                where = self._place()
                self.loaded = (clip.to(where).eval(), t5.to(where).eval())
        clip, t5 = self.loaded
        where = next(clip.parameters()).device
        ids = _ids(clip_tokenizer, prompt, clip_tokenizer.model_max_length).to(where)
        pooled = clip(ids, output_hidden_states=False).pooler_output
        ids = _ids(t5_tokenizer, prompt, min(length, t5_tokenizer.model_max_length)).to(where)
        embeds = t5(ids, output_hidden_states=False)[0]
        return Condition(embeds.to(self.device, self.dtype), pooled.to(self.device, self.dtype))

    def release(self) -> None:
        """Free their memory; they are loaded again when they are needed."""
        if self.loaded is None:
            return
        self.loaded = self._read = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _tokenizers(self) -> tuple[Any, Any]:
        """CLIP's and T5's, read once for many prompts."""
        from transformers import AutoTokenizer

        if self._read is None:
            clip, t5 = (
                AutoTokenizer.from_pretrained(str(self.folder), subfolder=part)
                for part in ("tokenizer", "tokenizer_2")
            )
            self._read = clip, t5
        return self._read

    def _place(self) -> torch.device:
        """The device, or the CPU where both encoders no longer fit on the GPU."""
        if self.device.type != "cuda":
            return self.device
        parts = [self.folder / "text_encoder", self.folder / "text_encoder_2"]
        stored = sum(f.stat().st_size for part in parts for f in part.glob("*.safetensors"))
        free, _ = torch.cuda.mem_get_info(self.device)
        return self.device if free > 1.2 * stored else torch.device("cpu")


def _ids(tokenizer: object, prompt: str, length: int) -> torch.Tensor:
    encoded = tokenizer(  # type: ignore[operator]
        [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids
    return ids
