"""Files that are made for downloading, a bounded number of them."""

from __future__ import annotations

import shutil
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pairedit_sdk.io.files import writing

#: Downloads that are kept.
KEPT = 40


class Results:
    """A folder with a folder for each download, so that a file has the name a person wants.

    Args:
        folder: that need not exist yet.
        kept: downloads at most; the oldest go first.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self.kept = folder, kept

    def save(self, name: str, data: bytes) -> Path:
        """A file of this name.

        Raises:
            WriteError: it cannot be written.
        """
        path = self._place() / Path(name).name
        with writing(path):
            path.write_bytes(data)
        return path

    def archive(self, name: str, files: Iterable[tuple[str, bytes]]) -> Path:
        """A zip of files, each with its name; equal names are told apart by a number.

        Raises:
            WriteError: it cannot be written.
        """
        path = self._place() / Path(name).name
        taken: set[str] = set()
        # Pictures are compressed already.
        with writing(path), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for given, data in files:
                member, count = Path(given).name, 1
                while member in taken:
                    count += 1
                    member = f"{Path(given).stem}-{count}{Path(given).suffix}"
                taken.add(member)
                archive.writestr(member, data)
        return path

    def _place(self) -> Path:
        place = self.folder / uuid.uuid4().hex
        with writing(place):
            place.mkdir(parents=True)
            old = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in old[self.kept :]:
                shutil.rmtree(path, ignore_errors=True)
        return place
