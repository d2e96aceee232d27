"""A library of edits on a URL that fsspec can read.

Its files are copied into the cache and read there. Nothing is ever written to such a library.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pairedit_sdk.errors import LibraryError, PairEditError
from pairedit_sdk.io.files import atomic_write, cache_folder

SUFFIX, PREVIEW = ".safetensors", ".png"
#: What tells a version of a file from the next, by the name that some file system gives it.
_MARKS = (
    "etag", "e_tag", "checksum", "md5hash", "md5", "content-md5", "content_md5", "crc32c", "sha",
    "oid", "blob_id", "version_id", "versionid", "generation", "mtime", "last-modified",
    "lastmodified", "last_modified", "modified", "updated", "created",
)  # fmt: skip
#: So often is a file fetched anew that changes while it is fetched.
TRIES = 3


def is_url(library: str | Path) -> bool:
    """Whether a library is said to be on a URL, such as s3://bucket/edits."""
    return isinstance(library, str) and bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", library))


def edit_names(url: str) -> list[str]:
    """The names of the edits in a library, in order.

    Raises:
        LibraryError: it cannot be reached, is not there, or needs a package that is not installed.
    """
    with _explained(url):
        return _names(*_opened(url))


def fetch_edits(url: str) -> list[Path]:
    """Copies of all edits in a library, in the order of their names, each as :func:`fetch_edit`.

    Raises:
        LibraryError: as :func:`edit_names`.
    """
    with _explained(url):
        system, folder = _opened(url)
        return [_fetched(system, folder, url, name) for name in _names(system, folder)]


def fetch_edit(url: str, name: str) -> Path | None:
    """A copy of one edit as it now is, with its preview beside it; ``None`` if it is not there.

    What was copied before is used again while the library's file has the same size and the same
    ETag or time.

    Raises:
        LibraryError: as :func:`edit_names`.
    """
    with _explained(url):
        system, folder = _opened(url)
        try:
            return _fetched(system, folder, url, name)
        except FileNotFoundError:
            return None


def _opened(url: str) -> tuple[Any, str]:
    """The file system, with nothing remembered of former listings, and the folder in it."""
    from fsspec.core import url_to_fs

    system, folder = url_to_fs(url)
    system.invalidate_cache()
    return system, str(folder).rstrip("/")


def _names(system: Any, folder: str) -> list[str]:
    files = [
        PurePosixPath(entry["name"])
        for entry in system.ls(folder or "/", detail=True)
        if entry["type"] == "file"
    ]
    return sorted(f.stem for f in files if f.suffix == SUFFIX and not f.name.startswith("."))


def _fetched(system: Any, folder: str, url: str, name: str) -> Path:
    """
    Raises:
        FileNotFoundError: there is no such edit.
    """
    remote = {suffix: f"{folder}/{name}{suffix}" for suffix in (SUFFIX, PREVIEW)}
    for _ in range(TRIES):
        before = _marks(system, remote)
        # Folders of their own keep the file's name, which becomes the edit's where it has none.
        own = cache_folder() / "library" / _digest(url, name, before)
        target = own / f"{name}{SUFFIX}"
        if None not in before.values() and target.is_file():
            return target
        if before[PREVIEW] != "":
            # The edit comes last: where it is, its preview is too.
            _copied(system, remote[PREVIEW], own / f"{name}{PREVIEW}")
        _copied(system, remote[SUFFIX], target)
        system.invalidate_cache()
        if _marks(system, remote) == before:
            return target
        target.unlink(missing_ok=True)
    raise LibraryError(
        f"{name} in the library {url} changes while it is read", next_step="Try again later"
    )


def _marks(system: Any, remote: dict[str, str]) -> dict[str, str | None]:
    """What tells the present version of an edit and of its preview; "" for no preview, and
    ``None`` where a file system says nothing by which a version could be known."""
    marks = {SUFFIX: _mark(system.info(remote[SUFFIX]))}
    marks[PREVIEW] = ""
    with suppress(FileNotFoundError):
        marks[PREVIEW] = _mark(system.info(remote[PREVIEW]))
    return marks


def _mark(info: dict[str, Any]) -> str | None:
    known = {key.lower(): value for key, value in info.items() if value is not None}
    found = [f"{key}={known[key]}" for key in _MARKS if key in known]
    return f"size={known.get('size')} {' '.join(found)}" if found else None


def _copied(system: Any, remote: str, target: Path) -> None:
    def fetch(part: Path) -> None:
        try:
            system.get_file(remote, str(part))
        except OSError as error:
            # The network's, and not this machine's: it is not the cache that could not be written.
            raise _FetchError(error) from error

    try:
        atomic_write(target, fetch)
    except _FetchError as error:
        raise error.cause from None


class _FetchError(Exception):
    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _digest(url: str, name: str, marks: dict[str, str | None]) -> str:
    said = repr([url.rstrip("/"), name, sorted(marks.items())])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what fsspec and its file systems raise into one error that says what to do."""
    try:
        yield
    except PairEditError:
        raise
    except Exception as error:  # each file system has errors of its own
        if str(getattr(error, "filename", "")).startswith(str(cache_folder())):
            raise  # of this machine's disk, and not of the library
        raise _in_words(error, url) from error


def _in_words(error: Exception, url: str) -> LibraryError:
    shown = re.sub(r"//[^/@]*@", "//", url)  # without a password
    protocol = url.partition("://")[0]
    if isinstance(error, ImportError):
        package = getattr(error.__cause__, "name", None)
        return LibraryError(
            f"The library {shown} needs a package that is not installed ({error})",
            next_step=f"Install it with `pip install {package}`" if package else "Install it",
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return LibraryError(
            f"There is no library {shown}",
            expected="a folder of saved edits",
            next_step="Check the URL given with --library or PAIREDIT_LIBRARY",
        )
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return LibraryError(
            f"The library {shown} has a protocol that fsspec does not know",
            expected="for example s3://, gs://, https:// or file://",
            got=f"{protocol}://",
        )
    reason = " ".join(str(error).split())[:200]
    return LibraryError(
        f"The library {shown} cannot be read ({type(error).__name__}: {reason})",
        next_step=f"Check the network, and the login that {protocol}:// needs",
    )
