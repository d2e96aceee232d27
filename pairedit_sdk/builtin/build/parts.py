"""The built-in model's parts: the real classes of FLUX.1 with small configurations."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from pairedit_sdk.builtin.faces.captions import caption
from pairedit_sdk.builtin.faces.numbered import face_at

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_SIZE = 128
TEXT_LENGTH = 32
CAPTION_PHRASES = 6
TEXT_WIDTH = 128
EMBEDDING = 128
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
#: Words of instructions that captions lack.
INSTRUCTION_WORDS = ["add", "remove", "make", "turn", "into", "it", "medium"]


def vocabulary(instructions: bool = False) -> list[str]:
    """Every word that a caption can contain, in a fixed order, after the special tokens.

    With ``instructions`` those that only :mod:`~..instructions` use follow, so that all others keep
    their numbers.
    """
    words: set[str] = {","}
    rng = random.Random("vocabulary")
    for index in range(3000):
        face = face_at(index, "vocabulary")
        words.update(caption(face).replace(",", "").lower().split())
        words.update(caption(face, rng).replace(",", "").lower().split())
    extra = "the man woman girl boy portrait picture photo hair face wearing without in on and long"
    known = SPECIAL + sorted(words | set(extra.split()))
    return known + (INSTRUCTION_WORDS if instructions else [])


def tokenizer(begin: bool, instructions: bool = False) -> PreTrainedTokenizerBase:
    """A word-level tokenizer; CLIP's form has a begin token (``begin``), T5's has not."""
    words = {word: index for index, word in enumerate(vocabulary(instructions))}
    core = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[,.!?;:]"), "isolated")]
    )
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]" if begin else "$A [EOS]",
        special_tokens=[("[BOS]", words["[BOS]"]), ("[EOS]", words["[EOS]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=TEXT_LENGTH,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    )


def autoencoder() -> AutoencoderKL:
    """16 channels at an eighth of the size, as FLUX's own; 2.6 M parameters, convolutions only."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 24, 64, 128),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=1,
        sample_size=IMAGE_SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )
    _start_as_identity(model)
    return model


def _start_as_identity(model: AutoencoderKL) -> None:
    """Start with every residual branch silent and a signal-preserving path around them.

    diffusers' own start shrinks the signal in each of the path's convolutions; from this one the
    first few hundred steps go faster.
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Conv2d):
            continue
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
        fan_in = layer.weight[0].numel()
        if name.endswith("conv2"):
            torch.nn.init.zeros_(layer.weight)
        elif name.endswith("conv1"):
            torch.nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        else:
            torch.nn.init.normal_(layer.weight, std=(1 / fan_in) ** 0.5)
        if "upsamplers" in name:
            with torch.no_grad():
                layer.weight.mul_(0.3)
                layer.weight[:, :, 1, 1] += torch.eye(layer.weight.shape[0])


def clip() -> CLIPModel:
    """A text tower for the pooled prompt and an image tower for the basis's encoder."""
    size = len(vocabulary())
    text = CLIPTextConfig(
        vocab_size=size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=EMBEDDING,
        max_position_embeddings=TEXT_LENGTH,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=6,
        projection_dim=EMBEDDING,
        image_size=IMAGE_SIZE,
        patch_size=16,
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=EMBEDDING
        )
    )


def t5() -> T5EncoderModel:
    """A two-layer T5 encoder, trained together with the transformer."""
    config = T5Config(
        vocab_size=len(vocabulary()),
        d_model=TEXT_WIDTH,
        d_kv=32,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=3,
        is_encoder_decoder=False,
        use_cache=False,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=TEXT_LENGTH,
    )
    return T5EncoderModel(config)


def transformer(width: int = 192, double: int = 2, single: int = 4) -> FluxTransformer2DModel:
    """FLUX's transformer, small; it takes a distilled guidance like FLUX.1-dev."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=32,
        num_attention_heads=width // 32,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 14, 14),
    )


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1-dev's own scheduler settings, resolution-dependent shift included."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def tokens(batch: list[str], tok: PreTrainedTokenizerBase, length: int) -> torch.Tensor:
    """Token ids, int64 [B, length], padded and cut as ``FluxPipeline`` does it."""
    ids: torch.Tensor = tok(
        batch, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids
