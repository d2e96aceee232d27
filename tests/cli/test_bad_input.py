"""What a user can get wrong, and the one paragraph seen for it. The exit status is always 2."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]

NAMES = (
    "cannot be the name of an edit. Expected 1 to 64 letters, digits, - and _, not beginning with "
    "-. Choose a name like glasses or red-hair_2."
)
LAYOUTS = (
    "two folders 'source' and 'target' (or 'before' and 'after') with files of equal names "
    "(source/1.jpg, target/1.png), or one folder with NAME_before.* and NAME_after.*"
)
FORMATS = "Expected one of .png, .jpg, .jpeg, .webp, .avif, .tif, .tiff, .bmp."

#: The command line, and what is said; "…" stands for any words, where another room chooses them.
BAD_INPUTS = [
    # Names, runs and the library
    ("train pairs --name a/b", f"'a/b' {NAMES}"),
    ("train pairs --name ..", f"'..' {NAMES}"),
    ("train pairs --name ''", f"'' {NAMES}"),
    ("train pairs --name glasses",
     "There is an edit glasses already (edits/glasses.safetensors). Choose another --name, or "
     "replace it with --force."),
    ("train pairs --name begun",
     "There is a run of begun already in edits/runs/begun. Go on with --resume, or begin anew "
     "with --force."),
    ("train pairs --name new --resume",
     "There is no run of new to resume in edits/runs/new. Leave out --resume to begin it."),
    ("edits list --library me.png",
     "The library me.png is a file. Expected a folder of saved edits. Name a folder with --library "
     "or PAIREDIT_LIBRARY."),
    ("edits show glases", "There is no edit 'glases' in the library edits. Did you mean glasses?…"),
    ("edits show other/hat.safetensors", "There is no edit file other/hat.safetensors. …"),
    ("edits show damaged", "damaged.safetensors is not a readable safetensors file …"),
    # Settings
    ("train pairs --name new --recipe flux-dve",
     "There is no recipe 'flux-dve'. Did you mean flux-dev or flux2-dev?"),
    ("train pairs --name new --recipe no.yaml", "Recipe file no.yaml is not there. …"),
    ("train pairs --name new --set stepz=3", "…unknown key 'stepz' (Did you mean steps…"),
    ("train pairs --name new --set steps=0", "…steps is 0, expected a whole number of at least 1…"),
    ("train pairs --name new --set steps",
     "The setting 'steps' has no value. Expected KEY=VALUE. For example steps=200."),
    ("train pairs --name new --set base=x",
     "--set cannot change the model. Give it with --base."),
    ("train pairs --name new --device gpu",
     "'gpu' is no device. Expected cpu, cuda, cuda:NUMBER or mps."),
    ("train pairs --name new --precision fp8",
     "Invalid value for '--precision': 'fp8' is not one of …See pairedit train --help."),
    # Pairs and pictures
    ("check no-such-folder",
     f"Pairs folder 'no-such-folder' does not exist. Expected a folder: {LAYOUTS}. Check the "
     "path."),
    ("check empty",
     f"Pairs folder 'empty' holds no pairs. Expected {LAYOUTS}. Got an empty folder."),
    ("train swapped --name new",
     "Training on swapped would be a waste (0: …; 1: …). See what to do with `pairedit check "
     "swapped`, or train all the same with --skip-check."),
    ("edit no.png --edit glasses -o x.png",
     "Picture 'no.png' does not exist. Expected a picture file. Got nothing of that name. …"),
    ("edit broken.png --edit glasses -o x.png",
     "Picture 'broken.png' is not a picture that can be read. Expected a PNG, JPEG, WebP, AVIF, "
     "TIFF or BMP file. Got a file of 10 bytes in no such format, whatever its name says. Save "
     "it again as PNG or JPEG in an image program, or take it out."),
    # Edits and scales
    ("edit me.png --edit glases=0.5 -o x.png",
     "There is no edit 'glases' in the library edits. Did you mean glasses?…"),
    ("edit me.png --edit glasses=nan -o x.png",
     "The scale in --edit glasses=nan cannot be used. Expected finite numbers. Got 'nan'."),
    ("edit me.png --edit glasses=-inf -o x.png",
     "The scale in --edit glasses=-inf cannot be used. Expected finite numbers. Got '-inf'."),
    ("edit me.png --edit glasses=much -o x.png",
     "The scale in --edit glasses=much cannot be used. Expected finite numbers. Got 'much'."),
    ("edit me.png --edit =0.5 -o x.png",
     "--edit =0.5 names no edit. Expected NAME or NAME=SCALE. For example --edit glasses=0.8."),
    ("edit me.png -o x.png",
     "Nothing says what to change. Expected --edit or --instruction. For example --edit "
     "glasses=0.8, or --instruction 'add round glasses'."),
    ("sweep me.png -o x.png", "Nothing says what to change. Expected --edit or --instruction. …"),
    ("edit me.png --instruction =0.5 -o x.png",
     "--instruction '=0.5' says nothing. Expected TEXT or TEXT=SCALE. For example --instruction "
     "'add round glasses=1.2'."),
    ("edit me.png --instruction 'add a hat=nan' -o x.png",
     "The scale in --instruction 'add a hat=nan' cannot be used. Expected finite numbers. Got "
     "'nan'."),
    ("edit me.png --edit glasses --mode guided --method inversion-lora -o x.png",
     "The method inversion-lora has no --mode guided. Expected merged or sequential."),
    ("edit me.png --edit glasses --method from-noise --n-avg 2 -o x.png",
     "--n-avg is for flowedit, and the method is from-noise. Leave it out."),
    ("bench compose --combination glasses+hatt",
     "The benchmark has no edit 'hatt'. Did you mean hat?"),
    ("bench edits --edit glases",
     "The benchmark has no edit 'glases'. Did you mean glasses?"),
    ("edit me.png --edit damaged -o x.png",
     "damaged.safetensors is not a readable safetensors file …"),
    ("sweep me.png --edit glasses=half -o x.png",
     "The scale in --edit glasses=half cannot be used. Expected finite numbers. Got 'half'."),
    ("sweep me.png --edit glasses --scales 0,half -o x.png",
     "The scales '0,half' cannot be used. Expected finite numbers. Got 'half'."),
    # Numbers and outputs
    ("edit me.png --edit glasses -o x.gif",
     f"The output x.gif has an extension that is no picture format. {FORMATS} Got .gif."),
    ("sweep me.png --edit glasses -o empty",
     "The output empty is a folder. Expected the name of a picture file. Say for example "
     "empty/out.png."),
    ("edit me.png --edit glasses -o me.png",
     "The output me.png is the input picture. Expected another file, so that the original is "
     "kept."),
    ("sweep me.png --edit glasses -o ./me.png",
     "The output me.png is the input picture. Expected another file, so that the original is "
     "kept."),
    ("edit me.png --edit glasses --method rf-inversion --n-max 3 -o x.png",
     "--n-max is for flowedit, and the method is rf-inversion. Leave it out."),
    ("edit me.png --edit glasses --method rf-inversion --no-limit-scale -o x.png",
     "--no-limit-scale is for flowedit, and the method is rf-inversion. Leave it out."),
    ("edit me.png --edit glasses --threshold 2 -o x.png",
     "Invalid value for '--threshold': …See pairedit edit --help."),
    ("edit me.png --edit glasses --steps 10 --n-max 11 -o x.png",
     "--n-max is more than --steps 10 allow. Expected at most 10. Got 11."),
    ("edit me.png --edit glasses --steps 0 -o x.png",
     "Invalid value for '--steps': …See pairedit edit --help."),
    ("edit me.png --edit glasses --method magic -o x.png",
     "Invalid value for '--method': 'magic' is not one of …See pairedit edit --help."),
    ("generate --prompt a --start-step 40 -o x.png",
     "--start-step is more than --steps 28 allow. Expected at most 28. Got 40."),
    ("generate --prompt a --size 512 -o x.png",
     "'512' is no size. Expected WIDTHxHEIGHT, each 16 to 4096 pixels. For example "
     "--size 512x512."),
    ("generate --prompt a --size 8x512 -o x.png",
     "'8x512' is no size. Expected WIDTHxHEIGHT, each 16 to 4096 pixels. For example "
     "--size 512x512."),
    ("demo -o edits",
     "The folder edits holds something else than an earlier demo. Expected a new or empty folder, "
     "so that nothing of yours is replaced. Choose another one with -o."),
    ("demo -o me.png", "The output me.png is a file. Expected a folder to write."),
    # The command line itself
    ("trian pairs", "No such command 'trian'.…See pairedit --help."),
    # Many edits
    ("train-many no.jsonl", "There is no manifest no.jsonl. Check the path."),
    ("train-many empty",
     "empty is no manifest. Expected a text file of JSON Lines, an edit a line."),
    ("train-many broken.png",
     "The manifest broken.png has a problem:\n  line 1: not JSON (Expecting value: line 1 column 1 "
     "(char 0)). Put these right; nothing was trained."),
    ("train-many list.jsonl --workers 2 --address auto",
     "--workers is for --engine ray. Leave it out."),
    ("train-many list.jsonl --recipe flux-dve", "…There is no recipe 'flux-dve' (Did you mean …"),
    ("train-many list.jsonl --engine spark",
     "Invalid value for '--engine': 'spark' is not one of …See pairedit train-many --help."),
    ("train-many list.jsonl --engine ray --device cuda:1",
     "cuda:1 cannot be chosen with Ray, which gives each worker its GPUs. Expected cpu or cuda."),
    ("train", "Missing argument 'PAIRS'. See pairedit train --help."),
    ("train pairs", "Missing option '--name'. See pairedit train --help."),
    ("train pairs --name new --stepz 3", "No such option: --stepz…See pairedit train --help."),
]  # fmt: skip


@pytest.fixture
def folder(pairs: Path, picture: Path, saved: Path) -> Path:
    """A working folder: pairs, swapped, empty, me.png, broken.png, list.jsonl, edits with a
    run begun."""
    root = pairs.parent
    for side in ("source", "target"):
        (root / "swapped" / side).mkdir(parents=True)
        for number in (0, 1):
            other = number if side == "source" else 1 - number
            data = (pairs / side / f"{other}.png").read_bytes()
            (root / "swapped" / side / f"{number}.png").write_bytes(data)
    (root / "empty").mkdir()
    (root / "broken.png").write_text("no picture")
    (root / "list.jsonl").write_text('{"name": "new", "pairs": "pairs"}')
    (saved / "damaged.safetensors").write_text("damaged")
    (saved / "runs" / "begun" / "checkpoints").mkdir(parents=True)
    (saved / "runs" / "begun" / "checkpoints" / "step-000100.safetensors").touch()
    return root


@pytest.mark.parametrize(("line", "said"), BAD_INPUTS, ids=[line for line, _ in BAD_INPUTS])
def test_bad_input(
    pairedit: Pairedit,
    rooms: Rooms,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    show_row: Callable[[str, str], None],
    line: str,
    said: str,
) -> None:
    monkeypatch.delenv("PAIREDIT_LIBRARY")
    before = sorted(folder.rglob("*"))
    result = pairedit(*shlex.split(line))
    show_row(line, result.stderr)
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    pattern = re.escape(f"Error: {said}").replace("…", ".*")
    assert re.fullmatch(pattern, result.stderr.rstrip("\n"), re.DOTALL), result.stderr
    # Nothing was computed first, and nothing is left behind.
    assert {"train", "edit_image", "generate"}.isdisjoint(name for name, _ in rooms.calls)
    assert sorted(folder.rglob("*")) == before
