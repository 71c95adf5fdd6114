"""ComfyUI's ``extra_model_paths.yaml``: more folders in which it looks for models.

Read as ComfyUI reads it (``utils/extra_config.py``): sections of a kind of model and its folders, one a line,
below ``base_path`` or beside the file; ``is_default`` puts a section's folders first.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

from ..storage.names import is_text

if TYPE_CHECKING:
    import yaml

EXTRA_PATHS_NAME = "extra_model_paths.yaml"
MAX_EXTRA_PATHS_BYTES = 64 * 1024


class ExtraFolder(NamedTuple):
    """A folder for a kind of models, named as the file names it; ``is_default`` puts it before all others."""

    kind: str
    path: Path
    is_default: bool


class ExtraPaths(NamedTuple):
    """The folders that a file names, in its order, and what in it cannot be used: file, line and reason."""

    folders: tuple[ExtraFolder, ...] = ()
    problems: tuple[str, ...] = ()


def read_extra_paths(path: Path) -> ExtraPaths:
    """What the file says; nothing if there is none. A section or line that cannot be used stops only itself."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ExtraPaths()
    except OSError as error:
        return _unusable(path, f"cannot be read ({error.strerror or error})")
    if not S_ISREG(status.st_mode):
        return _unusable(path, "is no file")
    return _read(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=16)
def _read(path: Path, _mtime_ns: int, size: int, _inode: int) -> ExtraPaths:
    """The file as it was at that time: it is looked at with every look at its app."""
    import yaml

    if size > MAX_EXTRA_PATHS_BYTES:
        return _unusable(path, "is larger than 64 KB")
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            root = loader.get_single_node()
            if root is None:
                return ExtraPaths()
            content = loader.construct_document(root)
        finally:
            loader.dispose()
    except OSError as error:
        return _unusable(path, f"cannot be read ({error.strerror or error})")
    except UnicodeDecodeError as error:
        return _unusable(path, f"is not UTF-8 (byte {error.start})")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        return _unusable(path, f"is not YAML ({error.problem or error.context}{line})")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return _unusable(path, f"is not YAML ({' '.join(str(error).split())})")
    if not isinstance(content, dict):
        return _unusable(path, "is not a list of sections, such as «comfyui:» with «base_path:» below it")
    return _Reader(path, root).read(content)


def _unusable(path: Path, what: str) -> ExtraPaths:
    return ExtraPaths(problems=(f"{path} {what}. Its folders are not used until it is mended.",))


class _Reader:
    def __init__(self, path: Path, root: yaml.Node) -> None:
        self._path = path
        self._root = root
        self._folders: list[ExtraFolder] = []
        self._problems: list[str] = []

    def read(self, content: dict[Any, Any]) -> ExtraPaths:
        for name, section in content.items():
            if isinstance(section, dict):
                self._section(name, section)
            elif section is not None:
                self._problem(name, None, "has no folders below it, so it is left out")
        return ExtraPaths(tuple(self._folders), tuple(self._problems))

    def _section(self, name: Any, section: dict[Any, Any]) -> None:
        beside = self._path.parent
        base = section.get("base_path", "")
        if not isinstance(base, str):
            self._problem(name, "base_path", "is no path, so the section is left out")
            return
        base = os.path.expandvars(os.path.expanduser(base))  # noqa: PTH111
        is_default = bool(section.get("is_default", False))
        for kind, lines in section.items():
            if kind in ("base_path", "is_default"):
                continue
            if not isinstance(lines, str) or not isinstance(kind, str):
                self._problem(
                    name, kind, "must be one folder, or several, one on each line after «|»; it is left out"
                )
                continue
            for line in filter(None, lines.split("\n")):
                folder = os.path.normpath(os.path.join(beside, base, line))  # noqa: PTH118
                if "\0" in folder or not is_text(folder):
                    self._problem(name, kind, "is no path, so it is left out")
                elif os.path.dirname(folder) == folder:  # noqa: PTH120
                    self._problem(name, kind, "is a whole drive, so it is left out")
                else:
                    self._folders.append(ExtraFolder(kind, Path(folder), is_default))

    def _problem(self, section: Any, key: Any, reason: str) -> None:
        line, node = _value_of(self._root, section)
        if key is not None and node is not None:
            line = _value_of(node, key)[0] or line
        where = f"«{section}»" if key is None else f"«{key}» of «{section}»"
        self._problems.append(f"{self._path}, line {line}: {where} {reason}.")


def _value_of(node: yaml.Node, key: Any) -> tuple[int, yaml.Node | None]:
    """The line of a key, counted from 1, and its value's node; 0 and nothing where it came by a merge."""
    pairs = node.value if isinstance(node.value, list) else []
    for pair in pairs:
        if isinstance(pair, tuple) and str(pair[0].value) == str(key):
            return pair[0].start_mark.line + 1, pair[1]
    return 0, None
