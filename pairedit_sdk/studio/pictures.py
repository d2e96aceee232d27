"""Pictures that were shown to the studio, so that a page which is loaded again still has them.

A picture is called by the hash of its file. The folder is bounded: what was not used for longest
goes first.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from pairedit_sdk.errors import InputError
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.io.files import atomic_write
from pairedit_sdk.studio.kept import newest_first

#: Bytes of all pictures that are kept.
KEPT_BYTES = 2**30
#: The name of a file whose name is not known.
UNNAMED = "picture.png"
_ID = re.compile(r"[0-9a-f]{32}")


class Pictures:
    """A bounded folder of pictures.

    Args:
        folder: that need not exist yet.
        bound: bytes of all files together.
    """

    def __init__(self, folder: Path, bound: int = KEPT_BYTES) -> None:
        self.folder, self.bound = folder, bound
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()

    def keep(self, data: bytes, name: str = UNNAMED) -> str:
        """Keep a picture's file as it is.

        Args:
            data: of the file.
            name: of the file, as far as this process remembers it.

        Returns:
            What it is called from now on.

        Raises:
            InputError: it cannot be read, or is too large; nothing is kept then.
        """
        key = hashlib.sha256(data).hexdigest()[:32]
        path = self.folder / key
        if not path.is_file():
            Photo.read(BytesIO(data), name)
        with self._lock:
            self._names[key] = name
            if not path.is_file():
                atomic_write(path, lambda part: _write(part, data))
                self._forget(path)
            with suppress(FileNotFoundError):  # another process bounds the folder too
                os.utime(path)
        return key

    def data(self, key: str) -> bytes:
        """The file of a picture.

        Raises:
            InputError: it is not there, or not any more.
        """
        path = self.folder / key
        # Not looked for first: it may be deleted meanwhile.
        if _ID.fullmatch(key):
            with suppress(FileNotFoundError):
                os.utime(path)
                return path.read_bytes()
        raise InputError("This picture is not kept any more", next_step="Choose it again")

    def name(self, key: str) -> str:
        """What the picture's file was called; "picture.png" where that is not known any more."""
        return self._names.get(key, UNNAMED)

    def photo(self, key: str) -> Photo:
        """The picture.

        Raises:
            InputError: as :meth:`data`.
        """
        return Photo.read(BytesIO(self.data(key)), "The picture")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(_ID.fullmatch(key)) and (self.folder / key).is_file()

    def _forget(self, newest: Path) -> None:
        files = [one for one in newest_first(self.folder) if _ID.fullmatch(one[0].name)]
        files.sort(key=lambda one: one[0] != newest)  # the one that was just kept stays
        held = 0
        for path, known in files:
            held += known.st_size
            if held > self.bound and path != newest:
                path.unlink(missing_ok=True)
                self._names.pop(path.name, None)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
