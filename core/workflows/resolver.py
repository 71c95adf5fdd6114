from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import NotFoundError
from ..library import Library, ModelQuery
from ..library.index import IndexedFile
from ..settings import FOLDER_ALIASES, MODEL_EXTENSIONS, App
from .reading import EMBEDDING_ENDINGS, EMBEDDINGS
from .records import ModelReference, Resolution, ResolvedModel

NEAREST = 5

LinkedAt = Callable[[str], Iterable[Path]]
"""Where in an app's folders a model is linked to, by its id."""

Identify = Callable[[str], str]
"""The id of the model that a node of Librarian's own names. Raises `NotFoundError`."""


class _Known(NamedTuple):
    """A model that may be meant, with its main file."""

    model_id: str
    file: IndexedFile


class Resolver:
    """Finds the models that a workflow means, for one app: by path, then hash, then name. Changes nothing."""

    def __init__(self, library: Library, app: App | None, linked_at: LinkedAt, identify: Identify) -> None:
        self._library = library
        self._app = app
        self._linked_at = linked_at
        self._identify = identify

    def resolve(self, reference: ModelReference) -> Resolution:
        """What a reference means, and what is to be done that the app has it."""
        if reference.identity is not None:
            return self._of_own_node(reference, reference.identity)
        if reference.folder == EMBEDDINGS:
            return self._of_prompt(reference)
        return self._of_file(reference)

    def _of_file(self, reference: ModelReference) -> Resolution:
        folder = FOLDER_ALIASES.get(reference.folder, reference.folder)
        result = Resolution(
            folder=folder, name=reference.name, state="unknown", url=reference.url, sha256=reference.sha256
        )
        by_hash = self._by_id(reference) or self._by_hash(reference)
        present = self._present(reference, folder)
        if present is not None:
            path, value = present
            model_id = self._model_at(path)
            differs = bool(reference.sha256) and self._differs(model_id, reference)
            if not (differs and by_hash):
                result.state = "present" if value == reference.name else "elsewhere"
                result.value, result.model_id, result.hash_mismatch = value, model_id, differs
                return result
        chosen = by_hash or self._by_name(reference, folder, result)
        if chosen is not None:
            result.model_id = chosen.model_id
            result.value = self._value(chosen, folder)
            result.state = "in_library" if result.value is None else "elsewhere"
            return result
        if not result.candidates:
            result.candidates = self._nearest(reference, folder)
        if _can_be_had(reference):
            result.state = "downloadable"
        return result

    def _of_prompt(self, reference: ModelReference) -> Resolution:
        """An embedding, which prompts may name without its ending, and which may lie in any subfolder."""
        has_ending = PurePosixPath(reference.name).suffix.lower() in MODEL_EXTENSIONS
        endings = ("",) if has_ending else EMBEDDING_ENDINGS
        names = [reference.name + ending for ending in endings]
        found = [self._of_file(reference.model_copy(update={"name": name})) for name in names]
        for one, name in zip(found, names, strict=True):
            one.name = reference.name
            values = [one.value, *(candidate.value for candidate in one.candidates)]
            if any(_ends_with(value, name) for value in values if value is not None):
                one.state, one.value, one.candidates = "present", reference.name, []
                return one
        ids = {one.model_id: one for one in found if one.model_id}
        if len(ids) == 1:
            return next(iter(ids.values()))
        best = next((one for one in found if one.candidates), found[0])
        best.model_id = best.value = None
        best.state = "downloadable" if _can_be_had(reference) else "unknown"
        return best

    def _of_own_node(self, reference: ModelReference, identity: str) -> Resolution:
        """What a node of Librarian's own names; it takes any model of the library, wherever that lies."""
        try:
            model_id = self._identify(identity)
        except NotFoundError:
            found = self.resolve(reference.model_copy(update={"identity": None}))
            found.identity, found.value = identity, found.model_id
            if found.model_id is not None:
                found.state = "elsewhere"
            elif found.state != "downloadable":
                found.state = "unknown"
            return found
        differs = bool(reference.sha256) and self._differs(model_id, reference)
        return Resolution(
            folder=self._library.summary(model_id).subtype,
            name=reference.name,
            state="present",
            value=identity,
            model_id=model_id,
            url=reference.url,
            sha256=reference.sha256,
            identity=identity,
            hash_mismatch=differs,
        )

    # Where the app looks

    def _folders(self, folder: str) -> Iterator[Path]:
        for one in self._app.folders if self._app else ():
            if not folder or one.subtype == folder:
                yield one.path

    def _present(self, reference: ModelReference, folder: str) -> tuple[Path, str] | None:
        """The file that the app takes for this name, and what the app calls it."""
        relative = PurePosixPath(reference.name.replace("\\", "/"))
        if relative.is_absolute() or ".." in relative.parts:
            return None
        for place in self._folders(folder):
            path = place / relative
            try:
                if path.is_file() and _is_written_so(path):
                    return path, str(relative).replace("/", os.sep)
            except (OSError, ValueError):
                continue
        return None

    def _value(self, known: _Known, folder: str) -> str | None:
        """What the app calls a model, if it lies in or is linked into a folder of that kind."""
        paths = [Path(known.file.shown_as), *self._linked_at(known.model_id)]
        for place in self._folders(folder):
            for path in paths:
                if path.is_relative_to(place) and path.is_file():
                    return str(path.relative_to(place))
        return None

    # What the library knows

    def _by_id(self, reference: ModelReference) -> _Known | None:
        """What Librarian's own nodes name: a model by its id."""
        if not self._library.index.contains(reference.name):
            return None
        return _Known(reference.name, self._library.files(reference.name)[0])

    def _by_hash(self, reference: ModelReference) -> _Known | None:
        if not reference.sha256:
            return None
        for model_id in self._library.index.models_with_hash(reference.sha256.lower()):
            for file in self._library.files(model_id):
                if file.sha256 == reference.sha256.lower():
                    return _Known(model_id, file)
        return None

    def _by_name(self, reference: ModelReference, folder: str, result: Resolution) -> _Known | None:
        """The one model of this name and kind. Of several that differ none is chosen, and all are candidates."""
        name = PurePosixPath(reference.name.replace("\\", "/")).name
        names = [name]
        if reference.url:
            names.append(PurePosixPath(unquote(urlsplit(reference.url).path)).name)
        for wanted in dict.fromkeys(filter(None, names)):
            found = [known for known in self._with_words_of(wanted) if not self._is_other(known, reference)]
            for tier in self._tiers(found, wanted, folder):
                if len({(known.file.sha256 or known.file.size) for known in tier}) == 1:
                    return min(tier, key=lambda known: (self._value(known, folder) is None, known.model_id))
                if tier:
                    result.candidates = [self._shown(known, folder) for known in tier[:NEAREST]]
                    return None
            if found and not result.candidates:
                result.candidates = [self._shown(known, folder) for known in found[:NEAREST]]
        return None

    def _with_words_of(self, name: str) -> list[_Known]:
        extension = PurePosixPath(name).suffix.lower()
        found = []
        for model_id in self._library.index.models_with_file_name(name):
            for file in self._library.files(model_id):
                if PurePosixPath(file.shown_as).suffix.lower() == extension:
                    found.append(_Known(model_id, file))
                    break
        return found

    def _is_other(self, known: _Known, reference: ModelReference) -> bool:
        """Whether the bytes are known not to be those that are meant."""
        digest = known.file.sha256
        return bool(reference.sha256 and digest) and digest != str(reference.sha256).lower()

    def _tiers(self, found: list[_Known], name: str, folder: str) -> Iterator[list[_Known]]:
        """The models of the wanted kind by how well they fit: those of the very name first."""
        group = [known for known in found if not folder or self._subtype(known) in (folder, "unknown")]
        exact = [known for known in group if Path(known.file.shown_as).name == name]
        cased = [known for known in group if Path(known.file.shown_as).name.casefold() == name.casefold()]
        yield from (exact, cased, group)

    def _subtype(self, known: _Known) -> str:
        return self._library.summary(known.model_id).subtype

    def _shown(self, known: _Known, folder: str) -> ResolvedModel:
        summary = self._library.summary(known.model_id)
        return ResolvedModel(
            model_id=known.model_id,
            name=Path(known.file.shown_as).name,
            subtype=summary.subtype,
            size_bytes=summary.size_bytes,
            value=self._value(known, folder),
        )

    def _nearest(self, reference: ModelReference, folder: str) -> list[ResolvedModel]:
        stem = PurePosixPath(reference.name.replace("\\", "/")).stem
        query = ModelQuery(q=stem[:200], subtype=[folder] if folder else [], limit=NEAREST)
        near = self._library.search(query).models
        return [self._shown(_Known(m.model_id, self._library.files(m.model_id)[0]), folder) for m in near]

    def _model_at(self, path: Path) -> str | None:
        for model_id, file in self._library.index.files_in(str(path.parent)):
            if str(path) in (file.path, file.link):
                return model_id
        real = Path(os.path.realpath(path))
        if real != path and real.is_relative_to(self._library.root):
            parts = real.relative_to(self._library.root).parts
            if len(parts) > 3:
                model_id = "/".join(parts[:3])
                return model_id if self._library.index.contains(model_id) else None
        return None

    def _differs(self, model_id: str | None, reference: ModelReference) -> bool:
        digests = {file.sha256 for file in self._library.files(model_id)} if model_id else {None}
        return None not in digests and str(reference.sha256).lower() not in digests


def _can_be_had(reference: ModelReference) -> bool:
    return bool(reference.url) and urlsplit(reference.url).scheme == "https"


def _ends_with(path: str, name: str) -> bool:
    return f"/{path}".replace("\\", "/").endswith(f"/{name}".replace("\\", "/"))


def _is_written_so(path: Path) -> bool:
    """Whether a file that is there has its name in this very case, also where the filesystem does not care."""
    other = path.with_name(path.name.swapcase())
    if other == path or not other.exists():
        return True
    return any(entry.name == path.name for entry in path.parent.iterdir())
