"""What is done to a library while something breaks, and what must hold however it ends.

Used by tests that let the n-th call of the filesystem fail, and by those that kill the process there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import sqlite3
import struct
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from model_librarian.core.errors import NotFoundError
from model_librarian.core.importing import ImportRequest, originals, sharing, source, transfer
from model_librarian.core.importing.sharing import ShareRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import usage
from model_librarian.core.linking import LinkChoice, linker
from model_librarian.core.services import removal
from model_librarian.core.settings import Surroundings, app_of_models_folder
from model_librarian.core.storage.database import Database
from model_librarian.core.storage.trash import NoTrashError

FOLDERS = ("upscale_models", "loras", "vae")
_SHARD_INDEX = json.dumps(
    {"weight_map": {str(n): f"big-0000{n}-of-00002.safetensors" for n in (1, 2)}}
).encode()
_PIPELINE = json.dumps(
    {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
).encode()


def model_bytes(seed: int) -> bytes:
    """A small but valid safetensors file, recognised as an upscaler."""
    shapes = {
        "conv_first.weight": [8, 3, 3, 3],
        "body.0.rdb1.conv1.weight": [4, 8, 3, 3],
        "conv_last.weight": [3, 8, 3, 3],
    }
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1] * shape[2] * shape[3]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + random.Random(seed).randbytes(end)


class World:
    """One machine: a ComfyUI with files of its own, a library, a folder of downloads, a trash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "ComfyUI" / "models"
        self.library = root / "ComfyUI" / "model-library"
        self.downloads = root / "downloads"
        self.trash = root / "trash"
        self.sources = {
            "new": {self.downloads / "new.safetensors": model_bytes(1)},
            "set": {
                **{
                    self.downloads / "set" / f"big-0000{n}-of-00002.safetensors": model_bytes(n + 1)
                    for n in (1, 2)
                },
                self.downloads / "set" / "big.safetensors.index.json": _SHARD_INDEX,
            },
            "pipe": {
                self.downloads / "pipe" / "model_index.json": _PIPELINE,
                self.downloads / "pipe" / "unet" / "diffusion_pytorch_model.safetensors": model_bytes(4),
                self.downloads / "pipe" / "unet" / "config.json": b'{"of": "unet"}',
            },
            "used": {self.models / "loras" / "used.safetensors": model_bytes(5)},
        }
        self.picture = self.downloads / "new.png"

    def make(self) -> None:
        """Lay it out, with models in the library whose places in the app are taken or free."""
        for name in FOLDERS:
            (self.models / name).mkdir(parents=True)
        self.downloads.mkdir()
        self.trash.mkdir()
        for files in self.sources.values():
            for path, data in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self.picture.write_bytes(b"\x89PNG picture")
        places = self.models / "upscale_models"
        for number, name in enumerate(("a", "b", "c"), start=10):
            path = self.downloads / f"{name}.safetensors"
            path.write_bytes(model_bytes(number))
        with self.librarian() as librarian:
            items = [{"paths": [str(self.downloads / f"{name}.safetensors")]} for name in "abc"]
            run(librarian, librarian.imports.start(ImportRequest.model_validate({"items": items})))
        (places / "a.safetensors").write_bytes(model_bytes(20))  # in the way of a link
        (places / "theirs.safetensors").write_bytes(model_bytes(21))
        (places / "linked.safetensors").symlink_to(places / "theirs.safetensors")
        (self.models / "vae" / "empty").mkdir()
        notes = next(self.library.glob("*/*/b")) / "notes.txt"
        notes.write_text("somebody's own notes")

    @contextmanager
    def librarian(self) -> Iterator[Librarian]:
        """A Librarian over it that was not started, and that does not watch folders when it is."""
        surroundings = Surroundings(
            data_dir=self.root / "data",
            library_root=self.library,
            apps=[app_of_models_folder(self.models)],
            allowed_roots=[self.downloads],
        )
        librarian = Librarian(surroundings)
        librarian._watcher.start = lambda: None  # type: ignore[method-assign]
        try:
            yield librarian
        finally:
            librarian.close()

    def to_trash(self, path: Path) -> None:
        """A trash that works on every machine."""
        os.lstat(path)
        os.rename(path, self.trash / f"{uuid.uuid4().hex}-{path.name}")

    def contents(self) -> dict[str, list[str]]:
        """Where the bytes of each file are: SHA-256 and the places, real files only."""
        found: dict[str, list[str]] = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                ours = name in ("metadata.json", "library.json", "journal.json", "upload.json")
                counts = path.suffix in (".safetensors", ".txt", ".png", ".json") or ".old" in name
                if counts and not ours and not path.is_symlink() and "data" not in path.parts:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found.setdefault(digest, []).append(str(path.relative_to(self.root)))
        return found

    def person(self) -> dict[str, object]:
        """What lies in the app and is none of ours, exactly."""
        found: dict[str, object] = {}
        for folder, folders, names in os.walk(self.models):
            for name in (*folders, *names):
                path = Path(folder, name)
                key = str(path.relative_to(self.models))
                if path.is_symlink():
                    if self.library not in Path(os.path.realpath(path)).parents:
                        found[key] = os.readlink(path)
                else:
                    found[key] = path.is_file() and path.read_bytes()
        return found


def run(librarian: Librarian, job: Job) -> Job:
    """Wait for a job; it must end."""
    ended = librarian.jobs.wait(job.id, timeout=60)
    assert ended.ended, ended
    return ended


def _import(what: str, mode: str, **more: bool) -> Callable[[World, Librarian], None]:
    """Import one of the world's sources, unless that is done already."""

    def work(world: World, librarian: Librarian) -> None:
        paths = list(world.sources[what])
        if any(not path.exists() or path.is_symlink() for path in paths):
            return
        item = {"paths": [str(path) for path in paths], "mode": mode}
        if what == "pipe":
            item["paths"] = [str(world.downloads / "pipe")]
        job = librarian.imports.start(ImportRequest.model_validate({"items": [item], **more}))
        run(librarian, job)

    return work


def _sent(world: World) -> None:
    """A browser has sent a file; it waits to be imported."""
    with world.librarian() as librarian:
        data = model_bytes(6)
        upload = librarian.uploads.create(len(data), "sent.safetensors")
        writing = librarian.uploads.write(upload.id, 0)
        writing.append([data])
        writing.close().result()
        (world.root / "data" / "upload").write_text(upload.id)


def _import_upload(world: World, librarian: Librarian) -> None:
    upload = (world.root / "data" / "upload").read_text()
    with suppress(NotFoundError):  # it is in the library already
        librarian.uploads.get(upload)
        items = [{"uploads": [upload]}]
        run(librarian, librarian.imports.start(ImportRequest.model_validate({"items": items})))


def _apply(resolution: str) -> Callable[[World, Librarian], None]:
    def work(_world: World, librarian: Librarian) -> None:
        plan = librarian.links.preview()
        choice = LinkChoice.model_validate({"plan_id": plan.plan_id, "default_resolution": resolution})
        run(librarian, librarian.links.apply(choice))

    return work


def _delete(name: str, fate: str) -> Callable[[World, Librarian], None]:
    def work(_world: World, librarian: Librarian) -> None:
        for model_id in librarian.library.index.all_ids():
            if model_id.endswith(f"/{name}"):
                librarian.models.delete(model_id, fate)  # type: ignore[arg-type]

    return work


def _uninstall(_world: World, librarian: Librarian) -> None:
    librarian.links.uninstall(librarian.linker.apps[0].app)


def _linked(world: World) -> None:
    with world.librarian() as librarian:
        _apply("skip")(world, librarian)


def _listed(world: World) -> None:
    """The app's own file is listed in place, and somebody wrote about it."""
    with world.librarian() as librarian:
        run(librarian, librarian.scans.start("quick"))
        [model] = [found for found in librarian.library.index.all_ids() if "/used-" in found]
        librarian.models.edit(model, {"tags": ["mine"]})


def _twice(world: World) -> None:
    """Somebody copied a model of the library, folder and all, twice; each has words of its own."""
    with world.librarian() as librarian:
        [model] = [found for found in librarian.library.index.all_ids() if found.endswith("/c")]
        folder = world.library / model
        for name in ("c2", "c3"):
            shutil.copytree(folder, folder.with_name(name))
        run(librarian, librarian.scans.start("quick"))
        for name in ("c2", "c3"):
            librarian.models.edit(f"{model.rpartition('/')[0]}/{name}", {"notes": f"of {name}"})


def _share(_world: World, librarian: Librarian) -> None:
    run(librarian, librarian.shares.start(ShareRequest(hard_links=True)))


class Scenario(NamedTuple):
    """What is done, and what it may do to the source that it imports.

    ``source`` stays where it is (``stay``), goes once it is in the library (``go``), or is a link then (``link``).
    ``may_vanish`` is the seed of the model whose bytes it takes away.
    """

    work: Callable[[World, Librarian], None]
    before: Callable[[World], None] | None = None
    what: str | None = None
    source: str = "stay"
    may_vanish: int | None = None


def _importing(what: str, mode: str, source: str = "stay", **more: bool) -> Scenario:
    before = _listed if what == "used" else None
    return Scenario(_import(what, mode, **more), before, what, source)


SCENARIOS: dict[str, Scenario] = {
    "import by copy": _importing("new", "copy"),
    "import by reflink": _importing("new", "reflink"),
    "import by move": _importing("new", "move", "go"),
    "import by move, no hard links": _importing("new", "move", "go"),
    "import by move, other disk": _importing("new", "move", "go"),
    "import in place": _importing("new", "in-place"),
    "import and link": _importing("new", "copy", link=True),
    "import, originals to the trash": _importing("new", "copy", "go", delete_originals=True),
    "import, originals deleted, no trash": _importing("new", "auto", "go", delete_originals=True),
    "import a set by copy": _importing("set", "copy"),
    "import a set by move": _importing("set", "move", "go"),
    "import a set by move, no hard links": _importing("set", "move", "go"),
    "import a folder by move": _importing("pipe", "move", "go"),
    "import a folder, originals to the trash": _importing("pipe", "copy", "go", delete_originals=True),
    "adopt": _importing("used", "adopt", "link"),
    "adopt, other disk": _importing("used", "adopt", "link"),
    "adopt a set": _importing("set", "adopt", "link"),
    "import an upload": Scenario(_import_upload, _sent),
    "import an upload, no hard links": Scenario(_import_upload, _sent),
    "sync": Scenario(_apply("skip")),
    "sync, rename": Scenario(_apply("rename")),
    "sync, overwrite": Scenario(_apply("overwrite")),
    "delete for good": Scenario(_delete("c", "permanent"), _linked, may_vanish=12),
    "delete for good beside notes": Scenario(_delete("b", "permanent"), _linked, may_vanish=11),
    "delete to the trash": Scenario(_delete("c", "trash"), _linked),
    "delete to the trash beside notes": Scenario(_delete("b", "trash"), _linked),
    "delete from the list": Scenario(_delete("c", "keep"), _linked),
    "uninstall": Scenario(_uninstall, _linked),
    "share by hard link": Scenario(_share, _twice),
    "share by reflink": Scenario(_share, _twice),
}


@contextmanager
def conditions(world: World, name: str) -> Iterator[None]:
    """What the scenario's name says of the machine."""
    kept = (os.link, source.same_filesystem, transfer.clone, sharing.way_in, usage.places_on_disk)
    trashes = (removal, linker, originals)
    kept_trashes = [module.to_trash for module in trashes]

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def no_trash(path: Path) -> None:
        raise NoTrashError(f"{path} cannot go to the trash: there is none.")

    clones = world.root / "data" / "clones"

    def places_on_disk(path: Path) -> tuple[int, ...]:
        """Where the bytes are that a file was made with, as a filesystem tells that shares them."""
        place = path.lstat().st_ino
        if clones.exists():
            place = dict(map(int, line.split()) for line in clones.read_text().splitlines()).get(place, place)
        return (place,)

    def clone(original: BinaryIO, file: BinaryIO) -> bool:
        file.write(original.read())
        with clones.open("a") as lines:
            lines.write(f"{os.fstat(file.fileno()).st_ino} {places_on_disk(Path(original.name))[0]}\n")
        return True

    if "no hard links" in name:
        os.link = refuse  # type: ignore[assignment]
    if "other disk" in name:
        source.same_filesystem = lambda *_: False  # type: ignore[assignment]
    if "reflink" in name:
        transfer.clone, usage.places_on_disk = clone, places_on_disk
        sharing.way_in = lambda _: "clone"
    for module in trashes:
        module.to_trash = no_trash if "no trash" in name else world.to_trash
    try:
        yield
    finally:
        os.link, source.same_filesystem, transfer.clone, sharing.way_in, usage.places_on_disk = kept  # type: ignore[assignment]
        for module, to_trash in zip(trashes, kept_trashes, strict=True):
            module.to_trash = to_trash


class Stepping:
    """Calls ``at_step`` with the number of each call of the filesystem below a folder that changes something.

    Python's audit events see every opening, renaming, linking, making and removing, also of the standard
    library; what they do not see (fsync, writing a block) is wrapped.
    """

    EVENTS = frozenset(
        f"os.{name}"
        for name in ("rename", "link", "symlink", "mkdir", "rmdir", "remove", "scandir", "listdir")
    ) | {"open"}
    _active: Stepping | None = None
    _hooked = False

    def __init__(self, root: Path, at_step: Callable[[int, str], None]) -> None:
        self.steps = 0
        self._root = str(root)
        self._at_step = at_step
        self._lock = threading.Lock()

    def step(self, what: str) -> None:
        with self._lock:
            self.steps += 1
            number = self.steps
        self._at_step(number, what)

    @contextmanager
    def active(self, *, databases: bool = False) -> Iterator[Stepping]:
        """Watch; with ``databases`` the begin and end of each transaction count as calls, too."""
        if not Stepping._hooked:
            sys.addaudithook(_audit)
            Stepping._hooked = True
        real_fsync, real_write = os.fsync, transfer._write

        def fsync(descriptor: int) -> None:
            self.step("fsync")
            real_fsync(descriptor)

        def write(*arguments: object) -> None:
            self.step("write")
            real_write(*arguments)  # type: ignore[arg-type]

        real_transaction = Database.write

        @contextmanager
        def transaction(database: Database) -> Iterator[sqlite3.Connection]:
            self.step(f"begin {database.path.name}")
            with real_transaction(database) as db:
                yield db
            self.step(f"committed {database.path.name}")

        os.fsync, transfer._write = fsync, write  # type: ignore[assignment]
        if databases:
            Database.write = transaction  # type: ignore[assignment, method-assign]
        Stepping._active = self
        try:
            yield self
        finally:
            Stepping._active = None
            os.fsync, transfer._write = real_fsync, real_write  # type: ignore[assignment]
            Database.write = real_transaction  # type: ignore[method-assign]


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    active = Stepping._active
    if active is None or event not in Stepping.EVENTS or not arguments:
        return
    path = arguments[0]
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    if (event == "os.link" or text.startswith(active._root)) and "/data/" not in text:
        active.step(f"{event} {text}")


def check(world: World, name: str, before: dict[str, list[str]], person: dict[str, object]) -> None:
    """What holds right after the break, before anything heals: nothing is lost, nothing is half there."""
    scenario = SCENARIOS[name]
    now = world.contents()
    gone = scenario.may_vanish
    may_vanish = hashlib.sha256(model_bytes(gone)).hexdigest() if gone is not None else None
    for digest, places in before.items():
        if digest == may_vanish:
            continue
        assert digest in now, f"the bytes of {places} are gone"
    for what, files in world.sources.items():
        if what != scenario.what or scenario.source != "go":
            for path, data in files.items():
                assert path.read_bytes() == data, f"{path} has to work at every instant"
                assert not path.is_symlink() or (what, scenario.source) == (scenario.what, "link")
    for folder in world.library.glob("*/*/*"):
        if (
            folder.relative_to(world.library).parts[0] == ".incoming"
            or not (folder / "metadata.json").exists()
        ):
            continue
        for file in json.loads((folder / "metadata.json").read_text())["files"]:
            data = (folder / file["name"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["sha256"], f"{folder} is not whole"
    taken = {"upscale_models/a.safetensors"} if name in ("sync, rename", "sync, overwrite") else set()
    if name.startswith("adopt"):
        taken.add("loras/used.safetensors")
    left = world.person()
    for key, what in person.items():
        if key not in taken:
            assert left.get(key, "gone") == what, f"{key} is somebody's and was touched"
    extra = {key for key in left.keys() - person.keys() if ".old" not in key}
    assert not extra, f"left in the app: {extra}"


def heal_and_check(
    world: World, name: str, before: dict[str, list[str]], person: dict[str, object], *, told: bool = False
) -> str:
    """The next start: everything mended, index and disk agree. Then the work can be done to its end.

    ``told`` means that an error left an original where it was, and that this was said.
    """
    with world.librarian() as librarian, conditions(world, name):
        librarian.start()
        assert librarian.scans.last() is not None
        assert run(librarian, librarian.scans.last()).state == "done"
        for job in librarian.jobs.all():  # what the scan began: a world that was copied has other inodes
            run(librarian, job)
        check(world, name, before, person)
        left = set(os.listdir(world.library / ".incoming")) - {"metadata.lock", "placed"}
        assert all(folder.startswith("upload-") for folder in left), left
        assert list(librarian.linker.registry.intents()) == []
        on_disk = {
            str(path.parent.relative_to(world.library)) for path in world.library.glob("*/*/*/metadata.json")
        }
        owned = {key for key in librarian.library.index.all_ids() if not key.startswith("in-place/")}
        assert owned == on_disk
        registered = {link.target for link in librarian.links.registered() if link.state == "ok"}
        for folder, _, names in os.walk(world.models):
            for path in (Path(folder, entry) for entry in names):
                if path.is_symlink() and world.library in Path(os.path.realpath(path)).parents:
                    assert path.exists(), f"{path} is broken"
                    assert str(path) in registered, f"{path} was forgotten"
        if not told:
            _check_copies(world, name)
        finished = _is_finished(world, name, librarian)
        SCENARIOS[name].work(world, librarian)
        assert _is_finished(world, name, librarian), f"{name} cannot be ended afterwards"
        incoming = world.library / ".incoming"
        left = set(os.listdir(incoming)) - {"metadata.lock", "placed"}
        assert all(name.startswith("upload-") for name in left), left
        assert not list(incoming.glob("upload-*/content/*")), (
            "the rest of a taken upload goes when it expires"
        )
        _check_copies(world, name)
        if name.startswith("adopt") and SCENARIOS[name].what == "used":
            [model] = [found for found in librarian.library.index.all_ids() if found.endswith("/used")]
            assert librarian.library.model(model).tags == ["mine"]
            assert not [found for found in librarian.library.index.all_ids() if "/used-" in found]
        check(world, name, before, person)
    return "finished" if finished else "undone"


def _check_copies(world: World, name: str) -> None:
    """Of what is moved or adopted there is one copy; a trash has another."""
    scenario = SCENARIOS[name]
    if scenario.what is None or scenario.source == "stay":
        return
    contents = world.contents()
    for path, data in world.sources[scenario.what].items():
        copies = contents[hashlib.sha256(data).hexdigest()]
        outside = [copy for copy in copies if not copy.startswith("trash/")]
        assert len(outside) == 1, f"one copy of {path.name}, not {copies}"


def _is_finished(world: World, name: str, librarian: Librarian) -> bool:
    scenario = SCENARIOS[name]
    if name.startswith("share"):
        for path in world.library.glob("*/*/c?/metadata.json"):
            notes = json.loads(path.read_text())["notes"]
            assert notes == librarian.models.details(str(path.parent.relative_to(world.library))).notes
            assert notes == f"of {path.parent.name}"
        return not librarian.shares.preview(ShareRequest()).files and not librarian.models.duplicates().groups
    if scenario.what is not None:
        folder = {"set": "big"}.get(scenario.what, scenario.what)
        places = list(world.library.glob(f"*/*/{folder}/metadata.json"))
        if "in place" in name:
            places = list(world.library.glob("in-place/new-*/metadata.json"))
        files = world.sources[scenario.what]
        done = {
            "stay": lambda path: path.exists(),
            "go": lambda path: not path.exists(),
            "link": lambda path: path.is_symlink(),
        }[scenario.source]
        return len(places) == 1 and all(map(done, files))
    if name.startswith("import an upload"):
        return len(list(world.library.glob("*/*/sent/metadata.json"))) == 1
    links = [
        path
        for path in (world.models / "upscale_models").iterdir()
        if path.is_symlink() and world.library in Path(os.path.realpath(path)).parents
    ]
    if name.startswith("sync"):
        return len(links) == (2 if name == "sync" else 3)
    if name.startswith("delete"):
        return not list(world.library.glob(f"*/*/{'b' if 'notes' in name else 'c'}/metadata.json"))
    return not links


def prepare(world: World, template: Path) -> None:
    """Bring the world back to how it was."""
    shutil.rmtree(world.root, ignore_errors=True)
    shutil.copytree(template, world.root, symlinks=True)
