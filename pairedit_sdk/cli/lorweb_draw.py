"""``pairedit lorweb draw``: drawn analogies to train a basis on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pairedit_sdk.cli import options
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError, counted, nearest
from pairedit_sdk.io.files import require_writable_folder


def draw(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder to write.")],
    each: Annotated[
        int, typer.Option("--each", min=1, help="Analogies for each kind of change.")
    ] = 8,
    first: Annotated[
        int,
        typer.Option(
            "--from", min=0, help="Skip this many of each kind: those that were trained on."
        ),
    ] = 0,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            metavar="NAME=VALUE",
            help="Only this kind, such as hat=beanie; may be repeated.",
        ),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Draw the changes that are kept back from training.")
    ] = False,
    world: Annotated[
        int | None,
        typer.Option(
            "--world",
            min=1,
            metavar="TASKS",
            help="So many kinds of change without a name, in Relation252K's layout: any colours, "
            "degrees, marks and tones, on --each people (2 or more).",
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw analogies of faces, to train a basis on.

    They suit the built-in Kontext model.
    """
    from pairedit_sdk.builtin.faces.analogies import SEEN, UNSEEN, drawn_analogy
    from pairedit_sdk.images.files import write_image

    output = Output(as_json, quiet)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already", expected="a new or empty folder")
    if world is not None and (first or kinds or unseen or each < 2):
        raise UsageError(
            "--world draws changes of its own, on two people or more",
            next_step="Leave out --from, --change and --unseen, and give --each 2 or more",
        )
    require_writable_folder(folder)
    if world is not None:
        _draw_world(output, folder, world, each)
        return
    changes = _chosen(UNSEEN if unseen else SEEN, kinds or [])
    with output.meter("drawing", len(changes), "change") as meter:
        for change in changes:
            for index in range(first, first + each):
                drawn = drawn_analogy(change, index, "unseen" if unseen else "train")
                stem = f"{change[0]}-{change[1]}-{index:03d}"
                sides = {
                    "a": drawn.a,
                    "a_prime": drawn.a_prime,
                    "b": drawn.b,
                    "target": drawn.b_prime,
                }
                for side, face in sides.items():
                    write_image(face.draw(), folder / side / f"{stem}.png")
                caption = folder / "target" / f"{stem}.txt"
                caption.write_text(f"{drawn.caption}\n", encoding="utf-8")
            meter.advance(change[0])
    said = counted(len(changes) * each, "analogy", "analogies")
    output.say(f"Drew {said} of {counted(len(changes), 'change')} into {folder}.")
    output.result({"folder": folder, "analogies": len(changes) * each, "changes": len(changes)})


def _draw_world(output: Output, folder: Path, tasks: int, each: int) -> None:
    """The first tasks of the drawn world: pictures of before and after side by side, and labels."""
    from PIL import Image

    from pairedit_sdk.builtin.faces.world import task_at, task_pairs
    from pairedit_sdk.images.files import write_image
    from pairedit_sdk.io.files import write_json
    from pairedit_sdk.lorweb.labels import NAME

    with output.meter("drawing", tasks, "change") as meter:
        for task in range(tasks):
            own, caption = folder / f"task-{task:05d}", task_at(task).caption
            rows = []
            for person, faces in enumerate(task_pairs(task, each)):
                before, after = (face.draw() for face in faces)
                both = Image.new("RGB", (2 * before.width, before.height))
                both.paste(before, (0, 0))
                both.paste(after, (before.width, 0))
                rows.append({"img_name": f"{person}.png", "edit_instruction": caption})
                write_image(both, own / rows[-1]["img_name"])
            write_json(own / NAME, rows)
            meter.advance(caption)
    output.say(
        f"Drew {counted(tasks, 'kind')} of change on {counted(each, 'person', 'people')} each "
        f"into {folder}."
    )
    output.result({"folder": folder, "tasks": tasks, "analogies": tasks * each * (each - 1) // 2})


def _chosen(changes: Sequence[tuple[str, str]], wanted: Sequence[str]) -> Sequence[tuple[str, str]]:
    known = {"=".join(change): change for change in changes}
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"There is no change {name!r} to draw", next_step=nearest(name, list(known))
            )
    return [known[name] for name in dict.fromkeys(wanted)] or changes
