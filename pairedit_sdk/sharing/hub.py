"""Edits on the Hugging Face Hub: a repository holds the edit, its preview, and a page about it.

The login is huggingface_hub's own (``hf auth login`` or ``HF_TOKEN``), and so are its settings
(``HF_ENDPOINT``, ``HF_HUB_OFFLINE``).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.library import SUFFIX, EditLibrary, check_name, preview_path
from pairedit_sdk.errors import HubError, UsageError, counted
from pairedit_sdk.io.files import atomic_write, require_writable
from pairedit_sdk.lora.files import read_lora_header
from pairedit_sdk.sharing.hub_errors import explained
from pairedit_sdk.sharing.model_card import model_card
from pairedit_sdk.sharing.shareable import shareable_file

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
#: Seconds to wait for a first answer.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Pushed:
    """What was written to the Hub.

    Attributes:
        repo_id: the repository.
        url: its page.
        commit: the hash of the commit that has the files.
        files: their names.
    """

    repo_id: str
    url: str
    commit: str
    files: list[str]


@dataclass(frozen=True)
class Pulled:
    """What was read from the Hub.

    Attributes:
        path: the edit's file in the library.
        repo_id: where it came from.
        commit: the hash of the commit that it is of.
        file: its name in the repository.
        preview: the preview picture beside the edit, if there was one.
    """

    path: Path
    repo_id: str
    commit: str
    file: str
    preview: Path | None


def push(
    edit: str | Path, repo_id: str, *, private: bool = False, message: str | None = None
) -> Pushed:
    """Write an edit to a repository of the Hub, which is made if there is none.

    One commit has the edit's file as it is (but for folders of this machine that it names), its
    preview picture and a README.md made of the edit's own metadata, which replaces one there.

    Args:
        edit: the edit's file.
        repo_id: ``OWNER/NAME``, or ``NAME`` among your own.
        private: make the repository a private one.
        message: of the commit.

    Raises:
        UsageError: the file is the LoRA of another tool, or its name cannot be an edit's.
        EditError: the file is not there, or damaged.
        HubError: no network, no login, no right to write there, or a public repository where a
            private one was wanted.
    """
    path = Path(edit)
    if path.is_dir():
        hint = f"Make an edit of it with `pairedit edits import {path} --name NAME`"
        raise UsageError(f"{path} is a folder, and others get one file", next_step=hint)
    check_name(path.stem)  # or nobody could pull it under its own name
    info = _own_info(path)
    loaded = Edit.load(path)  # a damaged file is better found here than by those who pull it
    picture = preview_path(path)
    has_picture = picture.is_file()

    from huggingface_hub import CommitOperationAdd

    api = _api()
    with explained(repo_id, writing=True):
        url = api.create_repo(repo_id, private=True if private else None, exist_ok=True)
        repo_id = url.repo_id
        if private and not api.model_info(repo_id, timeout=TIMEOUT).private:
            raise HubError(
                f"{repo_id} is there already, and it is public",
                expected="a private repository",
                next_step="Choose another name, make it private "
                "on its page, or leave out --private",
            )
        card = model_card(
            info, repo_id, file=path.name, preview=picture.name if has_picture else None
        )
        files: dict[str, Path | bytes] = {CARD: card.encode()}
        if has_picture:
            files[picture.name] = picture
        with TemporaryDirectory(prefix="pairedit-") as folder:
            files[path.name] = shareable_file(path, loaded, Path(folder))
            done = api.create_commit(
                repo_id,
                [CommitOperationAdd(name, content) for name, content in files.items()],
                commit_message=message or f"Edit {info.name}",
            )
    return Pushed(repo_id, str(url), done.oid, sorted(files))


def pull(
    repo_id: str,
    library: EditLibrary | str | Path,
    *,
    name: str | None = None,
    revision: str | None = None,
    file: str | None = None,
    force: bool = False,
) -> Pulled:
    """Save an edit of the Hub in a library, with its preview.

    Under its own name the file is that of the repository, bit for bit; under another one the name
    in its header is changed too.

    Args:
        repo_id: ``OWNER/NAME``.
        library: where the edit goes; not on a URL.
        name: what the edit is to be called; ``None`` is the file's name.
        revision: a branch, tag or commit; ``None`` is the main branch.
        file: the edit's name in the repository, where it holds several.
        force: take the place of an edit of that name.

    Raises:
        UsageError: an edit of that name is there, or the name cannot be one.
        HubError: the repository cannot be read, or holds no edit or several.
        EditError: the file is damaged.
    """
    library = EditLibrary.local(library)
    if name is not None:
        library.target(name, replace=force)
    api = _api()
    with explained(repo_id, revision):
        about = api.model_info(repo_id, revision=revision, timeout=TIMEOUT)
        commit = str(about.sha)
        names = [sibling.rfilename for sibling in about.siblings or []]
        chosen = _chosen(api, repo_id, commit, names, file)
    stem = PurePosixPath(chosen).stem
    target = _target(name, stem, library, repo_id)
    require_writable(library.target(target.stem, replace=force))
    with TemporaryDirectory(prefix="pairedit-") as folder:

        def fetched(wanted: str) -> Path:
            # From one commit, whatever is pushed meanwhile.
            with explained(repo_id, revision):
                return Path(api.hf_hub_download(repo_id, wanted, revision=commit, local_dir=folder))

        info = _own_info(path := fetched(chosen), repo_id)
        edit = Edit.load(path)
        beside = PurePosixPath(chosen).with_suffix(".png").as_posix()
        picture = fetched(beside) if beside in names else None
        if picture is not None and not _is_png(picture):
            picture = None
        library.target(target.stem, replace=force)
        if info.name == target.stem:
            _copy(path, target)
        else:
            edit.with_info(name=target.stem).save(target)
        edit.warn_if_idle()
        kept = _keep_preview(picture, preview_path(target))
    return Pulled(target, repo_id, commit, chosen, kept)


def _keep_preview(picture: Path | None, target: Path) -> Path | None:
    """Put the preview beside its edit, or take away that of an edit which this one replaces."""
    if picture is None:
        target.unlink(missing_ok=True)
        return None
    _copy(picture, target)
    return target


def _api() -> HfApi:
    from huggingface_hub import HfApi

    # huggingface_hub reads it when it is imported, which may be long ago.
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="pairedit-sdk")


def _own_info(path: Path, repo_id: str | None = None) -> EditInfo:
    """What an edit's file says of itself.

    Raises:
        EditError: it is no safetensors file.
        HubError, UsageError: it is the LoRA of another tool.
    """
    header, _ = read_lora_header(path)
    if "pairedit" in header:
        return Edit.read_info(path)
    if repo_id is None:
        raise UsageError(
            f"{path.name} is a LoRA of another tool, and says nothing of how it was made",
            expected="an edit of this SDK",
            next_step=f"Make one of it with `pairedit edits import {path} --name NAME`",
        )
    raise HubError(
        f"{path.name} of {repo_id} is a LoRA of another tool",
        expected="an edit of this SDK",
        next_step=f"Fetch it with `hf download {repo_id} {path.name} --local-dir .`, and make an "
        f"edit of it with `pairedit edits import {path.name} --name NAME`",
    )


def _chosen(api: HfApi, repo_id: str, commit: str, names: list[str], file: str | None) -> str:
    """The name of the one edit in a repository, or the one that was asked for."""
    found = sorted(name for name in names if name.endswith(SUFFIX))
    if file is not None:
        if file not in found:
            raise HubError(
                f"{repo_id} has no file {file}",
                expected=_listed(found) or "a safetensors file",
                next_step="Choose one with --file" if found else "Check the name of the repository",
            )
        return file
    if not found:
        raise HubError(
            f"{repo_id} holds no edit",
            expected="a safetensors file",
            got=_listed(names) or "an empty repository",
            next_step="Check the name of the repository, or name another --revision",
        )
    if len(found) == 1:
        return found[0]
    # Other files may lie beside an edit; their headers tell, without fetching them whole.
    edits = [
        name
        for name in found
        if "pairedit"
        in (api.parse_safetensors_file_metadata(repo_id, name, revision=commit).metadata or {})
    ]
    if len(edits) == 1:
        return edits[0]
    what = counted(len(edits), "edit") if edits else f"{counted(len(found), 'LoRA')} and no edit"
    raise HubError(
        f"{repo_id} holds {what}",
        expected="one",
        got=_listed(edits or found),
        next_step="Choose one with --file"
        if edits
        else "Fetch one with `hf download`, and make an edit of it with `pairedit edits import`",
    )


def _target(name: str | None, stem: str, library: EditLibrary, repo_id: str) -> Path:
    try:
        return library.target(name or stem)
    except UsageError as error:
        raise UsageError(
            error.what, expected=error.expected, next_step=f"Name what is in {repo_id} with --name"
        ) from error


def _is_png(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    def fill(part: Path) -> None:
        shutil.copyfile(source, part)

    atomic_write(target, fill)


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
