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
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Tokenizer

from pairedit_sdk.io.quiet import no_bars, quiet

#: Tokens that stand for one thing each, beside the 256 bytes, of Qwen's tokenizers.
QWEN_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<think>", "</think>",
)  # fmt: skip
#: The same of Mistral's.
MISTRAL_TOKENS = ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]", "[IMG]")
#: A vocabulary with room for every tokenizer here.
VOCABULARY = 280
#: Qwen's form of a chat. A closed thought is written only where thinking is switched off.
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
#: Mistral's; a message is a list of pieces.
MISTRAL_CHAT = (
    "{% for m in messages %}{% set word = 'SYSTEM_PROMPT' if m.role == 'system' else 'INST' %}"
    "[{{ word }}]{% for piece in m.content %}{{ piece.text }}{% endfor %}[/{{ word }}]{% endfor %}"
)
#: Spreads the text encoders' weights so that another prompt is clearly another embedding.
SPREAD = 0.3
#: Norms of queries and keys, and their weight, by which attention tells tokens apart. With a weight
#: of 1 it nearly takes the mean of all, and of FLUX.2's 512 most are padding: no prompt matters.
SHARP = ("norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight")
SHARPNESS = 3.0


class PictureProcessor(transformers.Qwen2VLProcessor):
    """Qwen's processor without its part for videos, the only one that needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        super().__init__(image_processor, tokenizer)


def components(folder: Path) -> dict[str, Any]:
    """What ``from_pretrained`` has to be given for a folder, as it cannot load it without
    torchvision: the processor of an edit pipeline of Qwen."""
    part = folder / "processor"
    if not part.is_dir():
        return {}
    with quiet():
        pictures = transformers.Qwen2VLImageProcessorPil.from_pretrained(part)
        return {"processor": PictureProcessor(pictures, Qwen2Tokenizer.from_pretrained(part))}


@contextmanager
def _seeded(seed: int = 0) -> Iterator[None]:
    """Random weights are the same each time, and the tests' own random numbers go on as before."""
    with torch.random.fork_rng(devices=[]), no_bars():
        torch.manual_seed(seed)
        yield


def _save(pipeline: diffusers.DiffusionPipeline, folder: Path) -> Path:
    for name, value in pipeline.transformer.named_parameters():
        if name.endswith(SHARP):
            torch.nn.init.constant_(value, SHARPNESS)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipeline.save_pretrained(folder)
    return folder


def _scheduler(**settings: Any) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


def _bytes() -> dict[str, int]:
    return {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


def qwen_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, and Qwen's special ones; it knows Qwen's form of a chat."""
    vocabulary = _bytes()
    vocabulary["<|endoftext|>"] = len(vocabulary)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=[], model_max_length=4096, chat_template=QWEN_CHAT
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS)})
    return tokenizer


def _fast_tokenizer(first: tuple[str, ...], template: str, **settings: Any) -> Any:
    """One token a byte after the special ones, put between those that ``template`` says."""
    words = {token: index for index, token in enumerate(first)}
    core = Tokenizer(models.BPE({**words, **{b: i + len(first) for b, i in _bytes().items()}}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.add_special_tokens(list(first))
    core.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, words[token]) for token in first]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **settings)


def mistral_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, and Mistral's special ones; it knows Mistral's form of a chat."""
    return _fast_tokenizer(
        ("<unk>", "<s>", "</s>", "<pad>", *MISTRAL_TOKENS),
        "<s> $A",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=4096,
        chat_template=MISTRAL_CHAT,
    )


def clip_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, between a beginning and an end."""
    return _fast_tokenizer(
        ("<s>", "</s>", "<unk>"),
        "<s> $A </s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        model_max_length=77,
    )


def t5_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, and an end."""
    return _fast_tokenizer(
        ("<pad>", "</s>", "<unk>"),
        "$A </s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=512,
    )


def _t5(width: int) -> transformers.T5EncoderModel:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=VOCABULARY,
            d_model=width,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def _text(layers: int, width: int) -> dict[str, Any]:
    """Settings that the language models share."""
    return {
        "hidden_size": width,
        "intermediate_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "initializer_range": SPREAD,
        "bos_token_id": None,
        "eos_token_id": 256,
    }


def _autoencoder(cls: type[Any], channels: int, **settings: Any) -> Any:
    """A convolutional autoencoder with the published depth."""
    return cls(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 16),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=64,
        **settings,
    )


def _flux_autoencoder() -> diffusers.AutoencoderKL:
    """FLUX.1's, which Z-Image and Chroma use too."""
    return _autoencoder(
        diffusers.AutoencoderKL,
        channels=4,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _flux2(guidance: bool, text: int) -> dict[str, Any]:
    """Transformer, autoencoder and scheduler of a FLUX.2 whose text encoder is ``text`` wide."""
    vae = _autoencoder(diffusers.AutoencoderKLFlux2, channels=4)
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * text,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    scheduler = _scheduler(shift=3.0, use_dynamic_shifting=True)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def klein(folder: Path, *, distilled: bool = False) -> Path:
    """FLUX.2-klein, base or distilled."""
    with _seeded():
        # Prompts are hidden states 9, 18 and 27, so there is one layer more.
        text = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_text(28, 16)))
        pipeline = diffusers.Flux2KleinPipeline(
            **_flux2(guidance=False, text=16),
            text_encoder=text,
            tokenizer=qwen_tokenizer(),
            is_distilled=distilled,
        )
        return _save(pipeline, folder)


def flux2_dev(folder: Path) -> Path:
    """FLUX.2-dev, with a tokenizer in the place of its ``PixtralProcessor``, which needs
    torchvision. Both offer ``apply_chat_template``, and prompts without pictures need no more."""
    with _seeded():
        config = transformers.Mistral3Config(
            # Prompts are hidden states 10, 20 and 30, so there is one layer more.
            text_config={**_text(31, 16), "model_type": "mistral", "eos_token_id": 2},
            vision_config={
                "model_type": "pixtral",
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 64,
                "patch_size": 16,
            },
            image_token_index=mistral_tokenizer().convert_tokens_to_ids("[IMG]"),
            tie_word_embeddings=False,
        )
        pipeline = diffusers.Flux2Pipeline(
            **_flux2(guidance=True, text=16),
            text_encoder=transformers.Mistral3ForConditionalGeneration(config),
            tokenizer=mistral_tokenizer(),
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
            cap_feat_dim=16,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        )
        for name in ("x_pad_token", "cap_pad_token"):
            torch.nn.init.normal_(getattr(transformer, name))
        pipeline = diffusers.ZImagePipeline(
            scheduler=_scheduler(shift=3.0 if turbo else 6.0),
            vae=_flux_autoencoder(),
            text_encoder=transformers.Qwen3Model(transformers.Qwen3Config(**_text(3, 16))),
            tokenizer=qwen_tokenizer(),
            transformer=transformer,
        )
        return _save(pipeline, folder)


def _qwen_text() -> transformers.Qwen2_5_VLForConditionalGeneration:
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    tokenizer = qwen_tokenizer()
    ids = {f"{n}_token_id": tokenizer.convert_tokens_to_ids(f"<|{n}|>") for n in names}
    ids = {name.replace("_pad", ""): value for name, value in ids.items()}
    text = _text(2, 16)
    del text["head_dim"]
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [1],
            "initializer_range": SPREAD,
        },
        **ids,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _qwen(zero_cond_t: bool) -> dict[str, Any]:
    """All parts of a Qwen-Image but what reads prompts."""
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
        zero_cond_t=zero_cond_t,
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 2],
        num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.5, 2.0, 1.0],
    )
    scheduler = _scheduler(
        use_dynamic_shifting=True, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02
    )
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def qwen_image(folder: Path) -> Path:
    """Qwen-Image."""
    with _seeded():
        pipeline = diffusers.QwenImagePipeline(
            **_qwen(zero_cond_t=False), text_encoder=_qwen_text(), tokenizer=qwen_tokenizer()
        )
        return _save(pipeline, folder)


def qwen_image_edit(folder: Path, *, zero_cond_t: bool = True) -> Path:
    """Qwen-Image-Edit-2511, or -2509 without ``zero_cond_t``.

    Its processor is named as in the published folder. It cannot be loaded without torchvision;
    :func:`components` has one that can.
    """
    with _seeded():
        tokenizer = qwen_tokenizer()
        pipeline = diffusers.QwenImageEditPlusPipeline(
            **_qwen(zero_cond_t), text_encoder=_qwen_text(), tokenizer=tokenizer, processor=None
        )
        _save(pipeline, folder)
        transformers.Qwen2VLImageProcessorPil().save_pretrained(folder / "processor")
        tokenizer.save_pretrained(folder / "processor")
    index = folder / "model_index.json"
    named = json.loads(index.read_text(encoding="utf-8"))
    named["processor"] = ["transformers", "Qwen2VLProcessor"]
    index.write_text(json.dumps(named, indent=2), encoding="utf-8")
    return folder


def chroma(folder: Path) -> Path:
    """Chroma1."""
    with _seeded():
        transformer = diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            axes_dims_rope=(4, 6, 6),
            approximator_hidden_dim=24,
            approximator_layers=1,
        )
        pipeline = diffusers.ChromaPipeline(
            scheduler=_scheduler(shift=3.0),
            vae=_flux_autoencoder(),
            text_encoder=_t5(24),
            tokenizer=t5_tokenizer(),
            transformer=transformer,
        )
        return _save(pipeline, folder)


def flux(folder: Path, *, kontext: bool = False) -> Path:
    """FLUX.1, for pictures or for edits, guidance distilled."""
    kind = diffusers.FluxKontextPipeline if kontext else diffusers.FluxPipeline
    with _seeded():
        transformer = diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        )
        clip = transformers.CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            max_position_embeddings=77,
            pad_token_id=2,
            bos_token_id=0,
            eos_token_id=1,
        )
        pipeline = kind(
            scheduler=_scheduler(shift=3.0, use_dynamic_shifting=True),
            vae=_flux_autoencoder(),
            text_encoder=transformers.CLIPTextModel(clip),
            tokenizer=clip_tokenizer(),
            text_encoder_2=_t5(24),
            tokenizer_2=t5_tokenizer(),
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
