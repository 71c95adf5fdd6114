"""Whatever becomes of the models folders, the next scan lists what a new index would list."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.settings import Surroundings, app_of_models_folder

NAMES = (
    "a.safetensors", "b.safetensors", "style.safetensors", "big-00001-of-00002.safetensors",
    "big-00002-of-00002.safetensors", "x.ckpt", "blob", "a.png", ".hidden.safetensors",
)  # fmt: skip
FOLDERS = ("s1", "s2", "s3")
numbers = count()


def write(path):
    path.write_bytes(save({}, {"number": str(next(numbers))}))


def entries(tree):
    return sorted(path for top in tree for path in top.rglob("*"))


class Disk:
    """A models folder, and a drive that no app looks into; each change names what it is about by number."""

    def __init__(self, root):
        self.tops = [root / "models" / name for name in ("loras", "vae", "text_encoders")]
        self.tops.append(root / "drive")
        for top in self.tops:
            top.mkdir(parents=True)

    def folder(self, number):
        found = [path for path in entries(self.tops) if path.is_dir() and not path.is_symlink()]
        return [*self.tops, *found][number % (len(self.tops) + len(found))]

    def file(self, number):
        found = [path for path in entries(self.tops) if path.is_file()]
        return found[number % len(found)] if found else None

    def free(self, number, names=NAMES):
        """A name that nothing has yet."""
        path = self.folder(number) / names[number % len(names)]
        return None if os.path.lexists(path) else path

    def new(self, one, _other):
        if path := self.free(one):
            write(path)

    def new_pipeline(self, one, _other):
        if path := self.free(one, ("model_index.json",)):
            path.write_text('{"_class_name": "StableDiffusionPipeline"}')

    def new_folder(self, one, _other):
        if path := self.free(one, FOLDERS):
            path.mkdir()

    def replace(self, one, _other):
        if path := self.file(one):
            path.unlink()
            write(path)

    def touch(self, one, other):
        if path := self.file(one):
            os.utime(path, ns=(other, other))

    def rename(self, one, other):
        if (path := self.file(one)) and (target := self.free(other)):
            path.rename(target)

    def move_folder(self, one, other):
        path, target = self.folder(one), self.free(other, FOLDERS)
        if path not in self.tops and target and not target.is_relative_to(path):
            path.rename(target)

    def link(self, one, other):
        if (path := self.file(one)) and (target := self.free(other)):
            target.symlink_to(path)

    def link_folder(self, one, other):
        if target := self.free(other, FOLDERS):
            target.symlink_to(self.folder(one), target_is_directory=True)

    def lead_elsewhere(self, one, other):
        links = [path for path in entries(self.tops) if path.is_symlink() and not path.is_dir()]
        if links and (path := self.file(one)) and path != (link := links[other % len(links)]):
            link.unlink()
            link.symlink_to(path)

    def second_name(self, one, other):
        if (path := self.file(one)) and (target := self.free(other)) and not path.is_symlink():
            os.link(path, target)

    def remove(self, one, _other):
        found = [path for path in entries(self.tops) if not path.is_dir() or path.is_symlink()]
        if found:
            found[one % len(found)].unlink()

    def remove_folder(self, one, _other):
        if (path := self.folder(one)) not in self.tops:
            shutil.rmtree(path)


CHANGES = [name for name in vars(Disk) if not name.startswith("_") and name not in ("folder", "file", "free")]
ROUNDS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from(CHANGES), st.integers(0, 999), st.integers(0, 999)),
            min_size=1,
            max_size=8,
        ),
        st.sampled_from(["quick", "quick", "deep"]),
    ),
    min_size=1,
    max_size=5,
)


class Shelf:
    """A Librarian over the models folder, with an index and a library of its own."""

    def __init__(self, root, name):
        self.librarian = Librarian(
            Surroundings(
                data_dir=root / name,
                library_root=root / f"library {name}",
                apps=[app_of_models_folder(root / "models")],
                allowed_roots=[root / "drive"],
            )
        )

    def listed(self, kind):
        """The files of each model after a scan, with what it is, however it is called."""
        library = self.librarian.library
        scan = library.deep_scan if kind == "deep" else library.quick_scan
        scan(self.librarian.places.indexed_in_place(), JobContext(Job(id="x", kind="scan"), lambda _: None))
        found = []
        for model in self.librarian.models.search(ModelQuery(limit=500)).models:
            files = [(file.path, file.link) for file in library.files(model.model_id)]
            found.append((sorted(files, key=str), model.model_format, bool(model.preview_url)))
        return sorted(found, key=str)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there that not everybody has")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(ROUNDS)
def test_a_scan_lists_what_a_new_index_would(rounds):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        disk, shelf = Disk(root), Shelf(root, "kept")
        try:
            for number, (changes, kind) in enumerate(rounds):
                for change, one, other in changes:
                    getattr(disk, change)(one, other)
                listed = shelf.listed(kind)
                new = Shelf(root, f"new {number}")
                try:
                    assert listed == new.listed("quick")
                finally:
                    new.librarian.close()
                paths = [path for files, _, _ in listed for path, _ in files]
                assert len(paths) == len(set(paths))
        finally:
            shelf.librarian.close()
