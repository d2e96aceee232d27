"""``python -m pairedit_sdk``: the command line."""

from __future__ import annotations

from pairedit_sdk.cli import main

if __name__ == "__main__":
    main()
