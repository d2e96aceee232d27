"""Files that are made for downloading, a bounded number of them."""

from __future__ import annotations

import shutil
import threading
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pairedit_sdk.io.files import writing
from pairedit_sdk.studio.kept import newest_first

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
        self._lock = threading.Lock()
        self._written: set[Path] = set()

    def save(self, name: str, data: bytes) -> Path:
        """A file of this name.

        Raises:
            WriteError: it cannot be written.
        """
        with self._place() as place, writing(path := place / Path(name).name):
            path.write_bytes(data)
        return path

    def archive(self, name: str, files: Iterable[tuple[str, bytes]]) -> Path:
        """A zip of files, each with its name; equal names are told apart by a number.

        Raises:
            WriteError: it cannot be written.
        """
        taken: set[str] = set()
        with (
            self._place() as place,
            writing(path := place / Path(name).name),
            # Pictures are compressed already.
            zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,
        ):
            for given, data in files:
                member, count = Path(given).name, 1
                while member in taken:
                    count += 1
                    member = f"{Path(given).stem}-{count}{Path(given).suffix}"
                taken.add(member)
                archive.writestr(member, data)
        return path

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A new folder, which nobody here deletes within the block."""
        place = self.folder / uuid.uuid4().hex
        with self._lock:
            with writing(place):
                place.mkdir(parents=True)
            self._written.add(place)
            for path, _ in newest_first(self.folder)[self.kept :]:
                if path not in self._written:
                    shutil.rmtree(path, ignore_errors=True)
        try:
            yield place
        finally:
            with self._lock:
                self._written.discard(place)
