from __future__ import annotations

import filecmp
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ..errors import NotFoundError, StorageError
from ..library import Library, Model
from ..library.compact import TextSet
from ..library.index import IndexedFile
from ..settings import App
from ..storage.disk import existing_ancestor, storage_error
from ..storage.names import collision_key, is_text, shown
from ..storage.roots import is_within, real_path
from ..turns import in_turns
from .links import Glance, fingerprint, is_link, is_reachable
from .mappings import Mappings, Wishes
from .overrides import OverridesError, fits
from .records import Conflict, ConflictReason, Link, Plan, PlannedLink, PlannedRemoval
from .registered import RegisteredFolders
from .registry import Registry

COMPARED_BYTES = 256 * 1024 * 1024
"""Up to this size a file in the way is read whole to see whether it holds the model's own bytes."""

SAMPLE_BYTES = 1024 * 1024
"""How much of a larger one is read at its beginning, middle and end; the rest before it is replaced."""

Fingerprint = tuple[int, ...] | None


class Prepared(NamedTuple):
    """A plan, what lay at each of its places before it was looked at, and how many of its links stand already."""

    plan: Plan
    seen: dict[str, Fingerprint]
    standing: int = 0


class _Place(NamedTuple):
    """Something of a model that should be linked under a name in a folder."""

    name: str
    source: Path
    size: int
    sha256: str | None


class Planner:
    """Says which links should be, and what stands in their way. Changes nothing."""

    def __init__(
        self, library: Library, registry: Registry, mappings: Mappings, folders: RegisteredFolders
    ) -> None:
        self._library = library
        self._registry = registry
        self._mappings = mappings
        self._folders = folders

    def plan(self, apps: Iterable[App], model_ids: list[str] | None) -> Prepared:
        """The plan for some apps and for all owned models, or only for those of ``model_ids``.

        With ``model_ids`` the work grows with their number, and not with that of all models or links.
        """
        plan = Plan(plan_id=uuid.uuid4().hex)
        prepared = Prepared(plan, {})
        registered = {str(folder.path) for folder in self._folders.all()} if self._folders.possible else set()
        for app in apps:
            wishes, problems = self._mappings.wishes(app)
            plan.errors += [*app.problems, *map(str, problems)]
            view = _AppView(app, self._library.root, plan, self._registry)
            view.registered = set() if app.added else registered
            for model in in_turns(self._library.index.owned_models(model_ids)):
                self._plan_model(view, model, wishes, prepared)
            self._removals(view, self._registry.each(app=app.app, model_ids=model_ids), prepared)
            view.release()
        plan.total_actions = len(plan.to_create) + len(plan.broken_to_remove) + len(plan.orphaned_to_remove)
        plan.warnings = list(dict.fromkeys(plan.warnings))
        plan.errors = list(dict.fromkeys(plan.errors))
        plan.bytes_to_win = sum(one.size_bytes for one in plan.conflicts if one.reason == "same_bytes")
        return prepared

    def _plan_model(self, view: _AppView, model: Model, wishes: Wishes, prepared: Prepared) -> None:
        try:
            for planned in self._wanted(view, model, wishes):
                view.claim(planned.target)
                self._look(planned, view, prepared)
        except OverridesError as error:
            view.plan.errors.append(f"{model.official_name}: {error}. Until that is mended it is not linked.")
        except (NotFoundError, StorageError) as error:  # such as gone from the index meanwhile
            view.keep_links_of(model.model_id)
            view.plan.errors.append(error.message)
        except OSError as error:
            view.keep_links_of(model.model_id)
            view.plan.errors.append(storage_error(error, view.app.root).message)

    def _wanted(self, view: _AppView, model: Model, wishes: Wishes) -> Iterator[PlannedLink]:
        files = self._library.files(model.model_id)
        # The id is the name of a real folder; what a metadata.json calls the model may be anything.
        own_name = model.model_id.rpartition("/")[2]
        is_folder = model.model_format == "diffusion-folder"
        name = own_name if is_folder or not files else Path(files[0].path).name
        wanted = wishes.of(model, name)
        if not wanted:
            if model.subtype == "unknown":
                view.plan.warnings.append(
                    f"{model.official_name}: its type is unknown. Set it, so that it can be linked."
                )
            return
        if not fits(self._library.metadata.folder(model.model_id), view.app):
            return
        places = self._places(model, own_name, files)
        for place in places:
            if not place.source.exists():
                raise NotFoundError(
                    f"{model.official_name}: {place.source} is not there. Connect its drive, or scan the library."
                )
        for wish in wanted:
            folder = view.usable(wish.folder)
            if folder is not None:
                view.warn_of_other_drive(folder, places[0].source)
                yield from self._in_folder(view, model, own_name, folder, places)

    def _places(self, model: Model, own_name: str, files: list[IndexedFile]) -> list[_Place]:
        """What of a model is linked: its folder, or its files side by side."""
        folder = self._library.metadata.folder(model.model_id)
        if model.model_format == "diffusion-folder":
            return [_Place(own_name, folder, sum(file.size for file in files), None)]
        places = [_Place(Path(f.path).name, Path(f.path), f.size, f.sha256) for f in files]
        if model.model_format == "sharded-set":
            known = {place.source for place in places}
            places += [
                _Place(index.name, index, index.stat().st_size, None)
                for index in sorted(folder.glob("*.index.json"))
                if index not in known
            ]
        return places

    def _in_folder(
        self, view: _AppView, model: Model, own_name: str, folder: Path, places: list[_Place]
    ) -> Iterator[PlannedLink]:
        """A model's links in one folder: under their own names, or together in a folder of the model's name."""
        links = view.links_of(model.model_id)
        known = [_link_below(folder, place, links) for place in places]
        taken = any(
            link is None
            and (view.is_claimed(folder / place.name) or self._taken_by_other(folder / place.name, place))
            for link, place in zip(known, places, strict=True)
        )
        for link, place in zip(known, places, strict=True):
            target = folder / own_name / place.name if taken else folder / place.name
            yield PlannedLink(
                model_id=model.model_id,
                app=view.app.app,
                target=link.target if link is not None else str(target),
                source=str(place.source),
                size_bytes=place.size,
                file_hash=place.sha256,
            )

    def _taken_by_other(self, target: Path, place: _Place) -> bool:
        """Whether the place holds a link to another model of this library."""
        if not is_link(target):
            return False
        real = real_path(target)
        return real != place.source and self._library.root in real.parents and real.exists()

    def _look(self, planned: PlannedLink, view: _AppView, prepared: Prepared) -> None:
        target, source = Path(planned.target), Path(planned.source)
        plan = prepared.plan
        seen = fingerprint(target)
        if seen is None and str(source.parent) in view.registered:
            plan.to_skip_exists.append(planned)  # ComfyUI looks into the model's folder itself
            return
        if seen is None:
            plan.to_create.append(planned)
        elif view.glance.leads_to(target, source):
            plan.to_skip_exists.append(planned)
            return
        else:
            registered = view.link_at(target)
            if registered is not None and view.glance.state_of(registered) == "broken":
                plan.to_create.append(planned)  # our own link to a file that is gone: it is made anew
                plan.broken_to_remove.append(_removal(registered))
            else:
                reason = self._reason(planned, target, source)
                plan.conflicts.append(Conflict(**asdict(planned), reason=reason, existing=_existing(target)))
        prepared.seen[planned.target] = seen

    def _reason(self, planned: PlannedLink, target: Path, source: Path) -> ConflictReason:
        if is_link(target):
            return "linked_to_different_source"
        try:
            is_copy = target.is_file() and self._holds_same_bytes(planned, target, source)
        except OSError:
            is_copy = False
        return "same_bytes" if is_copy else "file_exists"

    def _holds_same_bytes(self, planned: PlannedLink, target: Path, source: Path) -> bool:
        status = target.stat()
        if status.st_size != source.stat().st_size:
            return False
        at = self._library.index.file_at(str(target))
        if at is not None:
            file = at[1]
            if file.state[:2] == (status.st_size, status.st_mtime_ns) and file.sha256:
                return planned.file_hash is not None and file.sha256 == planned.file_hash
        if status.st_size <= COMPARED_BYTES:
            return filecmp.cmp(target, source, shallow=False)
        return _samples(target, status.st_size) == _samples(source, status.st_size)

    def _removals(self, view: _AppView, links: Iterable[Link], prepared: Prepared) -> None:
        plan = prepared.plan
        removed = {removal.link_id for removal in plan.broken_to_remove}
        for link in links:
            if link.target in view.wanted or link.link_id in removed:
                continue
            seen = fingerprint(Path(link.target))
            state = view.glance.state_of(link)
            if state == "broken":
                plan.broken_to_remove.append(_removal(link))
            elif state == "missing" and not is_reachable(Path(link.target), view.app.root):
                plan.warnings.append(f"{link.target} cannot be looked at. Connect its drive.")
                continue
            elif state in ("ok", "missing") and not link.pinned:
                plan.orphaned_to_remove.append(_removal(link))
            else:
                continue
            prepared.seen[link.target] = seen


class _AppView:
    """One app while a plan is made: its links, and the places that are given away."""

    def __init__(self, app: App, library_root: Path, plan: Plan, registry: Registry) -> None:
        self.app = app
        self.plan = plan
        self.glance = Glance()
        self.registered: set[str] = set()
        """Folders of models that this app looks into itself."""
        self.wanted = TextSet()
        self._registry = registry
        self._claimed = TextSet()
        self._library_root = library_root
        self._usable: dict[Path, Path | None] = {}
        self._device: dict[Path, int] = {}

    def release(self) -> None:
        """Let go of what grows with the library."""
        self.wanted.release()
        self._claimed.release()

    def links_of(self, model_id: str) -> list[Link]:
        """The registered links of a model in this app."""
        return self._registry.links(app=self.app.app, model_ids=[model_id])

    def link_at(self, target: Path) -> Link | None:
        """The link registered at a place, whichever model it is of."""
        return self._registry.link_at(self.app.app, target)

    def keep_links_of(self, model_id: str) -> None:
        """Let the links of a model be, since it cannot be said where they belong."""
        for link in self.links_of(model_id):
            if self.glance.state_of(link) == "ok":
                self.wanted.add(link.target)

    def usable(self, folder: Path) -> Path | None:
        """The folder, if links can be made in it; else nothing, and an error in the plan."""
        if folder not in self._usable:
            problem = self._problem(folder)
            if problem:
                self.plan.errors.append(problem)
            self._usable[folder] = None if problem else folder
        return self._usable[folder]

    def _problem(self, folder: Path) -> str | None:
        if not is_text(str(folder)):
            return (
                f"{shown(str(folder))} is no valid Unicode. Rename it, so that models can be linked into it."
            )
        if not can_be_made(folder, self.app.root):
            return f"{folder} is not there. Connect its drive, or make the folder."
        if is_within(real_path(folder), self._library_root):
            return f"{folder} leads into the library itself, so nothing is linked there."
        return None

    def warn_of_other_drive(self, folder: Path, source: Path) -> None:
        """Warn once if a folder and what is linked into it lie on different filesystems."""
        device = self._device.get(folder)
        if device is None:
            device = self._device[folder] = existing_ancestor(folder).stat().st_dev
        if source.stat().st_dev != device:
            self.plan.warnings.append(
                f"{folder} lies on another drive than the library: links to it are absolute and break "
                "when either drive gets another mount point."
            )

    def claim(self, target: str) -> None:
        """Give a place away. Names that differ only in case are one place on some filesystems."""
        self.wanted.add(target)
        self._claimed.add(collision_key(target))

    def is_claimed(self, target: Path) -> bool:
        """Whether the place is given away already."""
        return collision_key(str(target)) in self._claimed


def _link_below(folder: Path, place: _Place, links: list[Link]) -> Link | None:
    """Which of a model's registered links leads to its file from below a folder, under a name that may stay."""
    for link in links:
        target = Path(link.target)
        if (
            link.source == str(place.source)
            and folder in target.parents
            and (link.pinned or target.name == place.name)
        ):
            return link
    return None


def can_be_made(folder: Path, app_root: Path) -> bool:
    """Whether an app's folder is there, or may be made: not where a drive is not plugged in."""
    return folder.is_dir() or (app_root.is_dir() and is_within(folder, app_root))


def _samples(path: Path, size: int) -> list[bytes]:
    with open(path, "rb") as file:
        found = []
        for start in (0, size // 2, size - SAMPLE_BYTES):
            file.seek(start)
            found.append(file.read(SAMPLE_BYTES))
        return found


def _removal(link: Link) -> PlannedRemoval:
    return PlannedRemoval(link_id=link.link_id, model_id=link.model_id, app=link.app, target=link.target)


def _existing(target: Path) -> str:
    if is_link(target):
        return f"link to {os.readlink(target)}"
    return "folder" if target.is_dir() else "file"
