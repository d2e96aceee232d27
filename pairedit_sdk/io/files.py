"""Writing files so that nothing is ever half-written, and optimiser states without pickles."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import WriteError

if TYPE_CHECKING:
    import torch


def cache_folder() -> Path:
    """``PAIREDIT_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("PAIREDIT_CACHE") or Path.home() / ".cache" / "pairedit")


def atomic_write(path: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it.

    Raises:
        WriteError: the system did not let it; what was at ``path`` is still there.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, write)
    return path


def require_writable(path: str | Path) -> Path:
    """Refuse a file that could not be written, before long work is done for it.

    A file is written beside it and deleted again, as permissions, read-only disks and names that
    are too long cannot all be checked otherwise. A file at ``path`` stays as it is.

    Raises:
        WriteError: a folder is there, or the system does not let a file be written.
    """
    path = Path(path)
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        _try_writing(path)
    return path


def require_writable_folder(folder: str | Path) -> Path:
    """:func:`require_writable` for a folder of files to be written, whether it exists or not.

    Raises:
        WriteError: a file is there, or the system does not let one be written there.
    """
    folder = Path(folder)
    with writing(folder):
        _try_writing(folder / "tried")
    return folder


def _try_writing(path: Path) -> None:
    """Write a file beside ``path`` and delete it.

    Where folders are missing they are made within a folder of another name: a process that makes
    the same ones at this moment must not lose them.
    """
    above = (path.parent, *path.parent.parents)
    # The root of a drive that is not there has no name that another could be made of.
    missing = [folder for folder in above if folder.name and not folder.exists()]
    if not missing:
        part = _part_of(path)
        try:
            part.write_bytes(b"\0")
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return
    first = missing[-1]
    trial = _part_of(first)
    try:
        within = trial / path.parent.relative_to(first)
        within.mkdir(parents=True)
        (within / path.name).write_bytes(b"\0")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block the system's errors are about writing ``path``.

    Raises:
        WriteError: with what the system said.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(path, error) from error


def remove_parts(folder: Path) -> None:
    """Delete what writers that were killed have left anywhere in ``folder``.

    Only for a folder that nobody else writes to.
    """
    for part in list(folder.rglob(".*.part")):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    part = _part_of(path)
    try:
        write(part)
        # Some writers make files that only their owner may read.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
        _flush_names(path.parent)
    finally:
        # An error here would hide the one above.
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Let a new name outlive a power cut too, where the system can do that for a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` as indented JSON; paths become text."""
    text = json.dumps(value, indent=2, sort_keys=False, default=str) + "\n"
    return atomic_write(path, lambda part: _write_text(part, text))


def append_line(path: Path, line: str) -> Path:
    """Add a line to a text file, and flush it to disk.

    A line that a crash has cut short before stays alone.

    Raises:
        OSError: it could not be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as handle:
        if handle.seek(0, os.SEEK_END):
            handle.seek(-1, os.SEEK_END)
            line = line if handle.read(1) == b"\n" else f"\n{line}"
        handle.write(f"{line}\n".encode())
        handle.flush()
        os.fsync(handle.fileno())
    return path


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a safetensors file; the same content gives the same bytes.

    The tensors are moved to the CPU and made contiguous.

    Raises:
        WriteError: the file could not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    ready = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    header = {"format": "pt", **(metadata or {})}

    def write(part: Path) -> None:
        try:
            save_file(ready, part, metadata=header)
        except SafetensorError as error:  # its own kind, even where the disk is full
            raise _as_os_error(error, path) from error
        _sort_header(part)

    return atomic_write(path, write)


def _as_os_error(error: Exception, path: Path) -> OSError:
    found = re.search(r"os error (\d+)", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number) if found else str(error), str(path))


def _sort_header(path: Path) -> None:
    """Put the metadata of a safetensors file in order: the library writes it in a random one."""
    with path.open("rb+") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            handle.seek(8)
            handle.write(text.ljust(length))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the header's metadata of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        # A safe_open handle is not a mapping: it cannot be iterated itself.
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        return tensors, dict(handle.metadata() or {})


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str]
) -> dict[str, torch.Tensor]:
    """An optimiser's state as flat named tensors, ``NAME//FIELD``.

    Args:
        optimizer: whose state to take.
        names: ``id(parameter)`` to a stable name.
    """
    import torch

    flat: dict[str, torch.Tensor] = {}
    for parameter, state in optimizer.state.items():
        for field, value in state.items():
            tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
            flat[f"{names[id(parameter)]}//{field}"] = tensor.detach().clone()
    return flat


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    flat: Mapping[str, torch.Tensor],
) -> None:
    """Put a state taken by :func:`optimizer_tensors` back; the dtypes are kept as saved."""
    import torch

    for key, value in flat.items():
        name, field = key.rsplit("//", 1)
        parameter = parameters[name]
        if value.ndim == 0 and value.dtype == torch.int64:  # bitsandbytes counts steps in an int
            optimizer.state[parameter][field] = int(value)
            continue
        device = "cpu" if field == "step" else parameter.device
        optimizer.state[parameter][field] = value.to(device).clone()
