"""The file of a LoRWeB basis: safetensors, with the settings in its header and beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.metadata import checked_info
from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors, write_json, write_tensors, writing
from pairedit_sdk.io.settings import from_values
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.checks import require_delta, require_description, require_whole
from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape, network_of
from pairedit_sdk.lorweb.parts import BasisLayer, Joined, LearnedInfo
from pairedit_sdk.lorweb.settings import BasisSettings

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.basis import LoRWeBBasis

SCHEMA = 1
#: Before the names of the delta network's tensors.
DELTA = "delta/"
#: What of a joined edit's description is written, and taken from a file.
_KNOWN = ("name", "base", "base_fingerprint", "architecture", "rank", "guidance", "resolution")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is within this block for the basis in ``path``: for whoever reads
    it, changes it and writes it again.

    Raises:
        WriteError: the folder cannot be written to.
    """
    lock = FileLock(path.with_suffix(".lock"))
    with writing(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_basis(path: Path, basis: LoRWeBBasis) -> Path:
    """Write ``NAME.safetensors``, and the settings beside it as ``NAME.json``."""
    router, info = basis.router, basis.info
    tensors = {"projection": router.projection, "keys": router.keys}
    for weight, layer in basis.layers.items():
        tensors |= {f"{weight}/down": layer.down, f"{weight}/up": layer.up}
    for number, own in enumerate(basis.joined):
        tensors[f"joined/{number}/keys"] = own.keys
        for weight, part in own.edit.layers.items():
            tensors[f"joined/{number}/{weight}/down"] = part.down
            tensors[f"joined/{number}/{weight}/up"] = part.up
    values: dict[str, Any] = {
        "schema": SCHEMA,
        **asdict(info),
        "settings": info.settings.as_dict(),
        "layers": list(basis.layers),
        "temperature": router.temperature,
        "normalised": router.normalised,
        "activation": router.activation,
        # The rest would only name the folders of who learned it.
        "joined": [{name: getattr(own.edit.info, name) for name in _KNOWN} for own in basis.joined],
    }
    if basis.delta is not None:
        tensors |= {f"{DELTA}{name}": t for name, t in basis.delta.state_dict().items()}
        values["delta"] = asdict(basis.delta.shape)
    # The tensors carry the settings too, so that a file which lost its neighbour can be read.
    write_tensors(path, tensors, {"learned_basis": json.dumps(values)})
    write_json(path.with_suffix(".json"), values)
    return path


#: What :func:`read_basis` gives: layers, router, what is known, joined edits, the delta network.
Contents = tuple[dict[str, BasisLayer], Router, LearnedInfo, list[Joined], "DeltaNetwork | None"]


def read_basis(path: Path) -> Contents:
    """Read what :func:`write_basis` wrote.

    Raises:
        EditError: no such file, damaged, or something else.
    """
    try:
        tensors, header = read_tensors(path)
        values = json.loads(header["learned_basis"])
        if values["schema"] != SCHEMA:
            raise EditError(
                f"{path} was written by another version of this SDK",
                expected=f"schema {SCHEMA}",
                got=f"schema {values['schema']}",
                next_step="Update pairedit-sdk",
            )
        return _contents(tensors, values)
    except EditError:
        raise
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        raise EditError(
            f"{path} is no LoRWeB basis ({' '.join(str(error).split())[:100]})",
            expected="a file that `pairedit lorweb train` wrote",
        ) from error


def _contents(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> Contents:
    require_description(values)
    tensors = {name: _numbers(tensor) for name, tensor in tensors.items()}
    layers = {
        weight: BasisLayer(tensors[f"{weight}/down"], tensors[f"{weight}/up"])
        for weight in values["layers"]
    }
    router = Router(
        tensors["projection"],
        tensors["keys"],
        values["temperature"],
        values["normalised"],
        values["activation"],
    )
    info = LearnedInfo(
        values["name"],
        values["base"],
        values["base_fingerprint"],
        values["architecture"],
        values["encoder"],
        from_values(BasisSettings, values["settings"], "its settings"),
        values["steps"],
    )
    joined = []
    for number, about in enumerate(values["joined"]):
        own = f"joined/{number}/"
        names = [
            key[len(own) : -len("/down")]
            for key in tensors
            if key.startswith(own) and key.endswith("/down")
        ]
        parts = {n: LoraLayer(tensors[f"{own}{n}/down"], tensors[f"{own}{n}/up"]) for n in names}
        about = {k: v for k, v in about.items() if k in _KNOWN}
        joined.append(Joined(Edit(parts, checked_info(about)), tensors[f"{own}keys"]))
    require_whole(layers, router, joined)
    if not layers and "delta" not in values:
        raise ValueError("it has neither LoRAs nor a delta network")
    return layers, router, info, joined, _delta(tensors, values)


def _delta(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> DeltaNetwork | None:
    if "delta" not in values:
        return None
    own = {n.removeprefix(DELTA): t for n, t in tensors.items() if n.startswith(DELTA)}
    shape = DeltaShape(**values["delta"])
    require_delta(shape)
    return network_of(shape, own)


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """A basis may be kept in another precision, and is computed with in float32."""
    return tensor.float() if tensor.is_floating_point() else tensor
