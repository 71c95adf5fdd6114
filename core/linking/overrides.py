"""``overrides.json`` beside a model: for which versions of an app it is."""

from __future__ import annotations

import json
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from ..settings import App

OVERRIDES_NAME = "overrides.json"
MAX_OVERRIDES_BYTES = 64 * 1024


class OverridesError(Exception):
    """An ``overrides.json`` that cannot be understood; its model is linked nowhere until it can."""


def fits(folder: Path, app: App) -> bool:
    """Whether the model in ``folder`` is for this version of an app.

    The file maps an app's id or kind to a PEP 440 specifier, such as ``{"comfyui": ">=0.3.64,<1"}``, also
    below a key ``version_ranges``. A version that is not known fits every specifier. Raises
    `OverridesError`.
    """
    path = folder / OVERRIDES_NAME
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_OVERRIDES_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise OverridesError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_OVERRIDES_BYTES:
        raise OverridesError(f"{path} is larger than 64 KB")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OverridesError(f"{path} is not JSON ({error})") from error
    ranges = content.get("version_ranges", content) if isinstance(content, dict) else content
    if not isinstance(ranges, dict) or not all(isinstance(text, str) for text in ranges.values()):
        raise OverridesError(f'{path} does not map apps to version ranges, such as {{"comfyui": ">=0.3.64"}}')
    specifiers = {}
    for name, text in ranges.items():
        try:
            specifiers[name] = SpecifierSet(text)
        except InvalidSpecifier as error:
            raise OverridesError(f"{path} at «{name}»: {text!r} is no PEP 440 version range") from error
    specifier = specifiers.get(app.app, specifiers.get(app.kind))
    if specifier is None:
        return True
    try:
        return specifier.contains(Version(app.version), prereleases=True)
    except InvalidVersion:
        return True
