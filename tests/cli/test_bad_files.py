"""Files that cannot be used, read by the real library: what is said of each, and of those that can.

Where a file is refused, the exit status is 2, one paragraph is on standard error, and nothing is
written. ``PAIREDIT_SHOW_TABLE=1`` prints all commands with what is said, of ``test_bad_input`` too.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk.models.families import ALIASES, FAMILIES

Pairedit = Callable[..., Result]
Build = Callable[[Path], object]
Show = Callable[[str, str], None]
Refused = Callable[[Path], AbstractContextManager[None]]

PROBLEM = "Put the files right or take them out; nothing was read in part."
LAYOUTS = "Expected two folders 'source' and 'target' …"
CONVERT = "Save it again as PNG or JPEG in an image program, or take it out."
AGAIN = "Copy or export it again, or take it out."
NO_TENSORS = "Copy it again or train the edit again; pickles are never opened."
FORMS = "Expected the form of peft, fal, diffusers, ComfyUI, kohya, PairEdit, …."


def face(size: tuple[int, int] = (96, 96), *, glasses: bool = False) -> Image.Image:
    """A picture with outlines enough to be laid on another."""
    from pairedit_sdk.builtin.faces.example_pairs import example_faces

    before, after = example_faces("glasses", 1)[0]
    return (after if glasses else before).draw(128).resize(size, Image.Resampling.LANCZOS)


def save(image: Image.Image, path: Path, **settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)  # type: ignore[arg-type]
    return path


def pair(root: Path, name: str = "1", **changed: Image.Image) -> Path:
    """The folder ``p`` with a good pair, or one with another before or after picture."""
    save(changed.get("before", face()), root / "p" / "source" / f"{name}.png")
    save(changed.get("after", face(glasses=True)), root / "p" / "target" / f"{name}.png")
    return root / "p"


def before_is(root: Path, name: str, data: bytes = b"") -> Path:
    """A pair whose before picture is another file, which is returned."""
    (pair(root) / "source" / "1.png").unlink()
    path = root / "p" / "source" / name
    path.write_bytes(data)
    return path


def orphans(root: Path) -> None:
    for name in ("2", "3"):
        save(face(), pair(root) / "source" / f"{name}.png")
    save(face(), root / "p" / "target" / "4.png")


def shifted(root: Path) -> None:
    after = Image.new("RGB", (128, 128), "white")
    after.paste(face((128, 128), glasses=True), (9, -4))
    pair(root, before=face((128, 128)), after=after)


def cropped(root: Path) -> None:
    after = face((128, 128), glasses=True).crop((3, 3, 125, 125)).resize((128, 128))
    pair(root, before=face((128, 128)), after=after)


def another(root: Path) -> None:
    from pairedit_sdk.builtin.faces.numbered import face_at

    pair(root, before=face_at(0).draw(128), after=face_at(1).draw(128))


def truncated(root: Path) -> None:
    path = save(face(), before_is(root, "1.jpg"))
    path.write_bytes(path.read_bytes()[:900])


def bomb(root: Path) -> None:
    """A PNG of 20,000 × 20,000 pixels in 70 bytes."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    before_is(
        root, "1.png", b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        ),
    )  # fmt: skip


def animated(root: Path) -> None:
    save(face(), before_is(root, "1.gif"), save_all=True, append_images=[face(glasses=True)])


def postscript(root: Path) -> None:
    """A program, which Pillow would hand to Ghostscript."""
    edit(root)
    (root / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9")


def loop(root: Path) -> None:
    path = before_is(root, "1.png")
    path.unlink()
    path.symlink_to(path)


def lone_pixels(root: Path) -> None:
    pair(root, before=Image.new("RGB", (1, 1), "red"), after=Image.new("RGB", (1, 1), "red"))


class Evil:
    """Whoever unpickles this makes the file ``executed``."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


def edit(root: Path, **tensors: object) -> Path:
    """The file ``e.safetensors`` of one layer, with other or further tensors."""
    import torch
    from safetensors.torch import save_file

    name = "transformer.transformer_blocks.0.attn.to_q"
    halves = {"A": torch.ones(2, 64), "B": torch.ones(64, 2)}
    named = {f"{name}.lora_{half}.weight": value for half, value in halves.items()}
    for key, value in tensors.items():
        key = name + ".lora_" + key + ".weight" if key in halves else key
        named.pop(key, None)
        if value is not None:
            named[key] = value  # type: ignore[assignment]
    path = root / "e.safetensors"
    save_file(named, path, metadata={})
    return path


def missing_half(root: Path) -> None:
    edit(root, B=None)


def extra_keys(root: Path) -> None:
    import torch

    edit(root, strange=torch.ones(1))


def other_shape(root: Path) -> None:
    import torch

    edit(root, B=torch.ones(64, 3))


def wider(root: Path) -> None:
    import torch

    edit(root, A=torch.ones(2, 32))


def no_such_layer(root: Path) -> None:
    import torch

    halves = {"A": torch.ones(2, 64), "B": torch.ones(64, 2)}
    named = {f"transformer.x.lora_{half}.weight": value for half, value in halves.items()}
    edit(root, A=None, B=None, **named)


def lying(root: Path) -> None:
    path = edit(root)
    data = path.read_bytes()
    path.write_bytes((2**40).to_bytes(8, "little") + data[8:])


def damaged_description(root: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = edit(root)
    about = json.dumps({"schema": 1, "name": "x", "guidance": "strong"})
    tensors = {f"transformer.proj_out.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(tensors, path, metadata={"pairedit": about})


def slow_pattern(root: Path) -> None:
    import torch
    from safetensors.torch import save_file

    named = {"r": 2, "alpha_pattern": {"(a+)+$": 1}}
    about = json.dumps({f"transformer.{key}": value for key, value in named.items()})
    tensors = {f"transformer.proj_out.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(tensors, root / "e.safetensors", metadata={"lora_adapter_metadata": about})


def pickled(name: str) -> Build:
    return lambda root: (root / name).write_bytes(pickle.dumps({"a": Evil()}))


def view_of_everything(root: Path) -> None:
    import torch

    key = "lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight"
    torch.save({key: torch.ones(1).expand(10**6, 10**6)}, root / "e.pt")


def base(*missing: str, kind: str = "FluxPipeline") -> Build:
    """The folder ``b`` with all parts of a pipeline but some."""
    from pairedit_sdk.models.families.flux1 import Flux1

    def build(root: Path) -> None:
        pair(root)
        for part in set(Flux1.parts()) - set(missing):
            (root / "b" / part).mkdir(parents=True)
        (root / "b" / "model_index.json").write_text(json.dumps({"_class_name": kind}))

    return build


def recipe(text: str) -> Build:
    def build(root: Path) -> None:
        pair(root)
        (root / "r.yaml").write_text(text)

    return build


def begun(root: Path) -> None:
    """A run that another process is in."""
    pair(root)
    (root / "edits" / "runs" / "x").mkdir(parents=True)
    (root / "edits" / "runs" / "x" / "run.lock").touch()


BAD_FILES: list[tuple[Build, str, str]] = [
    # Folders and pairs
    (pair, "check q",
     "Pairs folder 'q' does not exist. Expected a folder: two folders … Check the path."),
    (lambda root: (root / "p").mkdir(), "train p --name x",
     f"Pairs folder 'p' holds no pairs. {LAYOUTS} Got an empty folder."),
    (orphans, "train p --name x",
     "Pairs folder 'p' has 3 problems: 'source/2.png' has no after picture; 'source/3.png' has no "
     f"after picture; 'target/4.png' has no before picture. {LAYOUTS} {PROBLEM}"),
    (lambda root: pair(root, after=face((96, 64))), "train p --name x",
     "Pairs folder 'p' has a problem: pair '1' has pictures of different shape: before 96 x 96, "
     f"after 96 x 64. {LAYOUTS} {PROBLEM}"),
    (lambda root: pair(root, after=face()), "train p --name x",
     "Training on p would be a waste (1: Before and after are the same picture, so there is "
     "nothing to learn). See what to do with `pairedit check p`, or train all the same with "
     "--skip-check."),
    (shifted, "train p --name x",
     "Training on p would be a waste (1: The after picture is shifted 9 px right and 4 px up (7.7% "
     "of the width), and training would learn that too). See …"),
    (cropped, "train p --name x",
     "Training on p would be a waste (1: The after picture is …% larger…, and training would "
     "learn that too). See …"),
    (another, "train p --name x",
     "Training on p would be a waste (1: Before and after are different pictures: only …% of the "
     "outlines are in the same place). See …"),
    (lone_pixels, "train p --name x", "Training on p would be a waste (1: Before and after are the "
     "same picture, so there is nothing to learn). See …"),
    (lambda root: pair(root, "a\nb", after=face((96, 48))), "train p --name x",
     "Pairs folder 'p' has a problem: pair 'a\\nb' has pictures of different shape: …"),
    # Pictures
    (truncated, "train p --name x",
     "Pairs folder 'p' has a problem: Picture 'p/source/1.jpg' is damaged or cut short (image file "
     f"is truncated …). {LAYOUTS} {PROBLEM}"),
    (bomb, "train p --name x",
     "Pairs folder 'p' has a problem: Picture 'p/source/1.png' is too large (400 megapixels). "
     f"{LAYOUTS} {PROBLEM}"),
    (animated, "train p --name x",
     "Pairs folder 'p' has a problem: Picture 'p/source/1.gif' holds more than one picture (2 "
     f"frames (GIF)). {LAYOUTS} {PROBLEM}"),
    (lambda root: before_is(root, "1.png", b"no picture"), "train p --name x",
     "Pairs folder 'p' has a problem: Picture 'p/source/1.png' is not a picture that can be read "
     f"(a file of 10 bytes in no such format, whatever its name says). {LAYOUTS} {PROBLEM}"),
    (lambda root: before_is(root, "1.png"), "train p --name x",
     f"Pairs folder 'p' has a problem: Picture 'p/source/1.png' is empty (0 bytes). {LAYOUTS} "
     f"{PROBLEM}"),
    (loop, "train p --name x",
     "Pairs folder 'p' has a problem: Picture 'p/source/1.png' is a link that leads nowhere, or in "
     f"a circle. {LAYOUTS} {PROBLEM}"),
    (postscript, "edit a.png --edit e.safetensors -o o.png",
     "Picture 'a.png' is not a picture that can be read. Expected a PNG, JPEG, WebP, AVIF, TIFF or "
     f"BMP file. Got a file of 46 bytes in no such format, whatever its name says. {CONVERT}"),
    (edit, f"edit {'n' * 300}.png --edit e.safetensors -o o.png",
     "Picture '…n.png' cannot be opened. Expected a file that may be read. Got File name too long. "
     "Check the path."),
    # Names and settings
    (pair, "train p --name ../x",
     "'../x' cannot be the name of an edit. Expected 1 to 64 letters, digits, - and _, not "
     "beginning with -. Choose a name like glasses or red-hair_2."),
    (pair, "train p --name 'a\nb'", "'a\\nb' cannot be the name of an edit. …"),
    (pair, "train p --name x --set lora.rank=0",
     "Settings out of range: lora.rank is 0, expected a whole number of at least 1. Put these "
     "right."),
    (pair, "train p --name x --set steps=-5",
     "Settings out of range: steps is -5, expected a whole number of at least 1. Put these right."),
    (pair, "train p --name x --base TINY --set lora.rank=65",
     "rank is 65, above the width of layer transformer_blocks.0.attn.to_q. Expected a rank of at "
     "most 64. Say for example --set lora.rank=16."),
    (edit, "edit a.png --edit e.safetensors=nan -o o.png",
     "The scale in --edit e.safetensors=nan cannot be used. Expected finite numbers. Got 'nan'."),
    (recipe("stpes: 3"), "train p --name x --recipe r.yaml",
     "Recipe r.yaml: unknown key 'stpes' (Did you mean steps). Put these right."),
    (pair, "train p --name x --recipe min", "There is no recipe 'min'. Did you mean mini?"),
    (recipe("!!python/object/apply:os.system ['touch executed']"),
     "train p --name x --recipe r.yaml",
     "Recipe r.yaml is not plain YAML (could not determine a constructor for the tag "
     "'tag:yaml.org,2002:python/object/apply:os.system'). Expected keys and plain values, such as "
     "steps: 200. Nothing else in such a file is read or executed."),
    (pair, "train p --name x --set \"steps=!!python/object/apply:os.system ['touch executed']\"",
     "Setting \"steps=!!python/object/apply:os.system ['touch executed']\" cannot be read as a "
     "value. Expected KEY=VALUE. For example steps=200."),
    (recipe("- steps\n- 3\n"), "train p --name x --recipe r.yaml",
     "Recipe r.yaml holds no settings. Expected keys and values. Got a list. Write KEY: VALUE "
     "lines, such as steps: 200."),
    (recipe("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
            "optim.lr: [*b,*b,*b,*b,*b,*b,*b,*b]"), "train p --name x --recipe r.yaml",
     "Recipe r.yaml: unknown key 'a' (…); unknown key 'b' (…); optim.lr is a list, expected a "
     "number. Put these right."),
    (recipe("[" * 3000), "train p --name x --recipe r.yaml", "Recipe r.yaml is not plain YAML (…"),
    # Models
    (pair, "train p --name x --base some/thing",
     "The weights of some/thing are not on this machine and could not be downloaded (…). With a "
     "network, run `hf download some/thing`, or give the path of a folder that holds it, or use "
     "the built-in model with --base mini, which needs no download."),
    (pair, "train p --name x --base ./b",
     "There is no model './b'. Expected mini, mini-kontext, a pipeline folder, a hub id such as "
     "black-forest-labs/FLUX.2-klein-base-4B, or one of " + ", ".join(ALIASES) + ". Put its folder "
     "back, or name another with --base."),
    (base("vae"), "train p --name x --base b",
     "Model b lacks vae. Download these folders too, or use the built-in model with --base mini, "
     "which needs no download."),
    (base(), "train p --name x --base b",
     "The model in b cannot be loaded (…). Download it again, or use the built-in model with "
     "--base mini, which needs no download."),
    (base(kind="StableDiffusionPipeline"), "train p --name x --base b",
     "Model b is a StableDiffusionPipeline. Expected one of " + ", ".join(FAMILIES) + ". Use one "
     "of these, or use the built-in model with --base mini, which needs no download."),
    (pair, "train p --name x --device cuda:7",
     "Device 'cuda:7' is not on this machine. Use --device cpu, or install a torch build for your "
     "GPU."),
    # Edits
    (lambda root: (root / "e.safetensors").touch(), "edits show e.safetensors",
     f"e.safetensors is not a readable safetensors file (…). {NO_TENSORS}"),
    (lying, "edits show e.safetensors",
     f"e.safetensors is not a readable safetensors file (…). {NO_TENSORS}"),
    (pickled("e.safetensors"), "edits show e.safetensors",
     f"e.safetensors is not a readable safetensors file (…). {NO_TENSORS}"),
    (pickled("e.pt"), "edits import e.pt",
     "e.pt is not a readable file of tensors. Expected a state dict of tensors; anything else in a "
     "pickle is not executed."),
    (pickled("e.pt"), "edit a.png --edit e.pt -o o.png",
     "e.pt is a pickle, and none is opened here. Make an edit of it with `pairedit edits import "
     "e.pt --name NAME`."),
    (view_of_everything, "edits import e.pt",
     "e.pt: lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight is no plain tensor. Expected "
     "a state dict of tensors, each in memory of its own."),
    (damaged_description, "edits show e.safetensors",
     "e.safetensors: its description is damaged (guidance is not of its kind). Copy the file "
     "again, or train the edit again."),
    (slow_pattern, "edits import e.safetensors",
     "e.safetensors: its LoRA metadata gives proj_out no alpha that can be used ('(a+)+$' is no "
     "pattern that is understood). Expected a finite number, by a plain pattern of names."),
    (missing_half, "edit a.png --edit e.safetensors -o o.png",
     "e.safetensors: layer transformer.transformer_blocks.0.attn.to_q has only one half of a LoRA. "
     "Expected lora_A [rank, in] and lora_B [out, rank]. Copy the file again."),
    (extra_keys, "edit a.png --edit e.safetensors -o o.png",
     "e.safetensors can be read only in part: 1 of its tensors are unknown. "
     f"{FORMS} Got strange. Take what can be read with `pairedit edits import --partly`."),
    (other_shape, "edit a.png --edit e.safetensors -o o.png",
     "e.safetensors: layer transformer.transformer_blocks.0.attn.to_q has halves that do not fit "
     "together. Expected lora_A [rank, in] and lora_B [out, rank]. Got [2, 64] and [64, 3]. "
     "Copy the file again."),
    (wider, "edit a.png --edit e.safetensors --base TINY -o o.png",
     "Layer transformer_blocks.0.attn.to_q of the edit has another shape than this model's. "
     "Expected 64 × 64. Got 64 × 32. Load the model that the edit was trained on."),
    (no_such_layer, "edit a.png --edit e.safetensors --base TINY -o o.png",
     "This model has no match for 1 of 1 layer of the edit, the first is x. Expected an edit made "
     "for this model. Load the model that the edit was trained on."),
    (lambda root: None, "edit a.png --edit HAT --base TINY -o o.png",
     "Edit 'hat' was learned on another model. Expected mini (…). Got … (…). Load mini, or train "
     "the edit again on …."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "line", "said"),
    BAD_FILES,
    ids=[f"{k} {row[1][:60]}" for k, row in enumerate(BAD_FILES)],
)
def test_bad_files(
    pairedit: Pairedit, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    show_row: Show, build: Build, line: str, said: str,
) -> None:  # fmt: skip
    from pairedit_sdk.io.resources import examples_dir

    monkeypatch.delenv("PAIREDIT_LIBRARY", raising=False)
    save(face(), tmp_path / "a.png")
    build(tmp_path)
    hat = examples_dir() / "edits" / "hat.safetensors"
    words = [
        w.replace("TINY", str(tiny_folder)).replace("HAT", str(hat)) for w in shlex.split(line)
    ]
    before = sorted(tmp_path.rglob("*"))
    result = pairedit(*words)
    show_row(line, result.stderr)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    pattern = re.escape(f"Error: {said}").replace("…", ".*")
    assert re.fullmatch(pattern, result.stderr.removesuffix("\n")), result.stderr
    assert sorted(tmp_path.rglob("*")) == before  # and nothing called "executed" among them


def six_more(root: Path) -> None:
    for name in range(8):
        pair(root, str(name))


def other_size(root: Path) -> None:
    pair(root, after=face((192, 192), glasses=True))


def odd_names(root: Path) -> None:
    for name in ("mit Leerzeichen", "žluťoučký 🐎", "zwei\nZeilen", "-o"):
        pair(root, name)


def rotated(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "p" / "source" / "1.png"
    pair(root, before=face((96, 128)), after=face((96, 128), glasses=True))
    save(face((96, 128)).transpose(Image.Transpose.ROTATE_90), path, exif=exif)


def saved_as(name: str, mode: str, **settings: object) -> Build:
    def build(root: Path) -> None:
        converted = face().quantize(256) if mode == "P" else face().convert(mode)
        save(converted, before_is(root, name), **settings)

    return build


def lone_colours(root: Path) -> None:
    pair(root, before=Image.new("RGB", (1, 1), "red"), after=Image.new("RGB", (1, 1), "blue"))


def sixteen_bit(root: Path) -> None:
    grey = (np.asarray(face().convert("L")).astype(np.uint16)) * 257
    save(Image.fromarray(grey), before_is(root, "1.png"))


#: What can be used, and what is said of it.
GOOD_FILES: list[tuple[str, Build, str]] = [
    ("many", six_more, "These are 8 pairs: 6 are usually enough, and of more, each is seen less "
     "often, so give them more steps."),
    ("size", other_size, "1: The after picture is 192 x 192, and is brought to the size of the "
     "before picture, 96 x 96."),
    ("names", odd_names, "zwei\\nZeilen "),
    ("EXIF rotation", rotated, "good"),
    ("alpha", saved_as("1.png", "RGBA"), "good"),
    ("CMYK", saved_as("1.jpg", "CMYK", quality=100), "good"),
    ("palette", saved_as("1.png", "P"), "good"),
    ("still GIF", saved_as("1.gif", "P"), "good"),
    ("16 bits", sixteen_bit, "of the picture changes, and the rest is aligned"),
    ("1 x 1", lone_colours, "100% changes, but there are no outlines to tell the alignment by"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "said"), [row[1:] for row in GOOD_FILES], ids=[row[0] for row in GOOD_FILES]
)
def test_good_files(
    pairedit: Pairedit, tmp_path: Path, show_row: Show, build: Build, said: str
) -> None:
    build(tmp_path)
    result = pairedit("check", "p")
    show_row("check p", result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert said in result.stdout


def test_a_run_folder_is_used_by_one_training_at_a_time(
    pairedit: Pairedit, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    show_row: Show,
) -> None:  # fmt: skip
    from pairedit_sdk.training.run_lock import run_lock

    monkeypatch.delenv("PAIREDIT_LIBRARY", raising=False)
    begun(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with run_lock(tmp_path / "edits" / "runs" / "x"):
        result = pairedit("train", "p", "--name", "x", "--base", tiny_folder)
    show_row("train p --name x", result.stderr)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: Another training is going on in edits/runs/x. Wait for it or stop it, or choose "
        "another name.\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("what", ["p/source", "p/source/1.png"])
def test_what_may_not_be_read(
    pairedit: Pairedit, tmp_path: Path, show_row: Show, refused: Refused, what: str
) -> None:
    pair(tmp_path)
    with refused(tmp_path / what):
        result = pairedit("train", "p", "--name", "x")
    show_row("train p --name x", result.stderr)
    assert (result.exit_code, result.stdout) == (2, "")
    if what == "p/source":
        assert result.stderr == (
            "Error: Pairs folder 'p' cannot be read. Expected a folder whose files may be listed "
            "and read. Got Permission denied (p/source). Check its permissions.\n"
        )
    else:
        assert "Picture 'p/source/1.png' cannot be opened (Permission denied)" in result.stderr
