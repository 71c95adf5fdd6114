"""What is recognised, as a table for people: ``docs/formats.md``, written from the rules.

``python -m model_librarian.core.formats.table docs/formats.md`` writes it; a test holds it in step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from . import gguf, onnx, pickle_text, pickles, safetensors
from .name_rules import BASE_NAMES, FAMILY_NAMES, SUBTYPE_NAMES, WHOLE_NAMES
from .pipelines import PIPELINES
from .rules import GGUF_SUBTYPES, METADATA_ARCHITECTURES, METADATA_KEYS, MODEL_TYPES
from .tensor_rules import ARCHITECTURES, ROLES, Fits

_MB = 1024 * 1024


def recognised() -> str:
    """The whole document, in Markdown."""
    return "\n".join(
        [
            "# What Model Librarian recognises",
            "",
            "Written from the rules in `core/formats/` by",
            "`python -m model_librarian.core.formats.table docs/formats.md`; a test says when it is out of step.",
            "",
            "A file is what its content says it is; its name and extension have no say in that. What it is *for* is",
            "told by the header's own key-values, then by its tensors, and only then by its name. In a pickle no code",
            "is run: its text is read for tensor names, types and shapes.",
            "",
            "## File formats",
            "",
            *_table(
                ("format", "tier", "what is read", "bounds"),
                (
                    (
                        "safetensors",
                        "safe",
                        "key-values, tensors; offsets are checked",
                        f"header {safetensors.MAX_HEADER_BYTES // _MB} MB, {safetensors.MAX_TENSORS:,} tensors",
                    ),
                    (
                        "GGUF 2, 3",
                        "safe",
                        "key-values, tensors; either byte order",
                        f"{gguf.MAX_ENTRIES:,} tensors, {gguf.MAX_ARRAY_ITEMS:,} texts in arrays",
                    ),
                    (
                        "ONNX",
                        "safe",
                        "producer, version, properties",
                        f"{onnx.MAX_FIELDS} fields of {onnx.MAX_FIELD_BYTES // 1024} KB",
                    ),
                    (
                        "torch ZIP",
                        "pickle",
                        "tensors named in `data.pkl`, without unpickling",
                        f"ZIP directory {pickles.MAX_DIRECTORY_BYTES // _MB} MB, "
                        f"pickle {pickle_text.MAX_PICKLE_BYTES // _MB} MB, "
                        f"{pickle_text.MAX_OPERATIONS:,} operations",
                    ),
                    ("raw pickle", "pickle", "tensors named in it, without unpickling", "the same"),
                ),
            ),
            "",
            "## What a file is for",
            "",
            "The first row whose tensors are all there decides. A number stands for any number.",
            "",
            *_table(
                ("what", "folder", "tensors"),
                ((role.what, f"`{role.subtype}`", _fits(role.fits)) for role in ROLES),
            ),
            "",
            "## Networks",
            "",
            "Where no row above fits, the network also tells the folder. The names are those of the network itself,",
            "without the prefixes of wrappers and trainers; the same rows tell the family of LoRAs, ControlNets and",
            "checkpoints.",
            "",
            *_table(
                ("family", "base model", "folder", "tensors"),
                (
                    (network.family, network.base_model, f"`{network.subtype}`", _fits(network.fits))
                    for network in ARCHITECTURES
                ),
            ),
            "",
            "## Key-values",
            "",
            f"Read in this order: {', '.join(f'`{key}`' for key in METADATA_KEYS)}.",
            "",
            *_table(
                ("begins with", "family", "base model"),
                ((f"`{start}`", family, base) for start, (family, base) in METADATA_ARCHITECTURES),
            ),
            "",
            "GGUF architectures: "
            + ", ".join(f"`{name}` → `{folder}`" for name, folder in GGUF_SUBTYPES.items())
            + ".",
            "",
            "## Names",
            "",
            "Asked last. Regular expressions over the words of the name: `ponyXL-v6` is `ponyxl v 6` and",
            "`pony xl v 6`.",
            "",
            *_table(
                ("words", "unless", "folder"),
                (
                    (
                        f"`{_cell(rule.words)}`",
                        f"`{_cell(rule.unless)}`" if rule.unless else "",
                        f"`{rule.subtype}`",
                    )
                    for rule in SUBTYPE_NAMES
                ),
            ),
            "",
            "Whole names: "
            + ", ".join(f"`{name}` → `{folder}`" for name, folder in WHOLE_NAMES.items())
            + ".",
            "",
            "Names of base models, beside which only versions, sizes, precisions and the like may stand:",
            "",
            *_table(
                ("words", "unless", "folder"),
                (
                    (
                        f"`{_cell(rule.words)}`",
                        f"`{_cell(rule.unless)}`" if rule.unless else "",
                        f"`{rule.subtype}`" if rule.subtype else "either of two: unknown",
                    )
                    for rule in BASE_NAMES
                ),
            ),
            "",
            "Families and base models by name:",
            "",
            *_table(
                ("words", "family", "base model"),
                ((f"`{_cell(words)}`", family, base) for words, (family, base) in FAMILY_NAMES),
            ),
            "",
            "## Diffusers folders",
            "",
            "A folder with a `model_index.json` is one model. The class that it names tells the family; where the",
            "folder's name fits that family, it may tell the base model more closely.",
            "",
            *_table(
                ("class begins with", "family", "base model"),
                ((f"`{start}`", family, base) for start, (family, base) in PIPELINES),
            ),
            "",
            "## Folders",
            "",
            *_table(
                ("folder", "model type"), ((f"`{folder}`", kind) for folder, kind in MODEL_TYPES.items())
            ),
            "",
        ]
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _fits(fits: Fits) -> str:
    parts = [f"`{text}`" for text in fits.all_of]
    parts += [f"no `{text}`" for text in fits.none_of]
    if fits.width is not None:
        parts.append(f"`{fits.width[0]}` is {fits.width[2]} wide (axis {fits.width[1]})")
    if fits.depth is not None:
        parts.append(f"`{fits.depth[0]}` goes up to {fits.depth[1]} or further")
    return ", ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m model_librarian.core.formats.table docs/formats.md")
    Path(sys.argv[1]).write_text(recognised(), encoding="utf-8")
