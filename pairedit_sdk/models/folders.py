"""Finding a model's folder, checking that it is whole, and telling its weights from others'."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pairedit_sdk.errors import BaseModelError, PairEditError, UsageError, nearest
from pairedit_sdk.models.families import ALIASES, FAMILIES, family_class

_BUILT_IN = Path(__file__).resolve().parents[1] / "builtin" / "weights"
#: Pipeline folders without weights, by hub id: the published configurations, as facts. Another
#: model is one more folder.
SHAPES = Path(__file__).resolve().parent / "shapes"
#: The models that are part of the package, and their pipeline folders.
BUILT_IN = {"mini": _BUILT_IN / "mini", "mini-kontext": _BUILT_IN / "mini-kontext"}
#: The built-in model that takes no references; it draws from captions best.
PLAIN_MODEL = "mini"
#: The built-in model that takes them.
EDIT_MODEL = "mini-kontext"
#: The model of those who name none.
DEFAULT_MODEL = EDIT_MODEL
#: What to train on for photographs, if nothing else is known: open, and small enough for most GPUs.
PHOTO_MODEL = "klein-base-4b"
#: What errors expect where a model has to take references.
ANY_EDIT_MODEL = f"an edit model, such as {EDIT_MODEL} or {PHOTO_MODEL}"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
MINI_HINT = "or use the built-in model with --base mini, which needs no download"


def mini_folder() -> Path:
    """The built-in model's pipeline folder."""
    return BUILT_IN[PLAIN_MODEL]


def pipeline_class(folder: Path) -> str:
    """The name of the pipeline class in a folder that :func:`check` has passed."""
    return str(json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"])


def full_name(name_or_path: str) -> str:
    """The hub id of a short name; anything else as it is. A folder of that name comes first."""
    return name_or_path if os.path.isdir(name_or_path) else ALIASES.get(name_or_path, name_or_path)


def resolve(name_or_path: str, *, configs_only: bool = False) -> Path:
    """The pipeline folder of a built-in model, a path or a hub id (downloaded if need be).

    Args:
        name_or_path: of the model.
        configs_only: no weights are needed. Of one on the hub the configuration that the package
            ships is taken, or else a few kilobytes are fetched.

    Raises:
        BaseModelError: nothing is there, and how to get it.
    """
    name_or_path = full_name(name_or_path)
    if name_or_path in BUILT_IN:
        return BUILT_IN[name_or_path]
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isdir(path):  # Path.is_dir raises for names that the system does not take
        return path
    if os.path.exists(path):
        raise BaseModelError(
            f"Model {name_or_path} is a file",
            expected="a diffusers pipeline folder or a hub id",
            next_step="Name the folder that holds model_index.json",
        )
    if not HUB_ID.fullmatch(name_or_path) or name_or_path.startswith("."):
        raise BaseModelError(
            f"There is no model {name_or_path!r}",
            expected="mini, mini-kontext, a pipeline folder, a hub id such as "
            f"{ALIASES[PHOTO_MODEL]}, or one of {', '.join(ALIASES)}",
            next_step="Put its folder back, or name another with --base",
        )
    if configs_only and os.path.isfile(SHAPES / name_or_path / "model_index.json"):
        return SHAPES / name_or_path
    return _from_hub(name_or_path, configs_only)


def located(name_or_path: str) -> str:
    """A model's name that means the same from every working folder: of a folder its absolute path,
    of built-in models and hub ids the name itself."""
    path = os.path.expanduser(name_or_path)
    if not name_or_path or name_or_path in BUILT_IN or not os.path.isdir(path):
        return full_name(name_or_path)
    return os.path.abspath(path)  # resolve() would follow the user's own links


def shape_folder(name: str) -> Path:
    """The folder of a shipped configuration, by its hub id, the last part of it or a short name.

    Raises:
        UsageError: there is none; with those that there are.
    """
    name = ALIASES.get(name, name)
    known = {path.parent.name: path.parent for path in sorted(SHAPES.glob("*/*/model_index.json"))}
    found = known.get(name.rpartition("/")[2])
    if found is None or name not in (found.name, f"{found.parent.name}/{found.name}"):
        raise UsageError(
            f"There is no shape {name!r}",
            expected="one of " + ", ".join(known),
            next_step=nearest(name, list(known)),
        )
    return found


def check(folder: Path, name: str) -> None:
    """Refuse a folder that is no whole pipeline of a supported class.

    Raises:
        BaseModelError: naming everything that is missing.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise BaseModelError(
            f"Model {name} has no model_index.json",
            expected="a diffusers pipeline folder, as save_pretrained writes it",
            next_step=f"Download the whole repository of the model, {MINI_HINT}",
        )
    try:
        kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BaseModelError(
            f"Model {name}: model_index.json is damaged",
            next_step=f"Download it again, {MINI_HINT}",
        ) from error
    if kind not in FAMILIES:
        raise BaseModelError(
            f"Model {name} is a {kind}",
            expected="one of " + ", ".join(FAMILIES),
            next_step=f"Use one of these, {MINI_HINT}",
        )
    missing = [part for part in family_class(kind).parts() if not (folder / part).is_dir()]
    if missing:
        raise BaseModelError(
            f"Model {name} lacks {', '.join(missing)}",
            next_step=f"Download these folders too, {MINI_HINT}",
        )


def digest_of_files(folder: Path, *chosen: str) -> str:
    """A short hash over the names and contents of all files in some parts; for small files."""
    digest = hashlib.sha256()
    for part in chosen:
        for file in sorted((folder / part).iterdir()):
            digest.update(f"{part}/{file.name}".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def fingerprint(folder: Path, *chosen: str) -> str:
    """A short hash over the names, shapes and first values of all tensors of some parts.

    It reads the files, not the loaded model, so it does not depend on device or precision.

    Args:
        folder: a pipeline's.
        chosen: the parts, e.g. "transformer", "vae".
    """
    from safetensors import safe_open

    digest = hashlib.sha256()
    for part in chosen:
        files = sorted((folder / part).glob("*.safetensors"))
        if not files:
            raise BaseModelError(
                f"There are no safetensors files in {folder / part}",
                next_step=f"Download that folder again, {MINI_HINT}",
            )
        for file in files:
            with explain_damage(folder), safe_open(file, framework="pt") as handle:
                for name in sorted(handle.keys()):
                    piece = handle.get_slice(name)
                    shape = piece.get_shape()
                    digest.update(f"{part}/{name}{shape}".encode())
                    if shape:
                        digest.update(str(piece[:1].flatten()[:64].tolist()).encode())
    return digest.hexdigest()[:16]


@contextmanager
def explain_damage(folder: Path) -> Iterator[None]:
    """Turn what the loaders raise on damaged or missing files into one clear error."""
    try:
        yield
    except (PairEditError, MemoryError, ImportError):
        raise
    except Exception as error:  # the loaders raise nearly every kind
        if type(error).__name__ == "OutOfMemoryError":  # torch's own
            raise
        reason = " ".join(str(error).split())[:300]
        raise BaseModelError(
            f"The model in {folder} cannot be loaded ({reason})",
            next_step=f"Download it again, {MINI_HINT}",
        ) from error


def _shipped() -> list[str]:
    folders = (path.parent for path in sorted(SHAPES.glob("*/*/model_index.json")))
    names = (f"{folder.parent.name}/{folder.name}" for folder in folders)
    return [name for name in names if not name.startswith("random/")]  # nobody's model


def _from_hub(hub_id: str, configs_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    files = "*.json" if configs_only else "*"
    # The whole weights in one file, beside the folders, are left.
    wanted = ["model_index.json", f"*/{files}"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted, ignore_patterns=["*.bin"]))
    except GatedRepoError as error:
        raise BaseModelError(
            f"{hub_id} is gated",
            next_step="Accept its licence on its page, log in with `hf auth login` and try again, "
            + MINI_HINT,
        ) from error
    except RepositoryNotFoundError as error:
        raise BaseModelError(
            f"There is no model {hub_id} on the hub, or it is private",
            next_step=f"Check the name, log in with `hf auth login`, {MINI_HINT}",
        ) from error
    except Exception as error:  # no network, offline mode, a proxy, a full disk: many classes
        if configs_only:
            raise BaseModelError(
                f"The configuration of {hub_id} is not part of this package and could not be "
                f"fetched ({type(error).__name__})",
                expected=f"a network, or one of the shipped: {', '.join(_shipped())}",
                next_step="Give a folder with model_index.json, the config.json of each part, "
                f"and no weights; where there is a network, `hf download {hub_id} --include "
                "'*.json' --local-dir FOLDER` writes it",
            ) from error
        raise BaseModelError(
            f"The weights of {hub_id} are not on this machine and could not be downloaded "
            f"({type(error).__name__})",
            next_step=f"With a network, run `hf download {hub_id}`, or give the path of a folder "
            f"that holds it, {MINI_HINT}",
        ) from error
