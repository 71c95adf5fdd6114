"""One life of a Librarian that downloads: goes on with what is there, or begins; ends when all is done.

_downloading.py FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from model_librarian.core.downloading import DownloadRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.settings import Surroundings


def main() -> None:
    folder = Path(sys.argv[1])
    librarian = Librarian(Surroundings(data_dir=folder / "data", library_root=folder / "library"))
    librarian.start()
    if not librarian.downloads.all() and not list((folder / "library").glob("*/*/*/metadata.json")):
        librarian.downloads.add(
            DownloadRequest(
                provider="huggingface", repo_id="org/big", files=["big-00001-of-00002.safetensors"]
            )
        )
    print("ready", flush=True)
    while states := {download.state for download in librarian.downloads.all()} - {"done"}:
        if "failed" in states:
            print(librarian.downloads.all(), file=sys.stderr)
            raise SystemExit(1)
        time.sleep(0.01)
    librarian.close()


if __name__ == "__main__":
    main()
