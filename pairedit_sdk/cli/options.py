"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.models.folders import DEFAULT_MODEL as DEFAULT_MODEL
from pairedit_sdk.models.folders import EDIT_MODEL, PHOTO_MODEL, PLAIN_MODEL

_BASE = f"The model: mini, mini-kontext, a folder, a hub id, or a short name like {PHOTO_MODEL}."
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        "--model",
        envvar="PAIREDIT_BASE",
        help=f"{_BASE} Without it: the model that the edit was trained on, else mini.",
    ),
]
#: For commands that train: there is no edit yet that could name its model.
TrainBase = Annotated[
    str | None,
    typer.Option(
        "--base",
        envvar="PAIREDIT_BASE",
        help=f"{_BASE} Without it: the recipe's, and without a recipe mini-kontext.",
    ),
]
#: For learned models, which need a model that takes reference images.
EditModel = Annotated[
    str | None,
    typer.Option(
        "--base",
        envvar="PAIREDIT_BASE",
        help="The edit model: mini-kontext, a folder or a hub id. Without it: mini-kontext.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A recipe's name or a YAML file. Without it the one for the model: mini-kontext, or "
        "mini for the model mini; klein-4b for a FLUX.2-klein, and so on.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated."
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or mps; without it, cuda where there is one."),
]
Precision = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "nf4", "int8"] | None,
    typer.Option(
        "--precision",
        help="Precision of the model's weights. auto: nf4 or int8 where the edit was trained so, "
        "else bf16 on a GPU and fp32 on a CPU.",
    ),
]
#: For LoRWeB, whose bases have no precision of their own.
AutoPrecision = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "nf4", "int8"] | None,
    typer.Option(
        "--precision",
        help="Precision of the model's weights. auto: bf16 on a GPU and fp32 on a CPU. [auto]",
    ),
]
TrainPrecision = Annotated[
    Literal["auto", "bf16", "fp16", "fp32", "nf4", "int8"] | None,
    typer.Option(
        "--precision",
        help="Precision of the model's weights. auto: bf16 on a GPU and fp32 on a CPU. Without it: "
        "the recipe's, else auto.",
    ),
]
Offload = Annotated[
    bool,
    typer.Option(
        "--offload",
        help="Keep only one part of the model on the GPU at a time. Slower, for small cards.",
    ),
]
Library = Annotated[
    EditLibrary,
    typer.Option(
        "--library",
        envvar="PAIREDIT_LIBRARY",
        parser=EditLibrary.local,
        metavar="FOLDER",
        help="The folder of saved edits.",
    ),
]
#: For commands that do nothing but read edits.
ReadLibrary = Annotated[
    EditLibrary,
    typer.Option(
        "--library",
        envvar="PAIREDIT_LIBRARY",
        parser=EditLibrary,
        metavar="FOLDER|URL",
        help="The folder of saved edits, or a URL: s3://bucket/edits, https://host/edits, …",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")]
Before = Annotated[Path, typer.Argument(metavar="A", help="A picture before the change.")]
After = Annotated[Path, typer.Argument(metavar="A_PRIME", help="The same picture after it.")]
Edited = Annotated[Path, typer.Argument(metavar="B", help="The picture to edit.")]
Strip = Annotated[
    Path | None,
    typer.Option("--strip", help="Also write a strip of a, a\N{PRIME}, b and b\N{PRIME}."),
]
Layout = Literal["grid", "sequence"]
Out = Annotated[Path, typer.Option("-o", "--out", help="The picture to write.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Sampling steps.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="The only source of randomness.")
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        help="Distilled guidance, for a model that takes it. Without it: the edit's own, or in "
        "generate the model's.",
    ),
]
Cfg = Annotated[
    float,
    typer.Option(
        "--cfg",
        min=1,
        help="Scale of classifier-free guidance, against the negative prompt in generate and the "
        "empty one where instructions act. 1 is none; otherwise a second pass is paid.",
    ),
]
Method = Annotated[
    Literal["flowedit", "from-noise", "rf-inversion", "inversion-lora"],
    typer.Option(
        "--method",
        help="How a real picture is edited. from-noise draws it anew, for edits that see the "
        "picture.",
    ),
]
ModeName = Literal["merged", "guided", "sequential"]
MODE = typer.Option(
    "--mode",
    help="How several edits act together: as one LoRA, as guidance (a row more for each), or one "
    "after the other. Without it: merged, or guided where flowedit edits a picture.",
)
Mode = Annotated[ModeName, MODE]
Resolution = Annotated[
    int | None,
    typer.Option(
        "--resolution",
        min=16,
        max=4096,
        help="Side in pixels of a square with the area at which the model sees the picture. "
        "Without it: the one the edit was trained at (512 for large models). A larger picture "
        "comes back softer; far above it little is left of the edit.",
    ),
]
Detail = Annotated[
    Literal["original", "off"],
    typer.Option(
        "--detail",
        help="Where fine detail comes from: original keeps the picture's own wherever the edit "
        "leaves its structure; off is the autoencoder's picture, enlarged.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="A picture of any size, white where the edit may act. Black stays untouched.",
    ),
]
RegionOf = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="auto|X,Y,W,H",
        help="Cut this part out, edit it at the model's full resolution and put it back. auto: "
        "the part that the edit changes. For models that know more than aligned faces.",
    ),
]
Instructions = Annotated[
    list[str] | None,
    typer.Option(
        "--instruction",
        metavar="TEXT[=SCALE]",
        help="An instruction to an edit model, such as 'add round glasses'; may be repeated, and "
        "go with edits. Without edits and --base the model is mini-kontext.",
    ),
]
NoWords = Annotated[
    bool,
    typer.Option("--no-words", help="Leave out all instructions, also those that edits carry."),
]
Words = Annotated[
    str | None,
    typer.Option(
        "--words",
        metavar="'A; B; C'",
        help="Phrases to choose from, such as 'add glasses; add sunglasses'. Without it and "
        "--vocabulary: all that mini-kontext was taught, or for other models a list of common "
        "instructions.",
    ),
]
VocabularyFile = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        metavar="FILE",
        help="The same as a file: a phrase a line, or a JSON or YAML list.",
    ),
]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Do not write into the file how the picture was made.")
]
NMax = Annotated[
    int | None,
    typer.Option(
        "--n-max",
        min=1,
        help="flowedit only: how many of the steps, counted from the end, may change the picture. "
        "Without it: 24 of 28, in proportion.",
    ),
]
NAvg = Annotated[
    int | None,
    typer.Option(
        "--n-avg",
        min=1,
        help="flowedit only: how many noises each step averages over. Without it: the edit's own.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        help="flowedit only: damps changes that are weaker than this share of the strongest one. "
        "Without it: the edit's own.",
    ),
]
LimitScale = Annotated[
    bool | None,
    typer.Option(
        "--limit-scale/--no-limit-scale",
        help="flowedit only: whether no picture is changed more than the pairs show, as an image "
        "encoder sees it halfway. Without either: the edit's own.",
    ),
]
EditorSteps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Length of the noise schedule. Without it: what the edit needs with flowedit, and 28 "
        "with the other methods.",
    ),
]
Track = Annotated[
    str | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help="Show the losses in one of accelerate's trackers too: tensorboard, wandb, … The same "
        "as --set track=TRACKER.",
    ),
]

DEFAULT_LIBRARY = EditLibrary("edits")
#: Where no edit says its model: with instructions, and without.
DEFAULT_EDIT_MODEL, DEFAULT_PLAIN_MODEL = EDIT_MODEL, PLAIN_MODEL
