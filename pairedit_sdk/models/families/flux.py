"""FLUX.1 (dev, schnell, and the built-in model, which is a small FLUX) as a :class:`FlowModel`."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from torch import nn

from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.schedule import schedule_shift
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.lora.holding import holding, lock_of
from pairedit_sdk.models import empty_prompt, folders
from pairedit_sdk.models import precision as precisions
from pairedit_sdk.models.families.flux_text import TextEncoders
from pairedit_sdk.models.offload import Placement
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.targets import target_layers
from pairedit_sdk.models.tokens import pack, position_ids, unpack


class FluxModel:
    """A frozen FLUX.1 pipeline. See :class:`pairedit_sdk.models.protocol.FlowModel`.

    The text encoders are loaded when a prompt is first needed and can be released after; the
    transformer and the autoencoder are loaded at once, into main memory, and come to the device
    when they are needed there (:class:`pairedit_sdk.models.offload.Placement`).
    """

    takes_references = False

    def __init__(
        self,
        name: str,
        folder: Path,
        transformer: FluxTransformer2DModel,
        vae: AutoencoderKL,
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
        self._text = TextEncoders(folder, device, dtype)
        self._conditions: dict[str, Condition] = {}
        self._fingerprint: str | None = None
        self._factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.multiple = 2 * self._factor
        self.resolution = 128 if vae.config.sample_size <= 128 else 512
        self.takes_guidance = bool(transformer.config.guidance_embeds)
        self.default_guidance = 3.5 if self.takes_guidance else 0.0
        # FLUX.1-schnell was taught with shorter texts.
        self._text_length = 512 if self.takes_guidance else 256
        small = transformer.config.num_layers < folders.FLUX_BLOCKS
        kind = "dev" if self.takes_guidance else "schnell"
        self.architecture = self._architecture("mini" if small else kind)

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        device: str | None = None,
        precision: str = "auto",
        offload: bool = False,
    ) -> FluxModel:
        """Load by "mini", folder or hub id; see :func:`pairedit_sdk.load_model`."""
        where = precisions.choose_device(device)
        kind, dtype = precisions.choose_precision(precision, where)
        folder = folders.resolve(name_or_path)
        folders.check(folder, name_or_path)
        with folders.explain_damage(folder), no_bars():
            transformer = precisions.load_transformer(folder, kind, dtype, where)
            vae = AutoencoderKL.from_pretrained(
                folder, subfolder="vae", dtype=precisions.vae_dtype(dtype)
            )
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

    @staticmethod
    def _architecture(kind: str) -> str:
        return f"flux-1-{kind}"

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
    def vae(self) -> AutoencoderKL:
        """The autoencoder, wherever it is at the moment."""
        return self._vae

    @property
    def text_tokens(self) -> int:
        """How many embeddings the model is given with every prompt, however short."""
        path = self.folder / "tokenizer_2" / "tokenizer_config.json"
        longest = json.loads(path.read_text(encoding="utf-8")).get("model_max_length")
        return min(self._text_length, int(longest or self._text_length))

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
        weights = folders.fingerprint(self.folder, "text_encoder", "text_encoder_2")
        tokenizers = folders.digest_of_files(self.folder, "tokenizer", "tokenizer_2")
        return f"{weights}-{tokenizers}-{self._text_length}"

    @holding
    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        config = self._vae.config
        with self._placement.vae() as vae:
            z = vae.encode(images.to(self.device, self._vae.dtype)).latent_dist.mode()
        latents: torch.Tensor = (z - config.shift_factor) * config.scaling_factor
        return latents.to(self.dtype)

    @holding
    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        config = self._vae.config
        z = latents.to(self.device, self._vae.dtype) / config.scaling_factor + config.shift_factor
        with self._placement.vae() as vae:
            pictures: torch.Tensor = vae.decode(z).sample.float()
        return pictures.clamp(-1, 1)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return (self._vae.config.latent_channels, height // self._factor, width // self._factor)

    def image_size(self, latents: torch.Tensor) -> tuple[int, int]:
        return latents.shape[2] * self._factor, latents.shape[3] * self._factor

    @holding
    def sigmas(self, steps: int, height: int, width: int) -> torch.Tensor:
        tokens = (height // self.multiple) * (width // self.multiple)
        config = self._scheduler.config
        mu = schedule_shift(
            tokens,
            config.base_image_seq_len,
            config.max_image_seq_len,
            config.base_shift,
            config.max_shift,
        )
        start = torch.linspace(1.0, 1.0 / steps, steps, dtype=torch.float64).tolist()
        self._scheduler.set_timesteps(sigmas=start, mu=mu)
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
        self._conditions[prompt] = Condition(
            condition.prompt_embeds.to(self.device, self.dtype),
            condition.pooled.to(self.device, self.dtype),
        )

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

    @holding
    def velocity(
        self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition, guidance: float
    ) -> torch.Tensor:
        rows, _, height, width = x.shape
        tokens, ids = self._image_tokens(x, condition)
        given = None
        if self.takes_guidance:
            given = torch.full((rows,), guidance, device=self.device, dtype=torch.float32)
        embeds = condition.prompt_embeds.expand(rows, -1, -1)
        # Rounded where the pipeline rounds it, so that both agree in bf16 too.
        timestep = (sigma.to(self.device).float() * 1000).to(self.dtype) / 1000
        v = self.transformer(
            hidden_states=tokens.to(self.dtype),
            timestep=timestep.reshape(-1).expand(rows),
            guidance=given,
            pooled_projections=condition.pooled.expand(rows, -1),
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3, device=self.device, dtype=self.dtype),
            img_ids=ids.to(self.device, self.dtype),
            return_dict=False,
        )[0]
        return unpack(v[:, : height * width // 4], height, width)

    def _image_tokens(
        self, x: torch.Tensor, condition: Condition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [B, T, 4C] of latents x, its own first, and their position ids [T, 3]."""
        if condition.references:
            raise UsageError(
                f"Model {self.name} takes no condition images",
                expected="a FLUX.1-Kontext",
                next_step="Use mini-kontext, or its folder or hub id",
            )
        return pack(x), position_ids(x.shape[2] // 2, x.shape[3] // 2)

    @holding
    def set_gradient_checkpointing(self, on: bool) -> None:
        if on:
            self._transformer.enable_gradient_checkpointing()
        else:
            self._transformer.disable_gradient_checkpointing()

    @holding
    def lora_targets(self, which: str) -> list[str]:
        return target_layers(self._transformer, which)

    @holding
    def encode_prompt(self, prompt: str) -> Condition:
        """The prompt's embeddings, computed whether they are known or not."""
        return self._text.encode(prompt, self._text_length, make_room=self._placement.make_room)


def _require_weights(*parts: nn.Module) -> None:
    """diffusers leaves a weight that no file has on the meta device, and says nothing.

    Raises:
        ValueError: naming one of them.
    """
    for part in parts:
        absent = [name for name, weight in part.named_parameters() if weight.is_meta]
        if absent:
            raise ValueError(f"{len(absent)} weights are missing, the first is {absent[0]}")
