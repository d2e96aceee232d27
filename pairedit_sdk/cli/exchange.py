"""``pairedit edits export | import``: edits of the library as other tools' files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pairedit_sdk.cli.options import DEFAULT_LIBRARY, Json, Library, Quiet, ReadLibrary
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edits.library import SUFFIX
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.io.files import require_writable


def export_command(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file to write; for peft, a new folder.")
    ],
    form: Annotated[
        Literal["diffusers", "comfyui", "kohya", "peft"],
        typer.Option(
            "--format",
            help="diffusers, comfyui, kohya (for Forge, sd-scripts and musubi-tuner) or peft.",
        ),
    ] = "diffusers",
    dtype: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option("--dtype", help="16 bits halve the file, and round the edit."),
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    library: ReadLibrary = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an edit as a LoRA for another tool.

    Every weight gets the same update there. Instructions stay behind: of an edit that carries some,
    all of the LoRA acts there, also what pairedit leaves to the instructions.
    """
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.edits.edit_words import acting
    from pairedit_sdk.edits.metadata import shareable
    from pairedit_sdk.lora.export import export
    from pairedit_sdk.sharing.model_card import lora_elsewhere

    output = Output(as_json, quiet)
    loaded = library.load(edit)
    if out.exists() and not (force and out.is_file()):
        raise UsageError(
            f"{out} is there already", next_step="Name another, or replace a file with --force"
        )
    if form != "peft" and out.suffix != SUFFIX:
        raise UsageError(
            f"{out} is no name for this form", expected=f"a name that ends with {SUFFIX}"
        )
    shared = Edit(loaded.layers, shareable(loaded.info))
    export(shared.layers, form, out, shared.header(), dtype, shared.info.base)
    output.say(f"Wrote {out}.")
    if acting(loaded.info):
        output.say(lora_elsewhere(loaded.info))
    output.result({"name": loaded.name, "path": out, "format": form, "dtype": dtype})


def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A LoRA: a safetensors file of diffusers, kohya, musubi-tuner, ComfyUI, "
            "ai-toolkit, OneTrainer, SimpleTuner, XLabs or Concept Sliders, PairEdit's .pt, or the "
            "folder that peft writes. LoKr and LoHa too.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the edit. [the file's name]")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "--model",
            help="The model it was made for, where the file leaves that open. The file's layers "
            "are compared with the model's, and a DoRA is converted with the model's weights.",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="Alpha of the LoRA, where the file does not say it."),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option("--rank", min=1, help="Cut every layer to this rank, and say what is lost."),
    ] = None,
    partly: Annotated[
        bool, typer.Option("--partly", help="Import what can be read, and leave out the rest.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an edit of that name.")] = False,
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an edit of the library from another tool's LoRA.

    The update of every weight stays the same, unless --rank cuts it. Other adapters become LoRAs:
    LoKr, LoHa and whole differences of weights, and a DoRA with --base. Tensors that are left out
    are listed.
    """
    from pairedit_sdk.edits.importing import import_edit

    output = Output(as_json, quiet)
    target = require_writable(library.target(name or file.stem, replace=force))
    edit, found = import_edit(
        file, name=target.stem, base=base, alpha=alpha, rank=rank, partly=partly
    )
    library.save(edit, replace=force)
    form = " and ".join(found.forms)
    layers = counted(len(edit.layers), "layer")
    output.say(f"Saved {target}: {layers}, rank {edit.info.rank}, from {form}.")
    if found.converted:
        output.say(f"Made a LoRA of {' and '.join(found.converted)}.")
    if rank is not None:
        output.say(f"The rank of {rank} loses {found.error:.2%} of the update.")
    if found.left_out:
        shown = ", ".join(found.left_out[:5])
        more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
        output.say(f"Left out {counted(len(found.left_out), 'tensor')}: {shown}{more}.")
    output.result(
        {
            "name": target.stem,
            "path": target,
            "format": found.forms,
            "layers": len(edit.layers),
            "rank": edit.info.rank,
            "converted": found.converted,
            "error": found.error,
            "idle": edit.is_idle,
            "left_out": found.left_out,
        }
    )
