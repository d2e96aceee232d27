"""Tiny tokenizers and text encoders of every model family, for :mod:`tests.tiny_families`.

The classes are transformers' own and the weights random. A tokenizer has one token a byte, so it
needs no vocabulary from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Tokenizer

from pairedit_sdk.io.quiet import quiet

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
#: Spreads the weights so that another prompt is clearly another embedding.
SPREAD = 0.3


class PictureProcessor(transformers.Qwen2VLProcessor):
    """Qwen's processor without its part for videos, the only one that needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        super().__init__(image_processor, tokenizer)

    @classmethod
    def read(cls, folder: Path) -> PictureProcessor:
        """The processor of a pipeline's folder ``processor``."""
        with quiet():
            pictures = transformers.Qwen2VLImageProcessorPil.from_pretrained(folder)
            return cls(pictures, Qwen2Tokenizer.from_pretrained(folder))


def _bytes() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def qwen_tokenizer() -> PreTrainedTokenizerBase:
    """Qwen's, which knows its form of a chat."""
    vocabulary = {token: index for index, token in enumerate([*_bytes(), "<|endoftext|>"])}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=[], model_max_length=4096, chat_template=QWEN_CHAT
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS)})
    return tokenizer


def _tokenizer(first: tuple[str, ...], template: str, **settings: Any) -> PreTrainedTokenizerBase:
    """Any other; the special tokens ``first`` come before the bytes, and ``template`` says which of
    them are put around a text."""
    words = {token: index for index, token in enumerate([*first, *_bytes()])}
    core = Tokenizer(models.BPE(words, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.add_special_tokens(list(first))
    core.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, words[token]) for token in first]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **settings)


def mistral_tokenizer() -> PreTrainedTokenizerBase:
    """Mistral's, which knows its form of a chat."""
    return _tokenizer(
        ("<unk>", "<s>", "</s>", "<pad>", *MISTRAL_TOKENS),
        "<s> $A",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=4096,
        chat_template=MISTRAL_CHAT,
    )


def clip_tokenizer() -> PreTrainedTokenizerBase:
    """CLIP's, which puts a text between a beginning and an end."""
    return _tokenizer(
        ("<s>", "</s>", "<unk>"),
        "<s> $A </s>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        model_max_length=77,
    )


def t5_tokenizer() -> PreTrainedTokenizerBase:
    """T5's, which puts an end to a text."""
    return _tokenizer(
        ("<pad>", "</s>", "<unk>"),
        "$A </s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=512,
    )


def clip(width: int) -> transformers.CLIPTextModel:
    """CLIP's text tower, for FLUX.1."""
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=width,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def t5(width: int) -> transformers.T5EncoderModel:
    """T5's encoder, for FLUX.1 and Chroma."""
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


def _language_model(layers: int, width: int) -> dict[str, Any]:
    """Settings that language models share."""
    return {
        "hidden_size": width,
        "intermediate_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "initializer_range": SPREAD,
        "bos_token_id": None,
        "eos_token_id": 2,
    }


def qwen3(layers: int, width: int) -> transformers.Qwen3Config:
    """Qwen3's configuration, for FLUX.2-klein and Z-Image."""
    return transformers.Qwen3Config(**_language_model(layers, width), head_dim=8)


def mistral3(layers: int, width: int) -> transformers.Mistral3ForConditionalGeneration:
    """Mistral's model that looks at pictures, for FLUX.2-dev."""
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    text = {**_language_model(layers, width), "model_type": "mistral", "head_dim": 8}
    return transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(
            text_config=text,
            vision_config=vision,
            image_token_index=mistral_tokenizer().convert_tokens_to_ids("[IMG]"),
            tie_word_embeddings=False,
        )
    )


def qwen_vl(width: int) -> transformers.Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL, which looks at pictures, for Qwen-Image."""
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": width,
        "fullatt_block_indexes": [1],
        "initializer_range": SPREAD,
    }
    tokenizer = qwen_tokenizer()
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(
            text_config={**_language_model(2, width), "rope_parameters": rope},
            vision_config=vision,
            **{name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()},
        )
    )
