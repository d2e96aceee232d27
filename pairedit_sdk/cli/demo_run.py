"""The whole story on the built-in model: train an edit, use it, add another, look at pictures."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.cli.demo_analogy import analogy_picture, draw_example
from pairedit_sdk.cli.progress import Meter
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import UsageError, printable
from pairedit_sdk.images.files import write_image
from pairedit_sdk.io.files import require_writable_folder, write_json
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.models.folders import DEFAULT_MODEL, PHOTO_MODEL

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console

    from pairedit_sdk.builtin.faces.face import Face
    from pairedit_sdk.edits.edit import Edit, EditStack
    from pairedit_sdk.models.protocol import FlowModel

EDIT = "glasses"  #: learned first, from examples/pairs/glasses
ADDED = "hat"  #: learned by itself, and added to EDIT
PAIRS = "pairs"  #: the folder of the example pairs in the output
RECORD = "demo.json"  #: what was written; also how a folder is known to be a demo's
FACES = 3
SIZE = 512  # of the faces; the model sees them at 128
SCALES = (0.5, 0.75, 1.0, 1.5)
SUM_SCALES = (1.0, 1.0)  # of EDIT and of ADDED where both are applied
PROMPTS = (
    "a young person with long hair and a blue shirt",
    "an old person with dark skin and a yellow background",
    "a young person with curly hair, light skin and a green shirt",
)
GENERATED_SCALE = 1.0
SEED = 0
GENERATED_SEED = 8  # one at which the model itself draws no glasses on these people


def run_demo(
    out: str | Path,
    *,
    words: Console | None = None,
    bars: Console | None = None,
    steps: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Train :data:`EDIT` and :data:`ADDED` on the shipped pairs and draw what they do.

    Args:
        out: the folder for the edits, the faces used, and the collages.
        words: where to tell the story; None tells none.
        bars: where to show progress; None shows none.
        steps: training steps of each; None leaves them to the recipe.
        device: "cpu" or "cuda"; None takes what there is.

    Returns:
        The files written, how long both trainings took, and how long all of it.

    Raises:
        UsageError: ``out`` is a file, or a folder that holds something else.
    """
    from pairedit_sdk.cli.services import load_model

    out = Path(out)
    _require_own(out)
    tell = _teller(words)
    started = time.perf_counter()
    base = load_model(DEFAULT_MODEL, device=device)
    write_json(out / RECORD, {})

    _copy_pairs(out / PAIRS)
    learned, train_seconds = _train(base, out, EDIT, 1, tell, bars, steps)
    people = demo_faces(FACES)
    faces = _draw_faces(people, out / "faces")
    tell("2. Putting it on faces it has never seen ...")
    strengths = write_image(_strengths(base, people, learned, bars), out / "strengths.png")
    added, more_seconds = _train(base, out, ADDED, 3, tell, bars, steps)
    tell(f"4. Adding {ADDED!r} to {EDIT!r} ...")
    summed = write_image(_sums(base, people, learned, added, bars), out / "sum.png")
    tell("5. Drawing new people with it, from words ...")
    generated = write_image(_generated(base, learned, bars), out / "generated.png")
    tell("6. Showing it a change that it has no edit of ...")
    example = draw_example(people[len(people) // 2], out, SIZE)
    drawn, found = analogy_picture(base, example, people[-1], SIZE, SEED)
    analogy = write_image(drawn, out / "analogy.png")
    tell(f"   {found}")
    seconds = time.perf_counter() - started
    pictures = [strengths, summed, generated, analogy]
    tell("\n   ".join([f"Done in {seconds:.0f} s. Look at:", *map(str, pictures)]))
    tell(_next_steps(out, faces, example))
    edit_file = EditLibrary.local(out).target(EDIT)
    record = {"edit": edit_file, "pictures": pictures, "faces": faces}
    record |= {"train_seconds": train_seconds + more_seconds, "seconds": seconds}
    write_json(out / RECORD, record)
    return record


def demo_faces(count: int) -> list[Face]:
    """Faces of the split "demo", which no training has seen, on which both edits can be shown."""
    from pairedit_sdk.builtin.faces.numbered import face_at

    found: list[Face] = []
    index = 0
    while len(found) < count:
        face = face_at(index, "demo")
        index += 1
        bare = face.glasses == "none" and face.hat == "none" and face.style == "photo"
        if bare and all(face.skin != other.skin for other in found):
            found.append(face)
    return found


def _copy_pairs(folder: Path) -> None:
    """The shipped pairs, where a user finds them: those of an installed package lie deep inside."""
    shipped = examples_dir() / "pairs"
    for path in shipped.rglob("*.png"):
        target = folder / path.relative_to(shipped)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _train(
    base: FlowModel,
    out: Path,
    name: str,
    number: int,
    tell: Callable[[str], None],
    bars: Console | None,
    steps: int | None,
) -> tuple[Edit, float]:
    """Step ``number`` of the story: an edit of this name from its pairs, saved in ``out``; and how
    long its training took."""
    from pairedit_sdk.cli.services import train
    from pairedit_sdk.jobs.make_edit import settings_for
    from pairedit_sdk.pairs.pair_set import PairSet

    tell(f"{number}. Learning {name!r} from the pairs in {out / PAIRS / name} ...")
    pairs = PairSet.from_folder(out / PAIRS / name)
    config = settings_for(DEFAULT_MODEL, None, [f"steps={steps}"] if steps else [])
    library = EditLibrary.local(out)
    run_dir = library.run_folder(name)
    shutil.rmtree(run_dir, ignore_errors=True)  # of an earlier demo
    started = time.perf_counter()
    with Meter(bars, f"training {name}", config.steps) as meter:
        edit = train(base, pairs, config, name=name, run_dir=run_dir, on_step=meter.training)
    seconds = time.perf_counter() - started
    edit_file = library.save(edit, replace=True)
    found = "; ".join(printable(words.phrase) for words in edit.info.words)
    said = f" The words of the change: {found}." if found else ""
    tell(f"   {seconds:.0f} s.{said} Saved {edit_file}")
    return edit, seconds


def _strengths(
    base: FlowModel, people: list[Face], learned: Edit, bars: Console | None
) -> Image.Image:
    from pairedit_sdk.images.plots import collage

    stacks = [learned @ scale for scale in SCALES]
    rows = _edited(base, people, stacks, _pictures(bars, "editing", len(people) * len(stacks)))
    for row, face in zip(rows, people, strict=True):
        row.append(_truth(face, EDIT).draw(SIZE))
    labels = ["before", *(f"{EDIT} {scale:g}" for scale in SCALES), "drawn truth"]
    return collage(rows, labels, title=f"{EDIT}, learned from three pairs, on unseen faces")


def _sums(
    base: FlowModel, people: list[Face], learned: Edit, added: Edit, bars: Console | None
) -> Image.Image:
    from pairedit_sdk.images.plots import collage

    first, second = learned @ SUM_SCALES[0], added @ SUM_SCALES[1]
    stacks = [first, second, first + second]
    rows = _edited(base, people, stacks, _pictures(bars, "editing", len(people) * len(stacks)))
    for row, face in zip(rows, people, strict=True):
        row.append(_truth(_truth(face, EDIT), ADDED).draw(SIZE))
    labels = ["before", *(repr(stack) for stack in stacks), "drawn truth"]
    return collage(rows, labels, title="Two edits, learned apart, added")


def _edited(
    base: FlowModel, people: list[Face], stacks: list[EditStack], meter: Meter
) -> list[list[Image.Image]]:
    """Every face, then what each stack makes of it."""
    from pairedit_sdk.cli.services import edit_image

    rows = []
    with meter:
        for face in people:
            row = [face.draw(SIZE)]
            for stack in stacks:
                row.append(edit_image(base, row[0], stack, seed=SEED))
                meter.advance()
            rows.append(row)
    return rows


def _generated(base: FlowModel, learned: Edit, bars: Console | None) -> Image.Image:
    from pairedit_sdk.cli.services import generate
    from pairedit_sdk.images.plots import collage

    stacks = [None, learned @ GENERATED_SCALE]
    rows = []
    with _pictures(bars, "generating", len(stacks) * len(PROMPTS)) as meter:
        for stack in stacks:
            row = []
            for prompt in PROMPTS:
                row.append(generate(base, prompt, stack, seed=GENERATED_SEED))
                meter.advance()
            rows.append(row)
    return collage(rows, PROMPTS, ["as it is", f"with {EDIT}"], title="Generated from words")


def _pictures(bars: Console | None, label: str, count: int) -> Meter:
    return Meter(bars, label, count, "picture")


def _truth(face: Face, edit: str) -> Face:
    from pairedit_sdk.builtin.faces.example_pairs import EXAMPLES

    return EXAMPLES[edit].pair(face)[1]


def _draw_faces(people: Sequence[Face], folder: Path) -> list[Path]:
    return [
        write_image(face.draw(SIZE), folder / f"{k}.png") for k, face in enumerate(people, start=1)
    ]


def _require_own(out: Path) -> None:
    """Refuse a folder that is not a demo's.

    Raises:
        UsageError: it is a file, or holds something else.
        WriteError: nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"The output {out} is a file", expected="a folder to write")
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise UsageError(
            f"The folder {out} holds something else than an earlier demo",
            expected="a new or empty folder, so that nothing of yours is replaced",
            next_step="Choose another one with -o",
        )
    require_writable_folder(out)


def _teller(words: Console | None) -> Callable[[str], None]:
    def tell(text: str) -> None:
        if words is not None:
            words.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell


def _next_steps(out: Path, faces: Sequence[Path], example: Sequence[Path]) -> str:
    def quoted(path: Path) -> str:
        return shlex.quote(str(path))

    both = (
        f"pairedit edit {quoted(faces[0])} --edit {EDIT} --edit {ADDED} "
        f"--library {quoted(out)} -o out.png"
    )
    shown = f"pairedit analogy {' '.join(map(quoted, example))} {quoted(faces[-1])} -o shown.png"
    return f"""
What to try next
  The edits just made, on one of the faces:
    {both}
  What changes from one picture to another, on another face:
    {shown}
  Another edit, learned from other example pairs:
    pairedit train {quoted(out / PAIRS / "age")} --name age
  Your own edit. The built-in model only knows drawn faces. For photographs take FLUX.2-klein
  (a GPU of 16 GB, and a download of 16 GB). Put one to three pictures before one change into
  pairs/source, and after it into pairs/target, under equal names. Then:
    pairedit check pairs
    pairedit train pairs --name mine --base {PHOTO_MODEL}
    pairedit edit photo.jpg --edit mine -o out.png
  If the shell does not find pairedit: it is installed beside the Python that ran this,
    {quoted(Path(sys.executable).parent)}"""
