# ruff: noqa: E501 -- bombs are rows of a table
"""No file whatever crashes a reader, runs code, or costs more than its share of memory and time."""

from __future__ import annotations

import asyncio
import collections
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_librarian.core import turns
from model_librarian.core.errors import LibrarianError, NotAModelError
from model_librarian.core.formats import classify, identify
from model_librarian.core.formats.pickle_scan import scan_pickles

# --- files as torch writes them, without torch --------------------------------------------------------


class Storage:
    def __init__(self, key: int) -> None:
        self.key = key


class Weight:
    """Pickles like a tensor."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __reduce__(self) -> tuple[Any, ...]:
        strides = (1,) * len(self.shape)
        return rebuild, (Storage(0), 0, self.shape, strides, False, collections.OrderedDict())


def rebuild() -> None:
    """Stands for torch's function of that name."""


class Half:
    """Stands for torch's class of that name."""


class TorchPickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    def persistent_id(self, value: Any) -> Any:
        return ("storage", Half, str(value.key), "cpu", 4) if isinstance(value, Storage) else None

    def save_global(self, value: Any, name: str | None = None) -> None:
        known = {rebuild: "torch._utils _rebuild_tensor_v2", Half: "torch HalfStorage"}.get(value)
        if known is None:
            super().save_global(value, name)
            return
        module, _, function = known.partition(" ")
        self.write(f"c{module}\n{function}\n".encode())
        self.memoize(value)

    dispatch: ClassVar[dict[type, Any]] = {
        **pickle._Pickler.dispatch,
        type(rebuild): save_global,
        type: save_global,
    }  # type: ignore[attr-defined]


def torch_pickle(value: object, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    TorchPickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def torch_zip(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, extra: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        for number in range(extra):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{number}"), b"")
    return path


def legacy_torch(data: bytes) -> bytes:
    """What torch wrote before version 1.6: three small pickles, the object, the storages."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + data + pickle.dumps(["0"], 2) + b"\0" * 64


@pytest.mark.parametrize("kind", ["safetensors", "gguf", "torch"])
def test_who_reads_a_header_of_real_size_lets_the_event_loop_have_turns(tmp_path, monkeypatch, kind):
    """One of 3,000 tensors, such as a checkpoint's, takes some ten milliseconds, and there are thousands of files."""
    many = 3000
    path = tmp_path / f"model.{kind}"
    if kind == "torch":
        torch_zip(path, torch_pickle({f"blocks.{n}.weight": Weight(4, 4) for n in range(many)}), extra=many)
    elif kind == "gguf":
        tokens = gguf_text(b"tokens") + struct.pack("<IIQ", 9, 8, 50_000) + gguf_text(b"a token") * 50_000
        infos = b"".join(gguf_text(b"%d" % n) + struct.pack("<IQQIQ", 2, 4, 4, 1, 0) for n in range(many))
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, many, 1) + tokens + infos + bytes(64))
    else:
        header = json.dumps(
            {
                f"{n}": {"dtype": "F16", "shape": [4, 4], "data_offsets": [32 * n, 32 * n + 32]}
                for n in range(many)
            }
        ).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(32 * many))
    asked = []
    monkeypatch.setattr(turns, "_wait_for", asked.append)
    monkeypatch.setattr(turns, "_loops", [asyncio.new_event_loop()])
    monkeypatch.setattr(turns.give_way, "__defaults__", (0.0,))  # as if each run were over at once
    facts = identify(path)
    assert len(facts.tensors) == many and len(set(map(id, facts.tensors.values()))) == 1
    assert len(asked) >= many / 2
    asked.clear()
    classify(facts, path.name)
    assert len(asked) >= many / 16
    if kind == "torch":
        asked.clear()
        scan_pickles(path)
        assert len(asked) >= many / 16
    turns._loops[0].close()


ESRGAN = collections.OrderedDict(
    [("conv_first.weight", Weight(64, 3, 3, 3)), ("body.0.rdb1.conv1.weight", Weight(32, 64, 3, 3))]
)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "wrap", [lambda weights: weights, lambda weights: {"params_ema": weights, "iter": 5}]
)
def test_tensors_of_a_torch_file_are_read_without_loading_it(tmp_path, protocol, wrap):
    data = torch_pickle(wrap(ESRGAN), protocol)
    facts = identify(torch_zip(tmp_path / "x.pth", data))
    assert facts.tensors == {
        "conv_first.weight": ("F16", (64, 3, 3, 3)),
        "body.0.rdb1.conv1.weight": ("F16", (32, 64, 3, 3)),
    }
    guess = classify(facts, "x.pth")
    assert (guess.subtype, guess.family, guess.precision) == ("upscale_models", "esrgan", "fp16")
    legacy = tmp_path / "x.ckpt"
    legacy.write_bytes(legacy_torch(data))
    assert identify(legacy).tensors == facts.tensors


class OfPython2(collections.OrderedDict):  # type: ignore[type-arg]
    """Pickles as Python 2 did it: the pairs go to the call, not to what it made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return collections.OrderedDict, ([[key, value] for key, value in self.items()],)


def test_weights_that_python_2_saved_are_read(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_torch(torch_pickle(OfPython2(ESRGAN))))
    assert identify(path).tensors["body.0.rdb1.conv1.weight"] == ("F16", (32, 64, 3, 3))


def test_an_old_checkpoint_tells_its_base_model(tmp_path):
    unet = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    weights = {unet: Weight(320, 768), "first_stage_model.decoder.conv_in.weight": Weight(4, 4, 3, 3)}
    facts = identify(torch_zip(tmp_path / "x.ckpt", torch_pickle({"state_dict": weights, "epoch": 1})))
    guess = classify(facts, "x.ckpt")
    assert (guess.subtype, guess.base_model) == ("checkpoints", "SD 1.5")


def test_embeddings_and_hypernetworks(tmp_path):
    embedding = {"string_to_token": {"*": 265}, "string_to_param": {"*": Weight(2, 768)}, "name": "x"}
    assert (
        classify(identify(torch_zip(tmp_path / "a.pt", torch_pickle(embedding))), "a.pt").subtype
        == "embeddings"
    )
    half = {"linear.0.weight": Weight(4, 768)}
    hypernetwork = {768: (half, dict(half)), "name": "x"}
    assert (
        classify(identify(torch_zip(tmp_path / "b.pt", torch_pickle(hypernetwork))), "b.pt").subtype
        == "hypernetworks"
    )


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_in_a_pickle_is_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    data = pickle.dumps({"weight": Malicious(trap)}, protocol)
    raw = tmp_path / "raw.ckpt"
    raw.write_bytes(data)
    for path in (raw, torch_zip(tmp_path / "zip.pth", data)):
        assert identify(path).security_tier == "pickle"
        classify(identify(path), path.name)
    assert not trap.exists()
    pickle.loads(data)
    assert trap.exists(), "the trap itself must work, or this test says nothing"


# --- bombs --------------------------------------------------------------------------------------------

MEASURE = """
import sys, time
from pathlib import Path
from model_librarian.core.errors import LibrarianError
from model_librarian.core.formats import classify, identify
def used():
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent had in memory when it forked
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    import psutil
    info = psutil.Process().memory_info()
    return getattr(info, "peak_wset", info.rss)
before = used()
started = time.monotonic()
try:
    classify(identify(Path(sys.argv[1])), "x.bin")
except LibrarianError as error:
    print(error.message[:100], file=sys.stderr)
print(used(), used() - before, time.monotonic() - started)
"""


def safetensors(header: bytes, data: int = 0) -> bytes:
    return struct.pack("<Q", len(header)) + header + b"\0" * data


def gguf_text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def many_tensors(count: int, name: str) -> bytes:
    entries = (
        f'"{name}{number}":{{"dtype":"F4","shape":[0,9],"data_offsets":[0,0]}}' for number in range(count)
    )
    return safetensors(("{" + ",".join(entries) + "}").encode())


def gguf_tensors(count: int) -> bytes:
    infos = (gguf_text(b"%0200d" % number) + struct.pack("<IQIQ", 1, 2**60, 0, 0) for number in range(count))
    return b"GGUF" + struct.pack("<IQQ", 3, count, 0) + b"".join(infos)


def gguf_entries(count: int) -> bytes:
    value = gguf_text("é🦙".encode() * 5000)
    entries = (gguf_text(b"%d" % number) + struct.pack("<I", 8) + value for number in range(count))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, count) + b"".join(entries)


def gguf_arrays() -> bytes:
    array = struct.pack("<IQ", 8, 3_900_000) + b"\0" * 8 * 3_900_000
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text(b"tokens") + struct.pack("<I", 9) + array


def zip_of(data: bytes, compression: int = zipfile.ZIP_STORED, extra: int = 0) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return torch_zip(Path(folder, "x"), data, compression, extra).read_bytes()


def growing_pickle() -> bytes:
    """Each step puts all before it twice into a new tuple."""
    return b"\x80\x02N" + b"".join(b"q\x00h\x00h\x00\x86" for _ in range(70_000)) + b"."


def updated_again_and_again() -> bytes:
    """A large dictionary becomes the state of ever more objects."""
    large = b"}(" + b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(60_000)) + b"u"
    return b"\x80\x02" + large + b"q\x00" + b"ca\nb\n)Rh\x00b" * 40_000 + b"."


BOMBS: dict[str, Callable[[], bytes]] = {
    "header of 2^63 bytes": lambda: struct.pack("<Q", 2**63) + b'{"a"' + b"\0" * 100,
    "header of 100 MB": lambda: safetensors(b"{" + b" " * 100_000_000 + b"}"),
    "longest header": lambda: safetensors(b"{" + b" " * (16 * 1024 * 1024 - 2) + b"}"),
    "200,000 tensors": lambda: many_tensors(199_999, ""),
    "200,001 tensors": lambda: many_tensors(200_001, ""),
    "wide names": lambda: many_tensors(32_000, "🦙" + "n" * 400),
    "nested lists": lambda: safetensors(b'{"a":' + b"[" * 7_000_000 + b"]" * 7_000_000 + b"}"),
    "many empty lists": lambda: safetensors(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"),
    "long key-value": lambda: safetensors(b'{"__metadata__":{"a":"' + b"\\u1F999" * 2_300_000 + b'"}}'),
    "backslashes": lambda: safetensors(b'{"__metadata__":{"a":"' + b"\\" * 15_000_000 + b'"}}'),
    "quotes": lambda: safetensors(b'{"__metadata__":{"a":"' + b'\\"' * 4_000_000 + b'"}}'),
    "many key-values": lambda: safetensors(
        b'{"__metadata__":{' + b",".join(b'"%d":"%s"' % (number, b"v" * 100) for number in range(150_000)) + b"}}"
    ),
    "tag frequency": lambda: safetensors(
        json.dumps({"__metadata__": {"ss_tag_frequency": json.dumps({str(n): 1 for n in range(600_000)})}}).encode()
    ),
    "GGUF: 2^62 tensors": lambda: b"GGUF" + struct.pack("<IQQ", 3, 2**62, 1),
    "GGUF: a text of 2^62 bytes": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62),
    "GGUF: 100,000 tensors": lambda: gguf_tensors(100_000),
    "GGUF: 5,000 long values": lambda: gguf_entries(5_000),
    "GGUF: 4,000,000 tokens": gguf_arrays,
    "GGUF: nested arrays": lambda: b"GGUF"
    + struct.pack("<IQQ", 3, 0, 1)
    + gguf_text(b"a")
    + struct.pack("<I", 9)
    + struct.pack("<IQ", 9, 2**40) * 100_000,
    "ZIP bomb": lambda: zip_of(b"\x80\x02" + b"]" * 200_000_000, zipfile.ZIP_DEFLATED),
    "ZIP with lzma": lambda: zip_of(b"\x80\x02}q\x00.", zipfile.ZIP_LZMA),
    "ZIP with 30,000 entries": lambda: zip_of(b"\x80\x02}q\x00.", extra=30_000),
    "ZIP with 200,000 entries": lambda: zip_of(b"\x80\x02}q\x00.", extra=200_000),
    "pickle that grows": growing_pickle,
    "pickle that copies": updated_again_and_again,
    "pickle that gives one list to many": lambda: b"\x80\x02](" + b"](I1\nNe" * 30_000 + b"eq\x00\x85q\x01" + b"ccollections\nOrderedDict\nh\x01R" * 60_000 + b".",
    "pickle of long texts": lambda: b"\x80\x02" + b"".join(b"X" + struct.pack("<I", 250_000) + b"a" * 250_000 for _ in range(80)) + b".",
    "pickle with a text of 4 GB": lambda: b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"a" * 100,
    "pickle with a number of 30 MB": lambda: b"\x80\x02L" + b"9" * 30_000_000 + b"L\n.",
    "pickle of 9,000,000 marks": lambda: b"\x80\x02" + b"(" * 9_000_000 + b"1" * 1000 + b".",
    "ONNX: 2^62 bytes of graph": lambda: b"\x08\x07\x3a" + b"\xff" * 8 + b"\x3f" + b"\0" * 100,
    "ONNX: nothing but numbers": lambda: b"\x08\x07" * 5_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(tmp_path, name):
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    command = [sys.executable, "-c", MEASURE, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    whole, more, seconds = map(float, ran.stdout.split())
    print(
        f"{name}: {whole / 1e6:.0f} MB in all, {more / 1e6:.0f} MB more, {seconds:.2f} s; {ran.stderr.strip()}"
    )
    assert whole < 200_000_000
    assert seconds < 20


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}, "b": {"dtype": "F16", "shape": [2], "data_offsets": [2, 6]}}, 6, "overlap"),
        ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}, "b": {"dtype": "F16", "shape": [2], "data_offsets": [6, 10]}}, 10, "gap"),
        ({"a": {"dtype": "F16", "shape": [2], "data_offsets": [4, 0]}}, 4, "size that its shape"),
        ({"a": {"dtype": "F16", "shape": [-2], "data_offsets": [0, 4]}}, 4, "size that its shape"),
        ({"a": {"dtype": "F16", "shape": [2**70], "data_offsets": [0, 2**71]}}, 4, "cut short"),
        ({"a": {"dtype": ["F16"], "shape": {"x": 1}, "data_offsets": [0, 4]}}, 4, "wrongly"),
        ({"a": {"dtype": "F16", "shape": [1] * 1000, "data_offsets": [0, 2]}}, 2, "size that its shape"),
    ],
)  # fmt: skip
def test_headers_that_contradict_themselves_are_refused(tmp_path, header, data, says):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(json.dumps(header).encode(), data))
    with pytest.raises(NotAModelError, match=says):
        identify(path)


def test_a_tensor_named_twice_is_refused(tmp_path):
    entry = b'"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}'
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(b"{" + entry + b"," + entry + b"}", 2))
    with pytest.raises(NotAModelError, match="twice"):
        identify(path)


def test_any_spelling_of_a_header_is_read(tmp_path):
    header = ' { "__metadata__" : { "a" : "\\"b\\"\\n" , "n" : 1 } , "t\\u00e9\\"" : { "data_offsets" : [ 0 , 2 ] , "shape" : [ 1 ] , "dtype" : "F16" , "x": {} } } '
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(header.strip().encode() + b"   ", 2))
    facts = identify(path)
    assert facts.metadata == {"a": '"b"\n', "n": "1"}
    assert facts.tensors == {'té"': ("F16", (1,))}


def test_the_threads_of_others_get_their_turn(tmp_path):
    """Reading and classifying a large header never holds the interpreter for long."""
    import threading

    path = tmp_path / "x.safetensors"
    path.write_bytes(many_tensors(100_000, "model.diffusion_model.blocks.0.attn."))
    turns = 0
    running = True

    def watch() -> None:
        nonlocal turns
        while running:
            time.sleep(0.001)
            turns += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    classify(identify(path), path.name)
    running = False
    watcher.join()
    assert turns > 20  # one call of `json.loads` for the whole header would leave it two or three


# --- fuzzing ------------------------------------------------------------------------------------------


def samples() -> Iterator[bytes]:
    """One valid file of each format."""
    header = {
        "__metadata__": {"modelspec.title": "x", "ss_tag_frequency": '{"1_a": {"tag": 3}}'},
        "double_blocks.0.img_attn.qkv.weight": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
        "single_blocks.0.linear1.weight": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
    }
    yield safetensors(json.dumps(header).encode(), 12)
    yield (
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 3)
        + gguf_text(b"general.architecture") + struct.pack("<I", 8) + gguf_text(b"flux")
        + gguf_text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + gguf_text(b"a") + gguf_text(b"b")
        + gguf_text(b"scores") + struct.pack("<IIQff", 9, 6, 2, 1, 2)
        + gguf_text(b"blk.0.weight") + struct.pack("<IQQIQ", 2, 32, 2, 8, 0)
        + b"\0" * 64
    )  # fmt: skip
    yield zip_of(torch_pickle({"state_dict": ESRGAN}))
    yield zip_of(torch_pickle({"state_dict": ESRGAN}, 4), zipfile.ZIP_DEFLATED)
    yield torch_pickle(ESRGAN)
    yield legacy_torch(torch_pickle(ESRGAN, 4))
    yield b"\x08\x07\x12\x07pytorch\x1a\x032.0\x3a\x04\x12\x02ab\x42\x02\x10\x11\x72\x06\x0a\x01a\x12\x01b"


SAMPLES = list(samples())


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_samples_are_valid(tmp_path, number):
    path = tmp_path / "x.bin"
    path.write_bytes(SAMPLES[number])
    assert identify(path).format


def test_onnx_says_who_made_it(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(SAMPLES[-1])
    facts = identify(path)
    assert (facts.format, facts.security_tier) == ("onnx", "safe")
    assert facts.metadata == {
        "ir_version": "7",
        "producer_name": "pytorch",
        "producer_version": "2.0",
        "a": "b",
    }


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_never_crash_the_readers(data):
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.sampled_from(("change", "insert", "remove", "repeat", "number")))
        if kind == "change" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(max_size=12))
        elif kind == "remove":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif kind == "repeat":
            content[at:at] = content[at : at + 40] * data.draw(st.integers(1, 5))
        else:
            number = data.draw(st.sampled_from((0, 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)))
            content[at : at + 8] = struct.pack("<Q", number)
    assert_survives(bytes(content))


DAMAGE_MANY = """
import random, struct, sys
from pathlib import Path
from model_librarian.core.errors import LibrarianError
from model_librarian.core.formats import classify, identify
folder = Path(sys.argv[1])
samples = [path.read_bytes() for path in sorted(folder.glob("sample-*"))]
chosen, path = random.Random(int(sys.argv[2])), folder / "damaged.bin"
for _ in range(4000):
    content = bytearray(chosen.choice(samples))
    for _ in range(chosen.randint(1, 4)):
        at = chosen.randrange(len(content))
        number = chosen.choice((2**16, 2**24, 2**27, 2**31, 2**32 - 1, 2**40, 2**62, chosen.getrandbits(64)))
        size = chosen.choice((1, 2, 4, 8))
        content[at : at + size] = struct.pack("<Q", number)[:size]
    path.write_bytes(content + bytes(chosen.choice((0, 0, 5_000_000))))
    try:
        classify(identify(path), path.name)
    except LibrarianError:
        pass
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells what a process used at most")
@pytest.mark.parametrize("seed", range(2))
def test_no_damage_makes_a_reader_take_much_memory(tmp_path, seed):
    """Lengths and counts are changed to large ones, and the file is long enough for some of them."""
    for number, sample in enumerate(SAMPLES):
        (tmp_path / f"sample-{number}").write_bytes(sample)
    command = [sys.executable, "-c", DAMAGE_MANY, str(tmp_path), str(seed)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) * 1024 < 200_000_000


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4
            )
        ),
        max_leaves=20,
    ),
    st.integers(0, 40),
)
def test_no_json_crashes_the_safetensors_reader(value, size):
    assert_survives(safetensors(json.dumps({"a": value, "__metadata__": value}).encode(), size))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([bytes([code]) for code in range(256)] + [b"}", b"(", b"X\x01\0\0\0a", b"K\x01", b"q\0", b"h\0", b"ca\nb\n", b"R", b"b", b"u", b"s", b"Q", b"\x86"]), max_size=60))  # fmt: skip
def test_no_pickle_crashes_the_reader(operations):
    assert_survives(b"\x80\x02" + b"".join(operations))


def assert_survives(content: bytes) -> None:
    """Reading ends in facts that can be classified, or in an error that helps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.bin")
        path.write_bytes(content)
        try:
            facts = identify(path)
        except LibrarianError as error:
            assert error.message
        else:
            guess = classify(facts, path.name)
            guess.model_dump_json()
            facts.model_dump()
