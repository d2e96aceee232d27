"""Tiny pipelines of every model family: diffusers' own classes, random weights, no download.

A maker writes a pipeline folder and returns it; :data:`MAKERS` has them all by name. As published
are the classes, the factor 8 between pictures and latents, the layers that prompts are read from
and the schedulers. The sizes are not, and no test should know them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from pairedit_sdk.io.quiet import no_bars
from tests import tiny_text as text

#: Width of the text embeddings.
WIDTH = 16
#: The same of T5's.
T5_WIDTH = 24
#: Norms of queries and keys, and their weight, by which attention tells tokens apart. With a weight
#: of 1 it nearly takes the mean of all, and of FLUX.2's 512 most are padding: no prompt matters.
SHARP = ("norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight")
SHARPNESS = 3.0


def components(folder: Path) -> dict[str, Any]:
    """What ``from_pretrained`` has to be given for a folder, because it cannot load it without
    torchvision: the processor of an edit pipeline of Qwen, and of the others nothing."""
    part = folder / "processor"
    return {"processor": text.PictureProcessor.read(part)} if part.is_dir() else {}


@contextmanager
def _seeded() -> Iterator[None]:
    """Random weights are the same each time, and the tests' own random numbers go on as before."""
    with torch.random.fork_rng(devices=[]), no_bars():
        torch.manual_seed(0)
        yield


def _save(pipeline: diffusers.DiffusionPipeline, folder: Path) -> Path:
    for name, value in pipeline.transformer.named_parameters():
        if name.endswith(SHARP):
            torch.nn.init.constant_(value, SHARPNESS)
    pipeline.save_pretrained(folder)
    return folder


def _scheduler(**settings: Any) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


def _autoencoder(kind: type[Any], **settings: Any) -> Any:
    """A convolutional autoencoder of the published depth, with 4 channels."""
    return kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        **settings,
    )


def _flux_autoencoder() -> diffusers.AutoencoderKL:
    """FLUX.1's, which Z-Image and Chroma use too."""
    return _autoencoder(
        diffusers.AutoencoderKL,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def flux(folder: Path, *, kontext: bool = False) -> Path:
    """FLUX.1-dev, or FLUX.1-Kontext-dev."""
    kind = diffusers.FluxKontextPipeline if kontext else diffusers.FluxPipeline
    with _seeded():
        transformer = diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        )
        pipeline = kind(
            scheduler=_scheduler(shift=3.0, use_dynamic_shifting=True),
            vae=_flux_autoencoder(),
            text_encoder=text.clip(WIDTH),
            tokenizer=text.clip_tokenizer(),
            text_encoder_2=text.t5(T5_WIDTH),
            tokenizer_2=text.t5_tokenizer(),
            transformer=transformer,
        )
        return _save(pipeline, folder)


def _flux2(*, guidance: bool) -> dict[str, Any]:
    """Transformer, autoencoder and scheduler of a FLUX.2."""
    vae = _autoencoder(diffusers.AutoencoderKLFlux2)
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    scheduler = _scheduler(shift=3.0, use_dynamic_shifting=True)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def klein(folder: Path, *, distilled: bool = False) -> Path:
    """FLUX.2-klein, base or distilled."""
    with _seeded():
        # Prompts are hidden states 9, 18 and 27. The last of all is normed, and these are not.
        encoder = transformers.Qwen3ForCausalLM(text.qwen3(28, WIDTH))
        pipeline = diffusers.Flux2KleinPipeline(
            **_flux2(guidance=False),
            text_encoder=encoder,
            tokenizer=text.qwen_tokenizer(),
            is_distilled=distilled,
        )
        return _save(pipeline, folder)


def flux2_dev(folder: Path) -> Path:
    """FLUX.2-dev, with a tokenizer in the place of its ``PixtralProcessor``, which needs
    torchvision. Both have ``apply_chat_template``, and prompts without pictures need no more."""
    with _seeded():
        pipeline = diffusers.Flux2Pipeline(
            **_flux2(guidance=True),
            text_encoder=text.mistral3(31, WIDTH),  # hidden states 10, 20 and 30
            tokenizer=text.mistral_tokenizer(),
        )
        return _save(pipeline, folder)


def z_image(folder: Path, *, turbo: bool = False) -> Path:
    """Z-Image, which differs from its Turbo in the shift alone."""
    with _seeded():
        transformer = diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        )
        for padding in (transformer.x_pad_token, transformer.cap_pad_token):
            torch.nn.init.normal_(padding)
        pipeline = diffusers.ZImagePipeline(
            scheduler=_scheduler(shift=3.0 if turbo else 6.0),
            vae=_flux_autoencoder(),
            text_encoder=transformers.Qwen3Model(text.qwen3(3, WIDTH)),
            tokenizer=text.qwen_tokenizer(),
            transformer=transformer,
        )
        return _save(pipeline, folder)


def _qwen(*, zero_cond_t: bool) -> dict[str, Any]:
    """All parts of a Qwen-Image but the processor."""
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(8, 4, 4),
        zero_cond_t=zero_cond_t,
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,  # its convolutions are in three dimensions, and take 27 weights each
        z_dim=4,
        dim_mult=[1, 1, 1, 2],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.5, 2.0, 1.0],
    )
    scheduler = _scheduler(
        use_dynamic_shifting=True, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02
    )
    return {
        "transformer": transformer,
        "vae": vae,
        "scheduler": scheduler,
        "text_encoder": text.qwen_vl(WIDTH),
        "tokenizer": text.qwen_tokenizer(),
    }


def qwen_image(folder: Path) -> Path:
    """Qwen-Image."""
    with _seeded():
        return _save(diffusers.QwenImagePipeline(**_qwen(zero_cond_t=False)), folder)


def qwen_image_edit(folder: Path, *, zero_cond_t: bool = True) -> Path:
    """Qwen-Image-Edit-2511, or -2509 without ``zero_cond_t``.

    Its index names the processor as the published one does. That class cannot be loaded without
    torchvision; :func:`components` has one that can.
    """
    with _seeded():
        parts = _qwen(zero_cond_t=zero_cond_t)
        _save(diffusers.QwenImageEditPlusPipeline(**parts, processor=None), folder)
        transformers.Qwen2VLImageProcessorPil().save_pretrained(folder / "processor")
        parts["tokenizer"].save_pretrained(folder / "processor")
    index = folder / "model_index.json"
    named = json.loads(index.read_text(encoding="utf-8"))
    named["processor"] = ["transformers", "Qwen2VLProcessor"]
    index.write_text(json.dumps(named, indent=2), encoding="utf-8")
    return folder


def chroma(folder: Path) -> Path:
    """Chroma1-HD."""
    with _seeded():
        transformer = diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            axes_dims_rope=(4, 6, 6),
            approximator_hidden_dim=24,
            approximator_layers=1,
        )
        pipeline = diffusers.ChromaPipeline(
            scheduler=_scheduler(shift=3.0),
            vae=_flux_autoencoder(),
            text_encoder=text.t5(T5_WIDTH),
            tokenizer=text.t5_tokenizer(),
            transformer=transformer,
        )
        return _save(pipeline, folder)


#: Every family's maker, by a name.
MAKERS: dict[str, Callable[[Path], Path]] = {
    "flux": flux,
    "flux-kontext": partial(flux, kontext=True),
    "klein": klein,
    "klein-distilled": partial(klein, distilled=True),
    "flux2-dev": flux2_dev,
    "z-image": z_image,
    "z-image-turbo": partial(z_image, turbo=True),
    "qwen-image": qwen_image,
    "qwen-image-edit": qwen_image_edit,
    "chroma": chroma,
}
