"""What tests do with downloads, and how they look at what became of them."""

from __future__ import annotations

import os
import threading
import time

from model_librarian.core.downloading import DownloadRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery

from ..fake_hub import Gate

BIG = {
    "conv_first.weight": (1500, 500),
    "body.0.rdb1.conv1.weight": (1500, 500),
    "conv_last.weight": (3, 8, 3, 3),
}
"""About 3 MB."""


def opened(surroundings) -> Librarian:
    librarian = Librarian(surroundings)
    librarian.network.configure(librarian.network.settings.model_copy(update={"timeout_s": 0.5}))
    return librarian


def wanted(*files: str, repo_id: str = "org/upscaler", **more) -> DownloadRequest:
    return DownloadRequest(provider="huggingface", repo_id=repo_id, files=list(files), **more)


def until(librarian: Librarian, download_id: str, *states: str):
    """The download, once it is in one of the states."""
    found = threading.Event()

    def look(*_: object) -> None:
        if librarian.downloads.get(download_id).state in states:
            found.set()

    unsubscribe = librarian.events.subscribe(look)
    look()
    while not found.wait(0.05):
        look()
    unsubscribe()
    return librarian.downloads.get(download_id)


def incoming(librarian: Librarian) -> list[str]:
    folder = librarian.library.root / ".incoming"
    return (
        sorted(name for name in os.listdir(folder) if name not in ("metadata.lock", "placed"))
        if folder.is_dir()
        else []
    )


def only_model(librarian: Librarian):
    [summary] = librarian.library.search(ModelQuery()).models
    return librarian.library.model(summary.model_id)


def only_download_folder(librarian: Librarian) -> bool:
    [name] = incoming(librarian)
    return name.startswith("download-")


def held(hub, librarian, big, after=1_500_000) -> tuple[Gate, Job, str]:
    """A download of which a part has come, and the rest does not come before its gate is opened."""
    librarian.network.configure(librarian.network.settings.model_copy(update={"timeout_s": 60.0}))
    hub.add("org/upscaler", {"nice.safetensors": big})
    gate = Gate(after)
    hub.faults = [gate]
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    assert gate.reached.wait(30)
    while librarian.downloads.get(download.id).received == 0:
        time.sleep(0.01)
    return gate, job, download.id
