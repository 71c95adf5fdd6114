from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import LibrarianError
from ..library import Library, Model
from ..library.library import sha256_of
from ..settings import App
from ..storage.disk import same_filesystem, storage_error
from ..storage.names import collision_key, is_text, shown
from ..storage.roots import is_within, real_path
from .links import leads_to, state_of
from .records import Conflict, ConflictReason, Link, Plan, PlannedLink, PlannedRemoval

COMPARED_BYTES = 256 * 1024 * 1024
"""Up to this size a file in the way is read to see whether it holds the model's own bytes."""


class Planner:
    """Says which links should be, and what stands in their way. Changes nothing.

    The mapping is made from what is there: a model belongs into the folder that an app has for its
    subtype. An app without such a folder does not want it.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    def plan(self, apps: Iterable[App], registered: list[Link], model_ids: list[str] | None) -> Plan:
        """The plan for some apps and for all owned models, or only for those of ``model_ids``."""
        plan = Plan(plan_id=uuid.uuid4().hex)
        models = list(self._library.index.owned_models(model_ids))
        by_target = {(link.app, link.target): link for link in registered}
        for app in apps:
            view = _AppView(
                app, self._library.root, [link for link in registered if link.app == app.app], plan
            )
            for model in models:
                try:
                    for planned in self._wanted(view, model, plan):
                        view.claim(planned.target)
                        self._look(planned, by_target.get((app.app, planned.target)), plan)
                except OSError as error:
                    plan.errors.append(storage_error(error, app.root).message)
            self._removals(view, model_ids, plan)
        plan.total_actions = len(plan.to_create) + len(plan.broken_to_remove) + len(plan.orphaned_to_remove)
        plan.warnings = list(dict.fromkeys(plan.warnings))
        return plan

    def _wanted(self, view: _AppView, model: Model, plan: Plan) -> Iterator[PlannedLink]:
        folder = view.folder(model.subtype)
        if folder is None:
            if model.subtype == "unknown":
                plan.warnings.append(
                    f"{model.official_name}: its type is unknown. Set it, so that it can be linked."
                )
            return
        for file in self._library.files(model.model_id):
            source = Path(file.path)
            if not source.is_file():
                plan.errors.append(
                    f"{model.official_name}: {source} is not there. Connect its drive, or scan the library."
                )
                continue
            if not same_filesystem(source, folder):
                plan.warnings.append(
                    f"{folder} lies on another drive than the library: links to it are absolute and break "
                    "when either drive gets another mount point."
                )
            name = source.name
            target = folder / name
            known = view.link_below(folder, model.model_id, source)
            if known is not None:
                target = Path(known.target)
            elif view.is_claimed(str(target)) or self._taken_by_other_model(target, source):
                # The id is the name of a real folder; what a metadata.json calls the model may be anything.
                target = folder / model.model_id.rpartition("/")[2] / name
            yield PlannedLink(
                model_id=model.model_id,
                app=view.app.app,
                target=str(target),
                source=str(source),
                size_bytes=file.size,
            )

    def _taken_by_other_model(self, target: Path, source: Path) -> bool:
        """Whether the place holds a link to another model of this library."""
        if not target.is_symlink():
            return False
        real = Path(os.path.realpath(target))
        return real != source and self._library.root in real.parents and real.exists()

    def _look(self, planned: PlannedLink, registered: Link | None, plan: Plan) -> None:
        target, source = Path(planned.target), Path(planned.source)
        if not os.path.lexists(target):
            plan.to_create.append(planned)
        elif leads_to(target, source):
            plan.to_skip_exists.append(planned)
        elif (
            registered is not None
            and state_of(target, Path(registered.source), registered.link_type) == "broken"
        ):
            plan.to_create.append(planned)  # our own link to a file that is gone: it is made anew
            plan.broken_to_remove.append(_removal(registered))
        else:
            plan.conflicts.append(
                Conflict(
                    **planned.model_dump(), reason=self._reason(target, source), existing=_existing(target)
                )
            )

    def _reason(self, target: Path, source: Path) -> ConflictReason:
        if target.is_symlink():
            return "linked_to_different_source"
        try:
            size = target.stat().st_size
            if target.is_file() and size == source.stat().st_size and size <= COMPARED_BYTES:
                own = next(
                    (f.sha256 for _, f in self._library.index.files_of_size(size) if f.path == str(source)),
                    None,
                )
                if sha256_of(target) == (own or sha256_of(source)):
                    return "same_bytes"
        except (OSError, LibrarianError):
            pass
        return "file_exists"

    def _removals(self, view: _AppView, model_ids: list[str] | None, plan: Plan) -> None:
        removed = {removal.link_id for removal in plan.broken_to_remove}
        for link in view.links:
            if link.target in view.wanted or link.link_id in removed:
                continue
            if model_ids is not None and link.model_id not in model_ids:
                continue
            state = state_of(Path(link.target), Path(link.source), link.link_type)
            if state == "broken":
                plan.broken_to_remove.append(_removal(link))
            elif state in ("ok", "missing") and not link.pinned:
                plan.orphaned_to_remove.append(_removal(link))


class _AppView:
    """One app while a plan is made: its links, and the places that are given away."""

    def __init__(self, app: App, library_root: Path, links: list[Link], plan: Plan) -> None:
        self.app = app
        self.links = links
        self._by_source: dict[tuple[str, str], list[Link]] = {}
        for link in links:
            self._by_source.setdefault((link.model_id, link.source), []).append(link)
        self.wanted: set[str] = set()
        self._claimed: set[str] = set()
        self._library_root = library_root
        self._plan = plan
        self._folders: dict[str, Path | None] = {}

    def link_below(self, folder: Path, model_id: str, source: Path) -> Link | None:
        """A registered link to a model's file, somewhere below a folder and under a name that may stay."""
        for link in self._by_source.get((model_id, str(source)), ()):
            target = Path(link.target)
            if folder in target.parents and (link.pinned or target.name == source.name):
                return link
        return None

    def folder(self, subtype: str) -> Path | None:
        """Where links of this subtype belong; nothing, and an error in the plan, where that cannot be."""
        if subtype not in self._folders:
            folder = self.app.link_folder(subtype)
            problem = folder and self._problem(folder)
            if problem:
                self._plan.errors.append(problem)
                folder = None
            self._folders[subtype] = folder
        return self._folders[subtype]

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

    def claim(self, target: str) -> None:
        """Give a place away. Names that differ only in case are one place on some filesystems."""
        self.wanted.add(target)
        self._claimed.add(collision_key(target))

    def is_claimed(self, target: str) -> bool:
        """Whether the place is given away already."""
        return collision_key(target) in self._claimed


def can_be_made(folder: Path, app_root: Path) -> bool:
    """Whether an app's folder is there, or may be made: not where a drive is not plugged in."""
    return folder.is_dir() or (app_root.is_dir() and is_within(folder, app_root))


def _removal(link: Link) -> PlannedRemoval:
    return PlannedRemoval(link_id=link.link_id, model_id=link.model_id, app=link.app, target=link.target)


def _existing(target: Path) -> str:
    return (
        f"link to {os.readlink(target)}" if target.is_symlink() else "folder" if target.is_dir() else "file"
    )
