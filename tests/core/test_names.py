"""Names: any text gives one that every filesystem takes, and no two models share one."""

from __future__ import annotations

import hashlib
import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_librarian.core.importing.naming import folder_name, model_names
from model_librarian.core.storage.names import (
    collision_key,
    name_with_suffix,
    safe_name,
    visible_name,
)

FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"
}

anything = st.text(alphabet=st.characters(), max_size=400)
nasty = st.lists(
    st.sampled_from(
        [
            "con", "COM1", "LPT¹", "nul", ".", "..", " ", "/", "\\", ":", "*", "\0", "\n", "\x7f", "\ud800", "\udcff",
            "\ufeff", "\u200d", "\u202e", "\U000e0001", "\ufffe", "\u0378", "\u0301", "e", "é", "ß", "ẞ", "ı", "İ", "K",
            "🎨", "👩‍🎨", "写", "각", "عربي", "x" * 250, "ü" * 120, "safetensors", ".safetensors", "-8f2a",
        ]
    ),
    max_size=8,
).map("".join)  # fmt: skip
texts = anything | nasty


def is_accepted(name: str) -> bool:
    """Whether NTFS, ext4 and APFS all take a name, told by their rules one by one."""
    return (
        name not in ("", ".", "..")
        and not FORBIDDEN & set(name)
        and not name.endswith((".", " "))
        and name.split(".")[0].rstrip(" ").upper() not in RESERVED
        and not any(unicodedata.category(character) in ("Cs", "Cn") for character in name)
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode("utf-8")) <= 255
        and len(name.encode("utf-16-le")) // 2 <= 255
    )


@given(texts)
@example("CON")
@example("com1.tar.safetensors")
@example("nul .x")
@example("a" * 254 + "é.safetensors")
@example("\u200b\u200d")
@example("x" * 250 + ".." + "x" * 250)
def test_any_text_gives_a_name_that_every_filesystem_takes(text):
    name = safe_name(text)
    assert is_accepted(name), ascii(name)
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Model:A", "Model_A"),
        ("Model*A", "Model_A"),
        ("CON.safetensors", "_CON.safetensors"),
        ("name. ", "name"),
        ("cafe\u0301", "café"),
        ("", "model"),
        ("..", "model"),
        ("写实 🎨", "写实 🎨"),
        ("👩\u200d🎨 v1.0.safetensors", "👩\u200d🎨 v1.0.safetensors"),
        ("a\ud800b\udcff", "a_b_"),
        ("a\nb\tc", "a_b_c"),
        ("com¹.tar.gz", "_com¹.tar.gz"),
        ("\u200b", "model"),
    ],
)
def test_names(text, name):
    assert safe_name(text) == name


def test_a_long_name_keeps_its_extension():
    name = safe_name("x" * 400 + ".safetensors")
    assert name.endswith(".safetensors")
    assert len(name) == 255
    assert len(name_with_suffix("ü" * 200, "8f2a").encode()) <= 255


@given(texts)
@example(".CON")
@example(".. .nul.txt")
def test_a_visible_name_is_as_safe_and_starts_with_no_dot(text):
    name = visible_name(text, max_bytes=64)
    assert is_accepted(name), ascii(name)
    assert not name.startswith(".")
    assert len(name.encode()) <= 64


@given(texts, st.sampled_from([4, 8, 16, 64]))
def test_a_suffix_keeps_a_name_safe(text, length):
    name = name_with_suffix(safe_name(text), "8f2a" * (length // 4))
    assert is_accepted(name), ascii(name)
    assert name.endswith("-" + "8f2a" * (length // 4))


@given(texts)
def test_the_disk_at_hand_takes_the_name(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    path = folder / safe_name(text)
    path.touch()
    assert path.name in os.listdir(folder)
    path.unlink()


@given(texts)
def test_what_some_filesystem_takes_for_one_name_has_one_key(text):
    others = (
        text.upper(),
        text.lower(),
        text.casefold(),
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
        f"\ufeff{text}\u200d",
    )
    for other in others:
        assert collision_key(other) == collision_key(text), (ascii(text), ascii(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "CAFE\u0301"),
        ("straße", "STRASSE"),
        ("\u212a", "k"),
        ("a\u200db", "AB"),
        ("ΜΟΣ", "μος"),
        ("ǰ", "J\u030c"),
    ],
)
def test_case_form_and_invisible_characters_collide(one, other):
    assert collision_key(one) == collision_key(other)


def test_other_names_do_not_collide():
    assert (
        len({collision_key(name) for name in ("model_a", "model-a", "model_à", "model_a ", "写", "写实")})
        == 6
    )


@given(
    st.lists(
        st.tuples(texts | st.sampled_from(["Model:A", "Model*A", "model?a", ".CON"]), st.integers(0, 5)),
        max_size=12,
    )
)
@example([("Model:A", 1), ("Model*A", 2), ("model?a", 3)])
@example([("\ufeffx", 1), ("X", 2), (".x", 3)])
def test_models_with_other_bytes_never_share_a_name(models):
    """As an import places them: each takes the first of its names that is not taken."""
    placed: dict[str, int] = {}
    for text, content in dict.fromkeys(models):
        digest = hashlib.sha256(bytes([content])).hexdigest()
        free = (name for name in model_names(text, digest) if collision_key(name) not in placed)
        name = next(free, None)
        if name is None:  # only where the same bytes have all of these names already
            assert content in placed.values()
            continue
        assert is_accepted(name), ascii(name)
        assert not name.startswith(".")
        placed[collision_key(name)] = content


def test_the_second_model_of_a_name_has_a_piece_of_its_hash():
    digest = "8f2a" + "0" * 60
    assert next(model_names("Model:A", digest)) == "Model_A"
    assert list(model_names("Model*A", digest))[1] == "Model_A-8f2a"


@pytest.mark.parametrize("text", [".CON", "..nul", " .com1.v2", "..."])
def test_no_dot_in_front_hides_a_name_that_windows_reserves(text):
    assert is_accepted(folder_name(text))
    assert all(is_accepted(name) for name in model_names(text, "8f2a" * 16))
