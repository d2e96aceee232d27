"""From pairs to an edit in other tools' form, on a tiny FLUX.2-klein with random weights.

The classes are diffusers' and transformers' own, and only the sizes are not as published. So these
are the commands for the real model, without --base and what makes it small. Nothing is downloaded.
The pictures are of no use, as the model has learned nothing.

Run: python examples/tiny_klein.py [STEPS]
"""

import os
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from tokenizers import pre_tokenizers

from pairedit_sdk.cli import app

OUT = Path("out/tiny-klein").absolute()
MODEL = Path("model")
PAIRS = Path(__file__).resolve().parent / "pairs"
FACE = PAIRS / "age" / "source" / "1.png"
STEPS = sys.argv[1] if len(sys.argv) > 1 else "8"
WIDTH = 16  # of the text encoder
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def make_model(folder: Path) -> None:
    """Write a pipeline folder of about a megabyte."""
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=128,
    )
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=4 * 4,  # patches of 2 x 2 latents
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,  # three hidden states of the text encoder side by side
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = transformers.Qwen2Tokenizer(  # a token a byte
        vocab={token: index for index, token in enumerate([*letters, "<|endoftext|>"])},
        merges=[],
        chat_template=CHAT,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=28,  # states 9, 18 and 27 are read
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=transformers.Qwen3ForCausalLM(config),
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=False,
    ).save_pretrained(folder)


def pairedit(*words: object) -> None:
    """Run a command as the shell would."""
    print("\n$ pairedit", *words, flush=True)
    app([str(word) for word in words], standalone_mode=False)


OUT.mkdir(parents=True, exist_ok=True)
os.chdir(OUT)
make_model(MODEL)
small = ("--set", "resolution=64", "--precision", "fp32", "--set", "gradient_checkpointing=false")
train = ("--base", MODEL, "--recipe", "klein-4b", "--set", f"steps={STEPS}", *small, "--force")
pairedit("train", PAIRS / "glasses", "--name", "glasses", *train)
pairedit("train", PAIRS / "hat", "--name", "hat", *train)
pairedit("edit", FACE, "--edit", "glasses=0.8", "-o", "glasses.png")
pairedit("sweep", FACE, "--edit", "glasses", "--scales", "0,.5,1", "-o", "sweep.png")
# The model has no image encoder of its own, and the usual one would have to be downloaded.
pairedit("basis", "place", "glasses", PAIRS / "glasses", "--encoder", "mini", "--force")
pairedit("basis", "place", "hat", PAIRS / "hat", "--force")
shown = (PAIRS / "hat" / "source" / "2.png", PAIRS / "hat" / "target" / "2.png")
pairedit("analogy", *shown, FACE, "-o", "analogy.png")
pairedit("edits", "export", "glasses", "--format", "peft", "-o", "peft")
pairedit("edits", "import", "peft", "--name", "imported", "--base", MODEL, "--force")
pairedit("edit", FACE, "--edit", "imported=0.8", "-o", "imported.png")
pairedit("edits", "list")
print(f"\nAll of it is in {OUT}.")
