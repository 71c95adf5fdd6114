"""Which links in the apps' folders are ours by their shape, and a registry made anew from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..library import Library
from ..settings import App
from ..storage.roots import is_within, real_path
from ..turns import in_turns
from .links import destination, is_link, leads_to
from .maker import standing
from .registry import MadeLink, NewLink, Registry, readable_links

logger = logging.getLogger(__name__)


class FoundEntry(NamedTuple):
    """A link or a file in an app's folder. ``leads_to`` is where a link's text leads, which may be nowhere."""

    app: str
    path: Path
    leads_to: Path | None


def entries(apps: Iterable[App], *, only_links: bool = False) -> Iterator[FoundEntry]:
    """Everything in the folders of apps that is no folder, each once; links to folders are not followed.

    With ``only_links`` files are left out: of 100,000 a `Path` for each would take longer than all else.
    """
    seen: set[str] = set()
    for app in apps:
        stack = [str(folder.path) for folder in app.folders] + [*map(str, app.directories)]
        while stack:
            folder = stack.pop()
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            try:
                with os.scandir(folder) as listing:
                    for entry in in_turns(listing):
                        if entry.is_symlink() or (os.name == "nt" and is_link(Path(entry.path))):
                            path = Path(entry.path)
                            yield FoundEntry(app.app, path, destination(path))
                        elif entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                        elif not only_links:
                            yield FoundEntry(app.app, Path(entry.path), None)
            except FileNotFoundError:
                pass  # an app names folders that it does without
            except OSError as error:
                logger.info("%s cannot be looked at: %s", folder, error)


def source_in(library_root: Path, entry: FoundEntry) -> Path | None:
    """What a link leads to inside the library, below a model's folder; nothing for links of others."""
    if entry.leads_to is None:
        return None
    for place in (entry.leads_to, real_path(entry.path)):
        if is_within(place, library_root) and len(place.relative_to(library_root).parts) >= 3:
            return place
    return None


def rebuild(registry: Registry, library: Library, apps: list[App]) -> None:
    """Register the links of a registry that was set aside: those in it that still stand, and those found.

    A link that leads into the library is ours by its shape; so is a second name of a file of it. Which of
    them a mapping asked for is not known any more, so that none of those found is moved by one. The caller
    holds the registry's lock.
    """
    aside = registry.to_rebuild()
    if aside is None:
        return
    made: dict[tuple[str, str], MadeLink] = {}
    for link in readable_links(aside, registry.roots()):
        known = NewLink(
            link.model_id, link.app, Path(link.target), Path(link.source), link.file_hash, pinned=link.pinned
        )
        for one in standing(known):
            made[(link.app, link.target)] = one
    for entry in entries(apps):
        if (entry.app, str(entry.path)) in made:
            continue
        source = source_in(library.root, entry)
        if source is not None:
            model_id = "/".join(source.relative_to(library.root).parts[:3])
        else:
            second = _second_name(library, entry)
            if second is None:
                continue
            model_id, source = second
        digest = next(
            (file.sha256 for file in library.index.files(model_id) if file.path == str(source)), None
        )
        new = NewLink(model_id, entry.app, entry.path, source, digest, pinned=True)
        made.update({(entry.app, str(entry.path)): one for one in standing(new)})
    registry.rebuilt(aside, made.values())
    logger.warning("%d links were found again for the registry kept as %s", len(made), aside)


def _second_name(library: Library, entry: FoundEntry) -> tuple[str, Path] | None:
    """The model and file of the library that an app's file is a second name of."""
    try:
        status = entry.path.lstat()
    except OSError:
        return None
    if status.st_nlink < 2:
        return None
    for model_id, file in library.index.files_of_size(status.st_size):
        if file.folder is None and leads_to(entry.path, Path(file.path)):
            return model_id, Path(file.path)
    return None
