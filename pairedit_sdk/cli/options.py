"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pairedit_sdk.making import DEFAULT_BASE as DEFAULT_BASE

Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        envvar="PAIREDIT_BASE",
        help="The base model: mini or mini-kontext (inside the package), a folder, or a hub id "
        "like black-forest-labs/FLUX.1-dev. Without it: the one that the edit was learned on, else "
        "mini.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or mps; without it, cuda where there is one."),
]
Precision = Annotated[
    Literal["auto", "bf16", "fp32", "nf4"] | None,
    typer.Option(
        "--precision",
        help="How the base model is held. auto: as in training if that was nf4, else bf16 on a GPU "
        "and fp32 on a CPU.",
    ),
]
Library = Annotated[
    Path,
    typer.Option("--library", envvar="PAIREDIT_LIBRARY", help="The folder of saved edits."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The picture to write.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Sampling steps.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**31 - 1, help="The only source of randomness.")
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        help="Distilled guidance, for a base that takes it. Without it: the edit's own, or in "
        "generate the base's.",
    ),
]
Method = Annotated[
    Literal["flowedit", "rf-inversion", "inversion-lora"],
    typer.Option("--method", help="How a real picture is edited."),
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
        help="Side in pixels of a square with the area at which the base sees the picture. "
        "Without it: the one the edit was trained at (FLUX: 512). A larger picture comes back "
        "softer.",
    ),
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
EditorSteps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Length of the noise schedule. Without it: what the edit needs with flowedit, and 28 "
        "with the other methods.",
    ),
]

DEFAULT_LIBRARY = Path("edits")
