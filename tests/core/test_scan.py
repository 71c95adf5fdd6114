"""What a scan looks at, what it may skip, and that being cut off loses nothing."""

from __future__ import annotations

import json
import os
import shutil

import psutil
import pytest

from model_librarian.core.errors import CancelledError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.library import headers as headers_module
from model_librarian.core.library import owned as owned_module
from model_librarian.core.library import scan as scan_module
from model_librarian.core.library import search as search_module
from model_librarian.core.library import walk as walk_module
from model_librarian.core.storage import mounts


def names(librarian):
    return sorted(model.official_name for model in librarian.models.search(ModelQuery(limit=500)).models)


def looked_into(librarian, monkeypatch, scan):
    """The directories whose files a quick scan compared one by one."""
    found = []
    index = librarian.library.index
    real = index.files_in
    monkeypatch.setattr(index, "files_in", lambda path: found.append(os.path.basename(path)) or real(path))
    scan()
    return found


def test_only_a_changed_folder_is_looked_into(librarian, scan, make_model, models_folder, monkeypatch):
    for folder in ("a", "b", "c"):
        for number in range(3):
            make_model(models_folder / "loras" / folder / f"{folder}{number}.safetensors")
    scan()
    assert looked_into(librarian, monkeypatch, scan) == []
    make_model(models_folder / "loras" / "b" / "b3.safetensors")
    assert looked_into(librarian, monkeypatch, scan) == ["b"]
    path = models_folder / "loras" / "c" / "c0.safetensors"
    path.write_bytes(path.read_bytes())  # the folder's own time does not change
    os.utime(path, ns=(1, 1))
    assert looked_into(librarian, monkeypatch, scan) == ["c"]
    assert looked_into(librarian, monkeypatch, scan) == []
    shutil.rmtree(models_folder / "loras" / "a")
    scan()
    assert names(librarian) == ["b0", "b1", "b2", "b3", "c0", "c1", "c2"]
    (models_folder / "loras" / "b").rename(models_folder / "loras" / "z")
    before = {model.model_id for model in librarian.models.search(ModelQuery()).models}
    scan()
    assert {model.model_id for model in librarian.models.search(ModelQuery()).models} == before


@pytest.mark.parametrize("by_name", [True, False])
def test_a_walk_finds_the_same_whichever_way_the_system_looks(
    librarian, scan, make_model, models_folder, tmp_path, monkeypatch, by_name
):
    if by_name and os.scandir not in os.supports_fd:
        pytest.skip("this system looks by whole paths alone")
    if not by_name:
        monkeypatch.setattr(os, "supports_fd", os.supports_fd - {os.scandir})
    loras = models_folder / "loras"
    make_model(loras / "plain.safetensors")
    make_model(loras / "below" / "inner.SAFETENSORS")
    make_model(tmp_path / "other" / "linked.safetensors")
    (loras / "link.safetensors").symlink_to(tmp_path / "other" / "linked.safetensors")
    make_model(tmp_path / "elsewhere" / "far.safetensors")
    (loras / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    make_model(loras / "one.safetensors")
    os.link(loras / "one.safetensors", loras / "two.safetensors")
    (loras / "gone.safetensors").symlink_to(tmp_path / "nowhere.safetensors")
    make_model(loras / "folder.safetensors" / "in a folder.safetensors")
    scan()
    assert names(librarian) == ["far", "in a folder", "inner", "link", "one", "plain"]
    assert looked_into(librarian, monkeypatch, scan) == ["loras"]  # a hard link's other name may have come
    assert names(librarian) == ["far", "in a folder", "inner", "link", "one", "plain"]


def test_looking_into_folders_leaves_none_of_them_open(librarian, make_model, models_folder):
    for number in range(20):
        make_model(models_folder / "loras" / f"{number}" / f"{number}.safetensors")
    walk = walk_module.Walk(
        librarian.library.root, librarian.library.index, librarian.places.indexed_in_place(), []
    )
    before = psutil.Process().num_fds() if os.name == "posix" else psutil.Process().num_handles()
    assert sum(len(listing) for _, listing in walk.directories()) == 20
    after = psutil.Process().num_fds() if os.name == "posix" else psutil.Process().num_handles()
    assert after <= before


@pytest.mark.parametrize("shape", ["links/loras", "links/models/loras", "links/models/loras/../loras"])
def test_a_watched_folder_that_is_reached_by_links_is_the_folder_itself(tmp_path, shape):
    (tmp_path / "real" / "loras").mkdir(parents=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "loras").symlink_to(tmp_path / "real" / "loras", target_is_directory=True)
    (tmp_path / "links" / "models").symlink_to(tmp_path / "real", target_is_directory=True)
    paths = [
        tmp_path / shape,
        tmp_path / "real" / "loras",
        tmp_path / "missing" / "loras",
        tmp_path / "links" / "..",
    ]
    assert walk_module._real_paths(paths) == [os.path.realpath(path) for path in paths]
    assert walk_module._real_paths(paths)[0] == str(tmp_path / "real" / "loras")


def test_a_new_preview_is_noticed(librarian, scan, make_model, models_folder):
    path = make_model(models_folder / "loras" / "style.safetensors")

    def shown():
        [model] = librarian.models.search(ModelQuery()).models
        return model.preview_url is not None, model.preview_is_video

    scan()
    assert shown() == (False, False)
    path.with_suffix(".preview.mp4").write_bytes(b"film")
    scan()
    assert shown() == (True, True)
    path.with_suffix(".png").write_bytes(b"png")  # a picture comes first
    scan()
    assert shown() == (True, False)
    for ending in (".png", ".preview.mp4"):
        path.with_suffix(ending).unlink()
    scan()
    assert shown() == (False, False)


@pytest.fixture
def while_headers_are_read(monkeypatch):
    """Have something done once while a scan has read a header and not written it down yet."""

    def arrange(done):
        real, once = headers_module.with_header, [done]

        def with_header(entry, *more):
            read = real(entry, *more)
            if once:
                once.pop()()
            return read

        monkeypatch.setattr(headers_module, "with_header", with_header)

    return arrange


def test_a_model_adopted_while_headers_are_read_is_not_listed_where_it_was(
    librarian, scan, finished, make_model, models_folder, while_headers_are_read
):
    path = make_model(models_folder / "loras" / "style.safetensors")
    request = ImportRequest.model_validate({"items": [{"paths": [str(path)], "mode": "adopt"}]})
    while_headers_are_read(lambda: finished(librarian.imports.start(request)))
    scan()
    assert path.is_symlink()
    [model] = librarian.models.search(ModelQuery()).models
    assert model.storage == "owned"


def test_an_edit_while_headers_are_read_stays(
    librarian, scan, make_model, models_folder, while_headers_are_read
):
    make_model(models_folder / "loras" / "style.safetensors")

    def edit():
        [model] = librarian.models.search(ModelQuery()).models
        librarian.library.edit(model.model_id, {"official_name": "My own name"})

    while_headers_are_read(edit)
    scan()
    assert names(librarian) == ["My own name"]
    assert librarian.library.index.count_unread() == 0


def test_the_other_name_of_a_hard_link_takes_over(librarian, scan, make_model, models_folder):
    first = make_model(models_folder / "loras" / "a" / "first.safetensors")
    (models_folder / "loras" / "b").mkdir()
    os.link(first, models_folder / "loras" / "b" / "second.safetensors")
    scan()
    [listed] = names(librarian)
    (models_folder / "loras" / ("a" if listed == "first" else "b") / f"{listed}.safetensors").unlink()
    scan()
    assert names(librarian) == ["second" if listed == "first" else "first"]


def test_links_into_the_library_are_not_listed_again(librarian, scan, owned, models_folder):
    path = librarian.library.main_path(owned)
    (models_folder / "loras" / "link.safetensors").symlink_to(path)
    os.link(path, models_folder / "vae" / "hard.safetensors")
    scan()
    assert librarian.models.search(ModelQuery()).total == 1


def test_a_forgotten_model_whose_file_is_there_is_found_again(librarian, scan, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    librarian.library.forget([librarian.models.search(ModelQuery()).models[0].model_id])
    assert names(librarian) == []
    scan()
    assert names(librarian) == ["ae"]


def test_an_owned_file_replaced_in_place_loses_its_hash(librarian, scan, owned):
    path = librarian.library.main_path(owned)
    before = librarian.library.hash_of(owned)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(7, 7))
    scan()
    assert librarian.library.hash_of(owned) != before
    assert librarian.library.index.contains(owned)


def replace(path, change):
    """Put another file of the same size and time in a file's place."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= change
    other = path.with_name("other")
    other.write_bytes(data)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("where", ["owned", "watched", "elsewhere"])
@pytest.mark.parametrize("keeps_inodes", [True, False])
@pytest.mark.parametrize("kind", ["quick", "deep"])
def test_a_file_of_the_same_size_and_time_in_a_file_s_place(
    request,
    librarian,
    scan,
    make_model,
    models_folder,
    downloads,
    finished,
    monkeypatch,
    where,
    keeps_inodes,
    kind,
):
    """Its inode tells, where the filesystem keeps them; where it makes them up anew, no hash is lost for that."""
    monkeypatch.setattr("model_librarian.core.library.walk.keeps_inodes", lambda _: keeps_inodes)
    if where == "owned":
        model_id = request.getfixturevalue("owned")
    elif where == "watched":
        make_model(models_folder / "vae" / "ae.safetensors")
        scan()
        [model_id] = librarian.library.index.all_ids()
    else:
        source = make_model(downloads / "ae.safetensors")
        items = [{"paths": [str(source)], "mode": "in-place"}]
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
        [model_id] = job.result["imported"]
    before = librarian.library.hash_of(model_id)
    scan()
    replace(librarian.library.main_path(model_id), 1)
    scan(kind)
    assert (librarian.library.hash_of(model_id) != before) == keeps_inodes
    assert scan()["models_indexed"] == 0


def test_inodes_are_asked_for_by_filesystem(monkeypatch, tmp_path):
    for fstype, kept in (
        ("ext4", True),
        ("ntfs", True),
        ("exfat", False),
        ("vfat", False),
        ("fuse.sshfs", False),
    ):
        monkeypatch.setattr(mounts, "mounts", lambda _, fstype=fstype: [mounts.Mount("/", fstype, "disk")])
        assert mounts.keeps_inodes(tmp_path) == kept


def test_what_another_machine_wrote_is_taken_over(librarian, scan, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    model_id = librarian.models.search(ModelQuery()).models[0].model_id
    librarian.models.edit(model_id, {"notes": "mine"})
    path = librarian.library.root / model_id / "metadata.json"
    content = json.loads(path.read_text())
    content["tags"] = ["from elsewhere"]
    path.write_text(json.dumps(content))
    scan()
    assert librarian.models.search(ModelQuery(q="elsewhere")).total == 1


@pytest.mark.parametrize("stop_after", [1, 4, 9, 17])
def test_a_scan_that_is_cut_off_is_taken_up_again(
    librarian, scan, make_model, models_folder, monkeypatch, stop_after
):
    monkeypatch.setattr(scan_module, "FIRST_BATCH", 2)
    monkeypatch.setattr(scan_module, "BATCH", 3)
    for number in range(12):
        make_model(models_folder / "loras" / str(number % 3) / f"m{number}.safetensors")
    job = JobContext(Job(id="x", kind="scan"), lambda _: None)
    calls = iter(range(1000))

    def check():
        if next(calls) >= stop_after:
            raise CancelledError("stop")

    monkeypatch.setattr(job, "check_cancelled", check)
    with pytest.raises(CancelledError):
        librarian.library.quick_scan(librarian.places.indexed_in_place(), job)
    shutil.rmtree(models_folder / "loras" / "1")
    scan()
    assert len(names(librarian)) == 8
    assert librarian.library.index.count_unread() == 0


def test_a_deep_scan_that_is_cut_off_leaves_every_model(librarian, scan, owned, make_model, models_folder):
    make_model(models_folder / "vae" / "ae.safetensors")
    scan()
    job = JobContext(Job(id="x", kind="scan"), lambda _: None)
    job.request_cancel()
    with pytest.raises(CancelledError):
        librarian.library.deep_scan(librarian.places.indexed_in_place(), job)
    assert len(names(librarian)) == 2


def test_a_deep_scan_writes_only_what_differs(librarian, scan, owned):
    assert scan("deep")["models_indexed"] == 0
    with librarian.library._database.write() as db:
        db.execute("UPDATE models SET metadata = replace(metadata, 'up', 'down')")
    assert scan("deep")["models_indexed"] == 1
    assert librarian.models.details(owned).official_name == "up"


def test_names_of_every_kind(librarian, scan, make_model, models_folder):
    strange = ["emoji 🎨", "עברית", "x" * 243, "new\nline", "tab\tquote'\"", "ends with ."]
    for name in strange:
        make_model(models_folder / "loras" / f"{name}.safetensors")
    scan()
    assert len(names(librarian)) == len(strange)
    scan()
    assert len(names(librarian)) == len(strange)


def test_a_name_that_is_no_text_is_reported_and_disturbs_no_other(librarian, scan, make_model, models_folder):
    make_model(models_folder / "loras" / "good.safetensors")
    for bad in (b"/bad \xff\xfe.safetensors", b"/bad \xff folder"):
        path = os.fsencode(models_folder / "loras") + bad
        if bad.endswith(b"folder"):
            os.mkdir(path)
            path += b"/inside.safetensors"
        with open(path, "wb") as file:
            file.write(b"x")
    for _ in range(2):
        errors = scan()["errors"]
        assert len(errors) == 2
        assert all("Rename it" in error for error in errors)
        assert names(librarian) == ["good"]


def test_a_folder_that_cannot_be_read_takes_nothing_out_of_the_index(librarian, scan, owned, monkeypatch):
    real = owned_module.folders_in

    def fail(path):
        if path.endswith("vision/esrgan"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(owned_module, "folders_in", fail)
    [error] = scan()["errors"]
    assert "cannot be read" in error
    assert librarian.library.index.contains(owned)
    monkeypatch.undo()
    shutil.rmtree(librarian.library.root / "vision")
    scan()
    assert not librarian.library.index.contains(owned)


def test_a_watched_folder_that_cannot_be_read_takes_nothing_out_of_the_index(
    librarian, scan, make_model, models_folder, monkeypatch
):
    from model_librarian.core.library.walk import Walk

    make_model(models_folder / "loras" / "a" / "b" / "style.safetensors")
    scan()
    real = Walk._list

    def fail(self, directory, *rest):
        if directory.endswith("loras/a"):
            raise PermissionError(13, "Permission denied")
        return real(self, directory, *rest)

    monkeypatch.setattr(Walk, "_list", fail)
    for kind in ("quick", "deep"):
        [error] = scan(kind)["errors"]
        assert "cannot be read" in error
        assert names(librarian) == ["style"]
    monkeypatch.undo()
    shutil.rmtree(models_folder / "loras" / "a")
    scan()
    assert names(librarian) == []


def test_a_folder_that_an_app_names_for_two_kinds_is_scanned_once(surroundings, make_model, models_folder):
    [app] = surroundings.apps
    first = next(folder for folder in app.folders if folder.subtype == "loras")
    again = first.model_copy(update={"subtype": "checkpoints"})
    app = app.model_copy(update={"folders": [*app.folders, again]})
    surroundings = surroundings.model_copy(update={"apps": [app]})
    make_model(first.path / "a.safetensors")
    librarian = Librarian(surroundings)
    changed = []
    for _ in range(3):
        job = librarian.jobs.wait(librarian.scans.start("quick").id, timeout=60)
        changed.append(job.result["models_indexed"])
        make_model(first.path / f"b{len(changed)}.safetensors")
    librarian.close()
    assert changed == [1, 1, 1]


def test_what_is_listed_is_found_at_once_while_its_words_are_put_off(
    librarian, models_folder, make_model, monkeypatch, scan
):
    """Most of the library is new: SQLite searches, until the words of all are read in the background."""
    monkeypatch.setattr(search_module, "AT_ONCE", 10)
    monkeypatch.setattr(scan_module, "FIRST_BATCH", 10)
    monkeypatch.setattr(scan_module, "BATCH", 10)
    for number in range(60):
        make_model(models_folder / "loras" / f"Juggernaut {number:02}.safetensors")
    search, seen = librarian.library._search, []

    def look(name, change):
        if name == "librarian.library" and len(seen) < 6:
            found = [librarian.models.search(ModelQuery(q=text)).total for text in ("jugger", "")]
            seen.append((search._words is None, found))

    librarian.events.subscribe(look)
    scan()
    assert seen == [(True, [number, number]) for number in (10, 20, 30, 40, 50, 60)]
    search.load()  # or waits for the background
    assert len(search._words) == 60
    assert librarian.models.search(ModelQuery(q="juggernot")).match == "fuzzy"

    for number in range(60, 68):  # few beside those that are known: taken over one by one
        make_model(models_folder / "loras" / f"Juggernaut {number:02}.safetensors")
    words = search._words
    scan()
    assert search._words is words
    assert librarian.models.search(ModelQuery(q="jugger")).total == 68
