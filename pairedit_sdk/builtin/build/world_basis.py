"""Ship a LoRWeB basis with the built-in edit model:
``python -m pairedit_sdk.builtin.build.world_basis FILE``.

FILE is one that ``pairedit bench analogy --keep`` or ``pairedit lorweb train`` has written for that
model. Its numbers are halved to float16, and it is called :data:`NAME`. docs/analogies.md says how
the shipped one was trained.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors, write_tensors
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.shown import SHIPPED
from pairedit_sdk.models.folders import BUILT_IN, EDIT_MODEL, fingerprint

#: What the shipped basis is called.
NAME = "world"


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Ship a LoRWeB basis with the built-in model.")
    parser.add_argument("basis", type=Path, help="the trained basis")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="the file to write")
    given = parser.parse_args(arguments)
    print(f"wrote {ship(given.basis, given.output)}", flush=True)


def ship(trained: Path, output: Path) -> Path:
    """Write a trained basis as the built-in edit model's.

    Args:
        trained: its file.
        output: the file to write. No description is written beside it.

    Raises:
        EditError: the file is none, or the basis is of another model, has an image encoder of its
            own or users' edits in it, or numbers that float16 does not hold.
    """
    basis = LoRWeBBasis.load(trained)
    _require_own(basis)
    tensors, header = read_tensors(trained)
    values = json.loads(header["learned_basis"])
    # What could name folders or addresses of one machine.
    settings = values["settings"] | {"track": None, "encoder": None}
    values |= {"name": NAME, "base": EDIT_MODEL, "encoder": EDIT_MODEL, "settings": settings}
    half = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    if not all(bool(t.isfinite().all()) for t in half.values()):
        raise EditError(
            f"The basis {trained} has numbers that float16 does not hold",
            expected=f"at most {torch.finfo(torch.float16).max:g}",
        )
    return write_tensors(output, half, {"learned_basis": json.dumps(values)})


def _require_own(basis: LoRWeBBasis) -> None:
    """Refuse what is none of the built-in edit model's alone.

    Raises:
        EditError: naming what it is.
    """
    own = fingerprint(BUILT_IN[EDIT_MODEL], "transformer", "vae")
    info = basis.info
    wanted = (own, EDIT_MODEL, 0)
    got = (info.base_fingerprint, info.encoder, len(basis.joined))
    if got != wanted:
        raise EditError(
            f"The basis {info.name} cannot be shipped with {EDIT_MODEL}",
            expected="weights {}, the image encoder {} and {} joined edits".format(*wanted),
            got="{}, {} and {}".format(*got),
            next_step=f"Train it with --base {EDIT_MODEL}",
        )


if __name__ == "__main__":
    main()
