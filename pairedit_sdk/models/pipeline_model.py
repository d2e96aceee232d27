"""A diffusers pipeline of any family as a :class:`~pairedit_sdk.models.protocol.FlowModel`."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from torch import nn

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.lora.holding import holding, lock_of
from pairedit_sdk.models import empty_prompt, folders
from pairedit_sdk.models import precision as precisions
from pairedit_sdk.models.families import family_class
from pairedit_sdk.models.families.family import Configs, Family
from pairedit_sdk.models.offload import Placement
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.targets import target_layers
from pairedit_sdk.models.text_encoders import TextEncoders
from pairedit_sdk.models.tokens import token_count


class PipelineModel:
    """A frozen pipeline. See :class:`pairedit_sdk.models.protocol.FlowModel`.

    The text encoders are loaded when a prompt is first needed and can be released after; the
    transformer and the autoencoder are loaded at once, into main memory, and come to the device
    when they are needed there (:class:`pairedit_sdk.models.offload.Placement`).

    Args:
        name: a built-in model's, a folder or a hub id.
        folder: the pipeline's.
        transformer: of the family's class.
        vae: likewise.
        device: where the model runs.
        dtype: that it computes in.
        precision: that the transformer's weights are held in.
        offload: see :func:`pairedit_sdk.load_model`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        transformer: nn.Module,
        vae: nn.Module,
        *,
        device: torch.device,
        dtype: torch.dtype,
        precision: str,
        offload: bool = False,
    ) -> None:
        self.name, self.folder = name, folder
        self.device, self.dtype, self.precision = device, dtype, precision
        precisions.avoid_cudnn_attention(device)
        transformer.eval().requires_grad_(False)
        self._vae = vae.eval().requires_grad_(False)
        self._placement = Placement(device, transformer, vae, offload=offload)
        self._transformer = transformer
        self._scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        configs = Configs(index, transformer.config, vae.config, self._scheduler.config)
        self.family: Family = family_class(index["_class_name"])(configs)
        self._text = TextEncoders(folder, self.family, device, dtype)
        self._conditions: dict[str, Condition] = {}
        self._fingerprint: str | None = None
        self.multiple = self.family.multiple
        self.takes_references = self.family.takes_references
        self.takes_guidance = self.family.takes_guidance
        self.default_guidance = self.family.default_guidance
        self.is_distilled = self.family.is_distilled
        self.renormalises = self.family.renormalises
        self.architecture = self.family.architecture
        sample = getattr(vae.config, "sample_size", None)
        self.resolution = 128 if sample is not None and sample <= 128 else 512

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        device: str | None = None,
        precision: str = "auto",
        offload: bool = False,
    ) -> PipelineModel:
        """Load by a built-in model's name, folder or hub id; see
        :func:`pairedit_sdk.load_model`."""
        name_or_path = folders.full_name(name_or_path)
        where = precisions.choose_device(device)
        kind, dtype = precisions.choose_precision(precision, where)
        folder = folders.resolve(name_or_path)
        folders.check(folder, name_or_path)
        family = family_class(folders.pipeline_class(folder))
        precisions.require_dtype(family, name_or_path, dtype)
        with folders.explain_damage(folder), no_bars():
            transformer = precisions.load_transformer(folder, family, kind, dtype, where)
            vae = precisions.load_autoencoder(folder, family, dtype)
            model = cls(
                name_or_path,
                folder,
                transformer,
                vae,
                device=where,
                dtype=dtype,
                precision=kind,
                offload=offload,
            )
            _require_weights(transformer, vae)
            model.sigmas(2, model.resolution, model.resolution)  # a damaged schedule is found here
            return model

    @property
    def lock(self) -> threading.RLock:
        return lock_of(self._transformer)

    @property
    @holding
    def transformer(self) -> nn.Module:
        if self._placement.offload:
            self.release_text_encoders()
        return self._placement.transformer()

    @property
    def vae(self) -> nn.Module:
        """The autoencoder, wherever it is at the moment."""
        return self._vae

    @property
    def text_tokens(self) -> int:
        """How many embeddings the model is given with the empty prompt."""
        return self.family.text_length(self.folder)

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the empty prompt's tensors, one row of them."""
        return {
            name: (1, *(self.text_tokens if size < 0 else size for size in shape))
            for name, shape in self.family.text_shapes().items()
        }

    def _vae_dtype(self) -> torch.dtype:
        return next(self._vae.parameters()).dtype

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = folders.fingerprint(self.folder, "transformer", "vae")
        return self._fingerprint

    @holding
    def keep_autoencoder(self, on: bool) -> None:
        """Whether the autoencoder stays on the device beside the transformer. Its way there and
        back costs more than its work, where there is room for both."""
        self._placement.keep_vae = on

    def name_weights(self, fingerprint: str) -> None:
        """Say what tells these weights from others, where no files are behind them."""
        self._fingerprint = fingerprint

    @property
    def text_fingerprint(self) -> str:
        weights = folders.fingerprint(self.folder, *self.family.encoders)
        tokenizers = folders.digest_of_files(self.folder, *self.family.tokenizers)
        return f"{weights}-{tokenizers}-{self.family.text_version()}"

    @holding
    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        with self._placement.vae() as vae:
            latents = self.family.encoded(vae, images.to(self.device, self._vae_dtype()))
        return latents.to(self.dtype)

    @holding
    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        with self._placement.vae() as vae:
            images = self.family.decoded(vae, latents.to(self.device, self._vae_dtype()))
        return images.float().clamp(-1, 1)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor = self.family.factor
        return (self.family.channels, height // factor, width // factor)

    def image_size(self, latents: torch.Tensor) -> tuple[int, int]:
        return latents.shape[2] * self.family.factor, latents.shape[3] * self.family.factor

    @holding
    def sigmas(self, steps: int, height: int, width: int) -> torch.Tensor:
        tokens = token_count(self, width, height)
        start = torch.linspace(1.0, 1.0 / steps, steps, dtype=torch.float64).tolist()
        self._scheduler.set_timesteps(sigmas=start, mu=self.family.shift(tokens, steps))
        sigmas: torch.Tensor = self._scheduler.sigmas.clone()
        return sigmas.to(self.device)

    @holding
    @torch.no_grad()
    def condition(self, prompt: str) -> Condition:
        if prompt not in self._conditions:
            kept = empty_prompt.kept(self.folder, self) if prompt == "" else None
            self.remember(prompt, kept or self.encode_prompt(prompt))
        return self._conditions[prompt]

    @holding
    def remember(self, prompt: str, condition: Condition) -> None:
        """Take a prompt's embeddings from a cache, so that no text encoder is needed for it."""
        self._conditions[prompt] = condition.to(self.device, self.dtype)

    def knows(self, prompt: str) -> bool:
        """Whether the prompt's embeddings are in memory."""
        return prompt in self._conditions

    @holding
    def forget(self, prompt: str) -> None:
        """Drop a prompt's embeddings from memory."""
        self._conditions.pop(prompt, None)

    @holding
    def release_text_encoders(self) -> None:
        self._text.release()

    def looking_at(self, prompt: str, references: Sequence[torch.Tensor]) -> Condition:
        """The prompt's embeddings together with condition images.

        Args:
            prompt: an instruction, or nothing.
            references: latents, as :meth:`encode` gives them, each [1 or B, C, h, w].
        """
        return replace(self.condition(prompt), references=tuple(references))

    @holding
    def velocity(
        self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition, guidance: float
    ) -> torch.Tensor:
        if condition.references and not self.takes_references:
            raise UsageError(
                f"Model {self.name} takes no condition images",
                expected=folders.ANY_EDIT_MODEL,
                next_step="Use mini-kontext, or the folder or hub id of an edit model",
            )
        x, sigma = x.to(self.device, self.dtype), sigma.to(self.device)
        return self.family.velocity(self.transformer, x, sigma, condition, guidance)

    @holding
    def set_gradient_checkpointing(self, on: bool) -> None:
        if on:
            self._transformer.enable_gradient_checkpointing()  # type: ignore[operator]
        else:
            self._transformer.disable_gradient_checkpointing()  # type: ignore[operator]

    @holding
    def lora_targets(self, which: str) -> list[str]:
        family = self.family
        return target_layers(self._transformer, family.targets, which, family.idle)

    @holding
    def encode_prompt(self, prompt: str) -> Condition:
        """The prompt's embeddings, computed whether they are known or not."""
        return self._text.encode(prompt, self.text_tokens, make_room=self._placement.make_room)


def _require_weights(*parts: nn.Module) -> None:
    """diffusers leaves a weight that no file has on the meta device, and says nothing.

    Raises:
        ValueError: naming one of them.
    """
    for part in parts:
        absent = [name for name, weight in part.named_parameters() if weight.is_meta]
        if absent:
            raise ValueError(f"{len(absent)} weights are missing, the first is {absent[0]}")
