from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import LibrarianError
from ..library import Library, Model
from ..library.library import sha256_of
from ..settings import App
from ..storage.disk import same_filesystem
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
            wanted: set[str] = set()
            own = [link for link in registered if link.app == app.app]
            in_place = {(link.model_id, link.source): link for link in own}
            for model in models:
                for planned in self._wanted(app, model, in_place, wanted, plan):
                    wanted.add(planned.target)
                    self._look(planned, by_target.get((app.app, planned.target)), plan)
            self._removals(own, wanted, model_ids, plan)
        plan.total_actions = len(plan.to_create) + len(plan.broken_to_remove) + len(plan.orphaned_to_remove)
        plan.warnings = list(dict.fromkeys(plan.warnings))
        return plan

    def _wanted(
        self, app: App, model: Model, registered: dict[tuple[str, str], Link], wanted: set[str], plan: Plan
    ) -> Iterator[PlannedLink]:
        folder = app.link_folder(model.subtype)
        if folder is None:
            if model.subtype == "unknown":
                plan.warnings.append(
                    f"{model.official_name}: its type is unknown. Set it, so that it can be linked."
                )
            return
        for file in self._library.files(model.model_id):
            source = Path(file.path)
            if not source.is_file():
                plan.errors.append(f"{model.official_name}: {source} is not there.")
                continue
            if not same_filesystem(source, folder):
                plan.warnings.append(
                    f"{folder} lies on another drive than the library: links to it are absolute and break "
                    "when either drive gets another mount point."
                )
            name = source.name
            target = folder / name
            known = registered.get((model.model_id, str(source)))
            if known is not None and Path(known.target).name == name and folder in Path(known.target).parents:
                target = Path(known.target)
            elif str(target) in wanted or self._taken_by_other_model(target, source):
                target = folder / model.cleaned_name / name
            yield PlannedLink(
                model_id=model.model_id,
                app=app.app,
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

    def _removals(self, own: list[Link], wanted: set[str], model_ids: list[str] | None, plan: Plan) -> None:
        removed = {removal.link_id for removal in plan.broken_to_remove}
        for link in own:
            if link.target in wanted or link.link_id in removed:
                continue
            if model_ids is not None and link.model_id not in model_ids:
                continue
            state = state_of(Path(link.target), Path(link.source), link.link_type)
            if state == "broken":
                plan.broken_to_remove.append(_removal(link))
            elif state in ("ok", "missing"):
                plan.orphaned_to_remove.append(_removal(link))


def _removal(link: Link) -> PlannedRemoval:
    return PlannedRemoval(link_id=link.link_id, model_id=link.model_id, app=link.app, target=link.target)


def _existing(target: Path) -> str:
    return (
        f"link to {os.readlink(target)}" if target.is_symlink() else "folder" if target.is_dir() else "file"
    )
