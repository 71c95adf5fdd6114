"""Mappings: which models belong in which folder of which app, as data.

A mapping is a file ``{app}_{version}_{variant}.json``. Those of a person lie in ``mappings`` in the data
folder; one for each kind of app ships with the package. In file names ``any`` stands for the version ``*``,
which is no character for a file's name on Windows.
"""

from __future__ import annotations

import fnmatch
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InvalidRequestError, NotFoundError
from ..library import Model
from ..settings import FOLDER_ALIASES, App
from ..storage.atomic import make_directories, write_atomic
from ..storage.disk import storage_error
from ..storage.names import collision_key

PRESETS = Path(__file__).parent / "presets"
SCHEMA = Path(__file__).parent / "mapping.schema.json"
ANY = "*"
_ANY_IN_NAMES = "any"
MEGABYTE = 1_000_000
MAX_MAPPING_BYTES = 1024 * 1024

_APP = r"^\w[\w.+() -]*$"  # no {0,99}: of so many kinds of letters that takes 25 ms to compile
_PART = r"[A-Za-z0-9][A-Za-z0-9.+-]{0,62}"
"""What a version or a variant is called: no ``_``, which separates them in the file's name."""


class Filters(BaseModel):
    """Which models a rule wants. Each list means any of its values; an empty one means every model.

    Values are compared without regard to case. A model with one of ``exclude_tags`` is never wanted. Sizes
    are of all the model's files, in megabytes of 1,000,000 bytes.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_type: list[str] = Field(default_factory=list)
    subtype: list[str] = Field(default_factory=list)
    families: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    exclude_tags: list[str] = Field(default_factory=list)
    base_model: list[str] = Field(default_factory=list)
    min_size_mb: float | None = Field(default=None, ge=0)
    max_size_mb: float | None = Field(default=None, ge=0)

    @field_validator("model_type", "subtype", "families", "tags", "exclude_tags", "base_model", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def want(self, model: Model) -> bool:
        """Whether a model passes."""
        if self.tags or self.exclude_tags:
            tags = _folded(model.tags)
            if tags & _folded(self.exclude_tags) or (self.tags and not tags & _folded(self.tags)):
                return False
        wanted = (
            (self.model_type, model.model_type),
            (self.families, model.family),
            (self.base_model, model.base_model),
        )
        if any(values and value.casefold() not in _folded(values) for values, value in wanted):
            return False
        if self.subtype and _subtype(model.subtype) not in {_subtype(value) for value in self.subtype}:
            return False
        size = model.size_bytes / MEGABYTE
        return (self.min_size_mb is None or size >= self.min_size_mb) and (
            self.max_size_mb is None or size <= self.max_size_mb
        )


class Rule(BaseModel):
    """Models that belong in one folder of an app.

    ``target_subdir`` is relative to the app's root, with ``/``. ``patterns`` are globs for the name of the
    model's main file, or of its folder. ``link_type`` says whether a model's files are linked, or, for
    diffusion folders, the folder itself. Of the rules that want a model, those with the highest ``priority``
    get it.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    target_subdir: str = Field(min_length=1, max_length=1000)
    patterns: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    link_type: Literal["file", "directory"] = "file"
    filters: Filters = Field(default_factory=Filters)
    enabled: bool = True
    priority: int = 0

    @field_validator("target_subdir")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        parts = value.replace("\\", "/").split("/")
        if value.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in value:
            raise ValueError("must be a folder below the app's root, without «..»")
        return "/".join(part for part in parts if part not in ("", ".")) or "."

    def want(self, model: Model, name: str) -> bool:
        """Whether the rule wants a model whose main file, or folder, has this name."""
        folder = model.model_format == "diffusion-folder"
        return (
            self.enabled
            and folder == (self.link_type == "directory")
            and any(fnmatch.fnmatchcase(name.casefold(), pattern.casefold()) for pattern in self.patterns)
            and self.filters.want(model)
        )


class Mapping(BaseModel):
    """The rules for one app, or for one kind of app.

    ``app`` is the id of an app or its kind. ``version`` is the app's exact version, or ``*`` for any.
    """

    model_config = ConfigDict(extra="forbid")

    app: str = Field(pattern=_APP, max_length=100)
    version: str = Field(default=ANY, pattern=rf"^(\*|{_PART})$")
    variant: str = Field(default="default", pattern=rf"^{_PART}$")
    description: str = Field(default="", max_length=2000)
    rules: list[Rule]

    @property
    def name(self) -> str:
        """What the mapping is called, and its file without the ending."""
        return "_".join((self.app, self.version, self.variant))


class NamedMapping(BaseModel):
    """A mapping with its name. ``source`` says whether a person wrote it or it ships with Librarian."""

    name: str
    source: Literal["person", "preset"]
    mapping: Mapping


class MappingProblem(BaseModel):
    """A mapping that cannot be used: which file, where in it, and why."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        where = f" at «{self.key}»" if self.key else ""
        return f"{self.file}{where}: {self.reason}. This mapping is not used until it is mended."


class MappingReport(BaseModel):
    """Every mapping that can be used, and what is wrong with the others."""

    mappings: list[NamedMapping]
    problems: list[MappingProblem]


class MappingError(InvalidRequestError):
    """A mapping's file cannot be used."""

    code = "invalid_mapping"


class Wish(NamedTuple):
    """A rule with the folder that it means in one app."""

    rule: Rule
    folder: Path


class Wishes:
    """The rules that hold for one app, found by the subtype that they want."""

    def __init__(self, wishes: Iterable[Wish]) -> None:
        self.all = tuple(wishes)
        self._of_any: list[Wish] = []
        self._of_subtype: dict[str, list[Wish]] = {}
        for wish in self.all:
            subtypes = {_subtype(value) for value in wish.rule.filters.subtype}
            for rules in [self._of_subtype.setdefault(one, []) for one in subtypes] or [self._of_any]:
                rules.append(wish)

    def of(self, model: Model, name: str) -> list[Wish]:
        """The folders that a model belongs in: those of the rules with the highest priority that want it.

        ``name`` is that of its main file, or of its folder.
        """
        rules = [*self._of_subtype.get(_subtype(model.subtype), ()), *self._of_any]
        fitting = [wish for wish in rules if wish.rule.want(model, name)]
        highest = max((wish.rule.priority for wish in fitting), default=0)
        return [wish for wish in fitting if wish.rule.priority == highest]


class Mappings:
    """The mappings of a person, over those that ship with the package."""

    def __init__(self, folder: Path, presets: Path = PRESETS) -> None:
        self._folder = folder
        self._presets = presets
        self._lock = threading.Lock()

    def report(self) -> MappingReport:
        """Every mapping that can be used, and what is wrong with the others.

        A name may be there twice: a person's mapping replaces the preset of its name folder by folder.
        """
        found: list[NamedMapping] = []
        problems: list[MappingProblem] = []
        for source, folder in (("person", self._folder), ("preset", self._presets)):
            seen: set[str] = set()
            for path in _files(folder):
                try:
                    mapping = read_mapping(path)
                except MappingFileError as error:
                    problems.append(error.problem)
                    continue
                if mapping.name in seen:
                    reason = f"another file holds {mapping.name}, too"
                    problems.append(MappingProblem(file=path.name, key="", reason=reason))
                    continue
                seen.add(mapping.name)
                found.append(
                    NamedMapping.model_validate({"name": mapping.name, "source": source, "mapping": mapping})
                )
        return MappingReport(mappings=sorted(found, key=lambda named: named.name), problems=problems)

    def get(self, name: str) -> NamedMapping:
        """One mapping, rather the person's than the preset of its name.

        Raises `NotFoundError`, `MappingError` for one that cannot be used.
        """
        wanted = _spelled(name)
        report = self.report()
        found = {named.source: named for named in report.mappings if named.name == wanted}
        if "person" in found:
            return found["person"]
        for problem in report.problems:
            if _spelled(problem.file.removesuffix(".json")) == wanted:
                raise MappingError(str(problem))
        if "preset" in found:
            return found["preset"]
        known = ", ".join(named.name for named in report.mappings) or "none"
        raise NotFoundError(f"There is no mapping {name!r}. Known: {known}.")

    def put(self, name: str, mapping: Mapping) -> NamedMapping:
        """Write a person's mapping; its name must be ``{app}_{version}_{variant}``.

        Raises `InvalidRequestError`, `StorageError`.
        """
        if _spelled(name) != mapping.name:
            raise InvalidRequestError(f"The mapping's name is {mapping.name!r}, not {name!r}.")
        path = self._folder / _file_name(mapping.name)
        try:
            with self._lock:
                make_directories(self._folder)
                for other in self._files_of(mapping.name):
                    if other != path:
                        other.unlink()
                text = json.dumps(mapping.model_dump(mode="json"), indent=2, ensure_ascii=False)
                write_atomic(path, text.encode())
        except OSError as error:
            raise storage_error(error, path) from error
        return NamedMapping(name=mapping.name, source="person", mapping=mapping)

    def delete(self, name: str) -> None:
        """Remove a person's mapping, also one that cannot be used. Raises `NotFoundError`, `StorageError`."""
        with self._lock:
            files = self._files_of(_spelled(name))
            if not files:
                raise NotFoundError(
                    f"There is no mapping {name!r} of yours. Those that ship with Librarian stay: a rule of yours "
                    "for the same folder replaces theirs."
                )
            for path in files:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise storage_error(error, path) from error

    def _files_of(self, name: str) -> list[Path]:
        return [path for path in _files(self._folder) if _spelled(path.stem) == name]

    def comfyui_folders(self) -> dict[str, str]:
        """The subtypes that a ComfyUI has folders for, each with the folder's name in ``models``."""
        mapping = read_mapping(self._presets / "comfyui_any_default.json")
        return {
            subtype: Path(rule.target_subdir).name
            for rule in mapping.rules
            for subtype in rule.filters.subtype
        }

    def wishes(self, app: App) -> tuple[Wishes, list[MappingProblem]]:
        """The rules that hold for an app with their folders, and which of its mappings cannot be used.

        Per folder only the rules of the most specific mapping count. The least specific one is made from
        what is there: a folder for each subtype that the app knows.
        """
        report = self.report()
        usable = [named for named in report.mappings if _is_for(named, app)]
        usable.sort(key=lambda named: _precedence(named, app), reverse=True)
        levels = [
            [
                Wish(rule, Path(os.path.normpath(app.root / rule.target_subdir)))
                for rule in named.mapping.rules
            ]
            for named in usable
        ]
        levels.append(_of_what_is_there(app))
        chosen: dict[str, list[Wish]] = {}
        for level in levels:
            here: dict[str, list[Wish]] = {}
            for wish in level:
                here.setdefault(collision_key(str(wish.folder)), []).append(wish)
            for folder, rules in here.items():
                chosen.setdefault(folder, rules)
        problems = [problem for problem in report.problems if _may_concern(problem, app)]
        return Wishes(wish for rules in chosen.values() for wish in rules if wish.rule.enabled), problems


class MappingFileError(Exception):
    """A mapping's file cannot be used; ``problem`` says why."""

    def __init__(self, problem: MappingProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_mapping(path: Path) -> Mapping:
    """Read one file. Raises `MappingFileError`."""

    def problem(key: str, reason: str) -> MappingFileError:
        return MappingFileError(MappingProblem(file=path.name, key=key, reason=reason))

    parts = path.stem.rsplit("_", 2)
    if len(parts) != 3:
        raise problem("", "its name is not {app}_{version}_{variant}.json")
    try:
        if path.stat().st_size > MAX_MAPPING_BYTES:
            raise problem("", "it is larger than 1 MB")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise problem("", f"it cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise problem("", f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise problem("", "it is not a JSON object")
    content.pop("$schema", None)
    app, version, variant = _spelled(path.stem).rsplit("_", 2)
    named = {"app": app, "version": version, "variant": variant}
    for key, value in named.items():
        if content.setdefault(key, value) != value:
            raise problem(key, f"it says {content[key]!r}, but the file's name says {value!r}")
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise problem(".".join(map(str, first["loc"])), first["msg"]) from error


def _of_what_is_there(app: App) -> list[Wish]:
    """A rule for each subtype that the app has a folder for, and for its folders of diffusion folders."""
    subtypes = dict.fromkeys(folder.subtype for folder in app.folders)
    wishes = []
    for subtype in subtypes:
        folder = app.link_folder(subtype)
        assert folder is not None
        rule = Rule(name=subtype, target_subdir=".", filters=Filters(subtype=[subtype]))
        wishes.append(Wish(rule, folder))
    for folder in app.directories[:1]:
        wishes.append(Wish(Rule(name="diffusers", target_subdir=".", link_type="directory"), folder))
    return wishes


def _is_for(named: NamedMapping, app: App) -> bool:
    mapping = named.mapping
    if named.source == "preset" and (not app.added or app.kind == "comfyui"):
        return False  # what this app looks into is known, and the preset only guesses
    return (
        mapping.app in (app.app, app.kind)
        and (mapping.version == ANY or _same_version(mapping.version, app.version))
        and mapping.variant in ("default", app.variant)
    )


def _precedence(named: NamedMapping, app: App) -> tuple[bool, bool, bool, bool]:
    mapping = named.mapping
    return (
        mapping.version != ANY,
        mapping.variant != "default",
        named.source == "person",
        mapping.app == app.app,
    )


def _same_version(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _may_concern(problem: MappingProblem, app: App) -> bool:
    parts = problem.file.rsplit("_", 2)
    return len(parts) != 3 or parts[0] in (app.app, app.kind)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.is_file())
    except OSError:
        return []


def _spelled(name: str) -> str:
    """A mapping's name with ``*`` for any version, however it is spelled."""
    parts = name.rsplit("_", 2)
    if len(parts) == 3 and parts[1] == _ANY_IN_NAMES:
        parts[1] = ANY
    return "_".join(parts)


def _file_name(name: str) -> str:
    app, version, variant = name.rsplit("_", 2)
    return "_".join((app, _ANY_IN_NAMES if version == ANY else version, variant)) + ".json"


def _folded(values: Iterable[str]) -> set[str]:
    return {value.casefold() for value in values}


def _subtype(name: str) -> str:
    return FOLDER_ALIASES.get(name.casefold(), name.casefold())


def json_schema() -> str:
    """The JSON schema of a mapping's file, as it ships with the package."""
    schema = Mapping.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["required"] = ["rules"]
    schema["properties"]["$schema"] = {"type": "string"}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(json_schema(), encoding="utf-8")
