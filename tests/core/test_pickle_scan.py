"""What a pickle would do is told from its bytes; nothing in it is ever carried out."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from model_librarian.core.errors import (
    CancelledError,
    NotAModelError,
    PickleNotAcknowledgedError,
    SourceChangedError,
)
from model_librarian.core.formats import identify, pickle_scan
from model_librarian.core.formats.pickle_names import severity_of
from model_librarian.core.formats.pickle_scan import PickleScan, scan_pickles
from model_librarian.core.importing.records import ImportItem, ImportRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import Model, ModelQuery, ModelSummary
from model_librarian.core.library.pickles import PickleFindings
from model_librarian.core.settings import Surroundings

DATA = Path(__file__).parent / "data" / "torch"


# Pickles that write a file if anybody loads them, and what to hide them in


class Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def executable(marker: Path) -> dict[str, bytes]:
    """Pickles that make ``marker`` when Python loads them, by the trick they use."""
    command = f"echo x>{marker}"
    call = b"(S'" + command.encode() + b"'\ntR"
    short = text(command) + b"\x85R."
    found = {
        f"os.system, protocol {number}": pickle.dumps(Reduced(os.system, command), number)
        for number in range(6)
    }
    found |= {
        f"exec, protocol {number}": pickle.dumps(
            Reduced(builtins.exec, f"open({str(marker)!r}, 'w')"), number
        )
        for number in range(6)
    }
    found |= {
        "os by its own name": b"cos\nsystem\n" + call + b".",
        "Python 2's builtins": b"\x80\x02c__builtin__\neval\n(S'open(" + repr(repr(str(marker)))[1:-1].encode()
        + b", \"w\")'\ntR.",
        "INST": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "names from the memo": b"\x80\x04" + text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + short,
        "names from the memo, out of order": b"\x80\x04" + text("system") + b"q\x070" + text("os")
        + b"r\x4d\x00\x00\x000" + text("collections") + b"\x940j\x4d\x00\x00\x00h\x07\x93" + short,
        "a place in the memo used twice": b"\x80\x04" + text("collections") + b"q\x000" + text("os") + b"q\x000"
        + text("OrderedDict") + b"\x940" + b"h\x00" + text("system") + b"\x93" + short,
        "names behind a copy": b"\x80\x04" + text("os") + b"2\x94" + text("x") + b"00" + text("system") + b"\x93"
        + short,
        "names in a list that is dropped": b"\x80\x04" + text("os") + text("system") + b"(N]N1\x93" + short,
        "names with escapes": b"V\\u006f\\u0073\nVsyste\\u006d\n\x93" + call + b".",
        "names with escapes in quotes": b"S'\\x6fs'\nS\"sys\\164em\"\n\x93" + call + b".",
        "names as old strings": b"U\x02osT\x06\x00\x00\x00system\x93" + call + b".",
        "a name of two steps": b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + short,
        "a text that is not ASCII before": b"S'\xc3\xa9'\n0cos\nsystem\n" + call + b".",
        "a harmless name before": b"\x80\x02ccollections\nOrderedDict\n0cos\nsystem\n" + call + b".",
        "a frame that claims little": b"\x80\x04\x95" + struct.pack("<Q", 3) + b"N0cos\nsystem\n" + call + b".",
        "getattr": b"\x80\x04cbuiltins\ngetattr\n(cimportlib\nimport_module\n(S'os'\ntRS'system'\ntR" + call + b".",
        "what is cut off after the call": b"\x80\x04cos\nsystem\n" + call,
        "what is damaged after the call": b"\x80\x04cos\nsystem\n" + call + b"\xff\xff",
        "a stack that is empty after the call": b"\x80\x04cos\nsystem\n" + call + b"00000.",
        "partial": b"\x80\x04cfunctools\npartial\n(cos\nsystem\ntR" + call + b".",
    }  # fmt: skip
    return found


def torch_zip(data: bytes, *, name: str = "archive/data.pkl", deflated: bool = False) -> bytes:
    """The ZIP that ``torch.save`` writes, with ``data`` as its pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        archive.writestr(name, data)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/data/0", b"\0" * 16)
    return buffer.getvalue()


def other_local_names(data: bytes) -> bytes:
    """The ZIP with another name in front of the pickle than in its list of contents."""
    return data.replace(b"archive/data.pkl", b"archive/data.txt", 1)


def two_directories(shown: bytes, hidden: bytes) -> bytes:
    """A ZIP that lists ``shown`` for who looks from the end back, ``hidden`` for who takes the offset at its word."""
    first, second = torch_zip(shown), torch_zip(hidden)
    end = second.rfind(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", first, len(first) - 10)
    lied = first[: len(first) - 10] + struct.pack("<LLH", size, offset, 0)
    return second[:end] + lied


def encrypted(data: bytes) -> bytes:
    """The ZIP with the flag set that its first entry is encrypted, in both places."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def damaged(data: bytes) -> bytes:
    """The deflated ZIP with the first byte of its packed pickle changed to one that no packer writes."""
    changed = bytearray(data)
    changed[30 + len("archive/data.pkl")] = 7
    return bytes(changed)


SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c\0\4" + b"\0" * 64


def legacy(data: bytes) -> bytes:
    """A torch file of before version 1.6 with ``data`` as its object, and numbers behind it that are no pickle."""
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*head, data, pickle.dumps(["0"], 2), b"\x80\x02cos\nsystem\n", zlib.compress(b"x" * 99)])


TRICKS = list(executable(Path("x")))


def scanned(path: Path, data: bytes) -> PickleScan:
    path.write_bytes(data)
    return scan_pickles(path)


def named(scan: PickleScan, severity: str) -> set[str]:
    return {f"{item.module} {item.name}" for item in scan.globals if item.severity == severity}


# What could do harm


def test_the_pickles_of_these_tests_do_what_they_threaten(tmp_path: Path) -> None:
    """Else «nothing happened» would prove nothing. Python loads them here, in a process of its own."""
    script = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "for path in Path(sys.argv[1]).glob('*.pkl'):\n"
        "    try:\n        pickle.loads(path.read_bytes(), encoding='utf-8')\n"
        "    except Exception:\n        pass\n"
    )
    for number, trick in enumerate(TRICKS):
        data = executable(tmp_path / f"{number}.marker")[trick]
        (tmp_path / f"{number}.pkl").write_bytes(data)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    missing = [trick for number, trick in enumerate(TRICKS) if not (tmp_path / f"{number}.marker").exists()]
    assert missing == []


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        legacy,
        torch_zip,
        lambda data: torch_zip(data, deflated=True),
        lambda data: torch_zip(data, name="Archive/DATA.PKL"),
        lambda data: torch_zip(data, name="archive\\data.pkl"),
        lambda data: torch_zip(data, name="x/y/constants.pkl"),
        lambda data: other_local_names(torch_zip(data)),
    ],
    ids=["raw", "legacy", "zip", "deflated", "capitals", "backslash", "constants", "local names"],
)
def test_whatever_the_trick_it_is_dangerous_and_does_nothing(
    tmp_path: Path, trick: str, wrap: Callable[[bytes], bytes]
) -> None:
    marker = tmp_path / "marker"
    scan = scanned(tmp_path / "model.pth", wrap(executable(marker)[trick]))
    assert (scan.state, scan.issues > 0) == ("dangerous", True)
    assert not marker.exists()


@pytest.mark.parametrize("trick", TRICKS)
def test_cut_off_anywhere_it_is_never_clean(tmp_path: Path, trick: str) -> None:
    path = tmp_path / "model.pth"
    data = executable(tmp_path / "marker")[trick]
    whole = scanned(path, data)
    for length in range(1, len(data)):
        part = scanned(path, data[:length])
        assert part.state in ("error", "dangerous")
        assert named(part, "dangerous") <= named(whole, "dangerous")
    assert not (tmp_path / "marker").exists()


def test_a_second_pickle_in_a_file_is_read_too(tmp_path: Path) -> None:
    evil = executable(tmp_path / "marker")["os.system, protocol 4"]
    assert scanned(tmp_path / "model.pth", pickle.dumps({}) + evil).state == "dangerous"


def test_what_follows_the_pickles_of_an_old_torch_file_is_numbers(tmp_path: Path) -> None:
    assert scanned(tmp_path / "model.pth", legacy(pickle.dumps({"a": 1}, 2))).state == "clean"


def test_a_zip_with_two_lists_of_contents_is_not_believed(tmp_path: Path) -> None:
    evil = executable(tmp_path / "marker")["os.system, protocol 2"]
    scan = scanned(tmp_path / "model.pth", two_directories(pickle.dumps({}, 2), evil))
    assert (scan.state, scan.message) == (
        "error",
        "model.pth: It has two lists of contents, so that programs read it differently.",
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (encrypted(torch_zip(b"N.")), "archive/data.pkl is encrypted."),
        (damaged(torch_zip(b"N." * 50, deflated=True)), "It is damaged: download it again."),
        (torch_zip(b""), "It ends in the middle: download it again."),
        (torch_zip(b"\x80\x02}")[:-30], "Its list of contents cannot be read"),
        (b"\x80\x02\xff.", "It holds what is no pickle."),
        (b"\x80\x02T\xff\xff\xff\xff", "It holds what is no pickle."),
        (b"\x80\x02q", "It ends in the middle: download it again."),
        (b"pnope\n", "It holds what is no pickle."),
        (b"\x80\x02X\xff\xff\xff\x7fabc", "It ends in the middle: download it again."),
        (b"\x80\x02L" + b"1" * 5000, "It ends in the middle: download it again."),
        (b"".join(b"cm%d\nx\n0" % number for number in range(1001)) + b"N.", "It names more than 1000"),
    ],
    ids=["encrypted", "damaged", "empty", "no end", "no pickle", "negative length", "cut", "no place",
         "claims much", "endless line", "many names"],
)  # fmt: skip
def test_what_cannot_be_followed_is_an_error_that_says_why(tmp_path: Path, data: bytes, says: str) -> None:
    scan = scanned(tmp_path / "model.pth", data)
    assert scan.state == "error"
    assert scan.message is not None and scan.message.startswith(f"model.pth: {says}")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + b"N" * 8_000_000 + b".",
        b"\x80\x04" + b"(" * 8_000_000 + b".",
        b"\x80\x04" + b"N\x94" * 4_000_000 + b".",
        b"\x80\x04" + (b"\x8c\xff" + b"x" * 255) * 40_000 + b".",
        b"\x80\x04\x8e" + (50_000_000).to_bytes(8, "little") + b"\0" * 50_000_000 + b".",
        b"\x80\x02L" + b"1" * 50_000_000 + b"\n.",
    ],
    ids=["stack", "marks", "memo", "texts", "one long value", "one long line"],
)
def test_memory_is_bounded_whatever_a_pickle_claims(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    tracemalloc.start()
    scan_pickles(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 * 1024 * 1024


def test_a_zip_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_scan, "MAX_UNPACKED_BYTES", 1024 * 1024)
    value = b"\x8e" + (400 * 1024).to_bytes(8, "little") + b"\0" * 400 * 1024 + b"0"
    within = torch_zip(b"\x80\x04" + value * 2 + b"N.", deflated=True)
    beyond = torch_zip(b"\x80\x04" + value * 3 + b"N.", deflated=True)
    assert len(beyond) < 10_000
    assert scanned(tmp_path / "model.pth", within).state == "clean"
    scan = scanned(tmp_path / "model.pth", beyond)
    assert (scan.state, scan.message) == ("error", "model.pth: Its pickles unpack to more than 1 MB.")


def test_a_scan_can_be_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    path = tmp_path / "model.pth"
    path.write_bytes(b"\x80\x04" + b"N0" * 200_000 + b"N.")
    with pytest.raises(KeyboardInterrupt):
        scan_pickles(path, check=stop)


def test_a_file_that_went_or_changes_is_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with pytest.raises(SourceChangedError):
        scan_pickles(path)
    path.write_bytes(b"\x80\x04" + b"N0" * 200_000 + b"N.")
    with pytest.raises(SourceChangedError):
        scan_pickles(path, check=lambda: path.write_bytes(b"\x80\x04N." * 3))


# What real files hold


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("new.pt", {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch HalfStorage"}),
        ("old.pt", {"torch._utils _rebuild_parameter", "torch FloatStorage"}),
        ("module.pt", {"torch.nn.modules.conv Conv2d", "__builtin__ set"}),
        ("np.pt", {"numpy dtype", "_codecs encode"}),
        ("jit.pt", set()),
    ],
)
def test_what_torch_itself_wrote_is_clean(name: str, some: set[str]) -> None:
    """Written by torch 2.13: a state dict (also in the format before 1.6), a module, NumPy's numbers, TorchScript."""
    scan = scan_pickles(DATA / name)
    assert (scan.state, scan.message, scan.issues) == ("clean", None, 0)
    assert some <= named(scan, "harmless")


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
        "numpy.core.multiarray scalar",
        "torch.cuda HalfStorage",
        "torch float8_e4m3fn",
        "copy_reg _reconstructor",
        "__builtin__ object",
        "omegaconf.listconfig ListConfig",
        "pathlib PosixPath",
    ],
)
def test_what_checkpoints_name_is_harmless(name: str) -> None:
    assert severity_of(*name.split()) == "harmless"


@pytest.mark.parametrize(
    "name", ["ultralytics.nn.tasks DetectionModel", "__main__ Net", "pytorch_lightning.callbacks.timer Timer",
             "diffusers.utils.logging Handler", "torch.nn.functional relu"],
)  # fmt: skip
def test_somebodys_own_code_is_unknown(name: str) -> None:
    assert severity_of(*name.split()) == "unknown"


@pytest.mark.parametrize(
    "name",
    [
        "importlib import_module", "marshal loads", "types FunctionType", "types CodeType", "pip main",
        "commands getoutput", "copyreg add_extension", "torch load", "torch.storage _load_from_bytes",
        "torch.hub load", "numpy.f2py.crackfortran myeval", "collections OrderedDict.__reduce_ex__",
        "torch._utils os.system", "pytorch_lightning.callbacks.model_checkpoint os.system", "a.b subprocess.run",
        "six.moves.builtins eval", "any.thing system", "joblib load", "builtins print",
    ],
)  # fmt: skip
def test_what_runs_code_is_dangerous_whoever_offers_it(name: str) -> None:
    assert severity_of(*name.split()) == "dangerous"


def test_all_that_picklescan_calls_dangerous_is_dangerous() -> None:
    scanner = pytest.importorskip("picklescan.scanner")
    for module, names in scanner._unsafe_globals.items():
        listed = ["anything"] if names == "*" else [names] if isinstance(names, str) else sorted(names)
        for name in listed:
            assert severity_of(module, name) == "dangerous", f"{module} {name}"


def test_code_of_somebodys_own_is_suspicious(tmp_path: Path) -> None:
    scan = scanned(tmp_path / "model.pth", torch_zip(b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n."))
    assert (scan.state, scan.issues) == ("suspicious", 0)
    assert named(scan, "unknown") == {"ultralytics.nn.tasks DetectionModel"}


def test_the_worst_comes_first_and_names_stay_text(tmp_path: Path) -> None:
    data = b"\x80\x02ccollections\nOrderedDict\n0c<img src=x onerror=alert(1)>\nx\n0c\xff\xfe\ny\n0cos\nsystem\n."
    scan = scanned(tmp_path / "model.pth", data)
    assert [item.severity for item in scan.globals] == ["dangerous", "unknown", "unknown", "harmless"]
    PickleScan.model_validate_json(scan.model_dump_json())


def test_a_pickle_by_another_name_is_still_one(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(torch_zip(b"N.", name="Archive/Data.PKL"))
    assert identify(path).security_tier == "pickle"
    path.write_bytes(other_local_names(torch_zip(b"N.")))
    assert identify(path).security_tier == "pickle"


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.builds(OrderedDict)
    ),
    max_leaves=20,
)


@given(value=_PLAIN, protocol=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_plain_data_is_clean_in_every_protocol(
    value: Any, protocol: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("plain") / "model.pth"
    assert scanned(path, pickle.dumps(value, protocol)).state == "clean"


_PIECES = st.sampled_from(
    [b"\x80\x04", b"(", b"t", b"1", b"a", b"R", b"\x93", b"\x94", b"h\x00", b"q\x00", b"0", b"2", b"N", b"}", b"]",
     b"u", b"e", b".", b"\x8c\x02os", b"\x8c\x06system", b"cos\nsystem\n", b"ios\nsystem\n", b"o", b"b",
     b"Q", b"\x82\x01"]
)  # fmt: skip


@example(data=b"\x84\x00\x00\x00\x80")  # an extension's number has a sign
@given(data=st.binary(max_size=200) | st.lists(_PIECES, max_size=40).map(b"".join))
@settings(max_examples=500, deadline=None)
def test_no_bytes_crash_it_and_what_pythons_own_reader_names_is_found(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Python's unpickler runs here with a look-up that only takes notes: it gives inert objects, never functions.

    Two newlines at the end, since it takes a name that is cut off for a shorter one.
    """
    data += b"\n\n"
    scan = scanned(tmp_path_factory.mktemp("fuzz") / "model.pth", data)
    asked: set[str] = set()

    class Inert:
        def __init__(self, *_: object) -> None: ...

    class Notes(pickle._Unpickler):  # type: ignore[misc,name-defined]
        def find_class(self, module: str, name: str) -> type:
            asked.add(f"{module} {name}")
            return Inert

        def get_extension(self, code: int) -> None:
            asked.add(f"copyreg extension {code}")
            self.append(Inert)

    with contextlib.suppress(Exception):
        Notes(io.BytesIO(data)).load()
    found = {f"{item.module} {item.name}" for item in scan.globals}
    assert asked <= found or "? ?" in found


# From the import to the node that loads


@pytest.fixture
def looked_into(librarian: Librarian) -> Callable[[], Job]:
    """Wait for the next look into pickles to end; it begins by itself."""
    ended: queue.Queue[Job] = queue.Queue()

    def listen(_name: str, record: BaseModel) -> None:
        if isinstance(record, Job) and record.kind == "pickles" and record.ended:
            ended.put(record)

    librarian.events.subscribe(listen)
    return lambda: ended.get(timeout=60)


@pytest.fixture
def bring_in(
    librarian: Librarian, finished: Callable[[Job], Job], looked_into: Callable[[], Job]
) -> Callable[[Path], str]:
    """Import a pickle, with the person's yes, and wait until it was looked into; answers its id."""

    def bring(path: Path) -> str:
        item = ImportItem(paths=[str(path)], acknowledge_pickle=True)
        job = finished(librarian.imports.start(ImportRequest(items=[item])))
        assert job.state == "done", job
        assert looked_into().state == "done"
        return str(job.items[0].model_id)

    return bring


def summary_of(librarian: Librarian, model_id: str) -> ModelSummary:
    return next(model for model in librarian.models.search(ModelQuery()).models if model.model_id == model_id)


@pytest.mark.parametrize(
    "trick", ["os.system, protocol 2", "exec, protocol 5", "names from the memo", "INST"]
)
@pytest.mark.parametrize(
    "wrap",
    [legacy, torch_zip, lambda data: other_local_names(torch_zip(data))],
    ids=["legacy", "zip", "local names"],
)
def test_a_dangerous_pickle_is_imported_shown_and_refused_and_never_run(
    librarian: Librarian,
    bring_in: Callable[[Path], str],
    downloads: Path,
    tmp_path: Path,
    trick: str,
    wrap: Callable[[bytes], bytes],
) -> None:
    marker = tmp_path / "marker"
    source = downloads / "evil.pth"
    source.write_bytes(wrap(executable(marker)[trick]))

    model_id = bring_in(source)

    details = librarian.models.details(model_id)
    assert details.pickle_scan is not None
    assert (details.pickle_scan.state, details.pickle_scan.issues) == ("dangerous", 1)
    assert details.pickle_scan.globals[0].severity == "dangerous"
    assert summary_of(librarian, model_id).pickle_state == "dangerous"
    written = librarian.library.metadata.read(model_id)
    assert written is not None and written.pickle_scan == details.pickle_scan

    # The yes that was given before this was known does not count; one that is given now does.
    with pytest.raises(PickleNotAcknowledgedError, match="would use"):
        librarian.models.find(model_id)
    librarian.models.edit(model_id, {"pickle_acknowledged": True})
    assert librarian.models.find(model_id).read_bytes() == source.read_bytes()
    assert not marker.exists()


def test_a_yes_that_was_given_to_a_known_danger_stays(
    librarian: Librarian, bring_in: Callable[[Path], str], downloads: Path, looked_into: Callable[[], Job]
) -> None:
    (downloads / "evil.pth").write_bytes(torch_zip(b"\x80\x02cos\nsystem\n."))
    model_id = bring_in(downloads / "evil.pth")
    librarian.models.edit(model_id, {"pickle_acknowledged": True})
    path = librarian.library.main_path(model_id)
    os.utime(path, (1, 1))  # copied to another drive, say
    librarian.scans.start("quick")
    looked_into()
    assert librarian.models.find(model_id) == path

    path.write_bytes(torch_zip(b"\x80\x02cnt\nsystem\n."))  # another file of the same size
    librarian.scans.start("quick")
    looked_into()
    with pytest.raises(PickleNotAcknowledgedError, match=r"nt\.system"):
        librarian.models.find(model_id)


def test_an_honest_pickle_needs_one_yes_and_its_date_stays(
    librarian: Librarian, bring_in: Callable[[Path], str], downloads: Path
) -> None:
    (downloads / "model.pt").write_bytes((DATA / "new.pt").read_bytes())
    model_id = bring_in(downloads / "model.pt")
    details = librarian.models.details(model_id)
    assert details.pickle_scan is not None and details.pickle_scan.state == "clean"
    assert librarian.models.find(model_id).is_file()
    assert details.updated_date - details.added_date < timedelta(seconds=1)


def test_a_pickle_that_nobody_looked_into_yet_is_looked_into_when_it_is_to_be_loaded(
    librarian: Librarian, finished: Callable[[Job], Job], downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(librarian.pickles, "scan_in_background", lambda: None)
    (downloads / "evil.pth").write_bytes(torch_zip(b"\x80\x02cos\nsystem\n."))
    item = ImportItem(paths=[str(downloads / "evil.pth")], acknowledge_pickle=True)
    model_id = str(finished(librarian.imports.start(ImportRequest(items=[item]))).items[0].model_id)

    assert summary_of(librarian, model_id).pickle_state == "not_scanned"
    details = librarian.models.details(model_id)
    assert details.pickle_scan is not None and details.pickle_scan.state == "not_scanned"
    with pytest.raises(PickleNotAcknowledgedError, match=r"os\.system"):
        librarian.models.find(model_id)


def test_of_pickles_in_place_nothing_is_written_and_a_changed_one_is_looked_into_anew(
    librarian: Librarian, models_folder: Path, looked_into: Callable[[], Job]
) -> None:
    path = models_folder / "upscale_models" / "model.pth"
    path.write_bytes(torch_zip(b"\x80\x02}."))
    before = sorted(models_folder.rglob("*"))
    librarian.scans.start("quick")
    looked_into()
    [model] = librarian.models.search(ModelQuery()).models
    assert model.pickle_state == "clean"
    assert not (librarian.library.root / model.model_id).exists()
    assert sorted(models_folder.rglob("*")) == before

    path.write_bytes(torch_zip(b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n."))
    librarian.scans.start("quick")
    looked_into()
    assert summary_of(librarian, model.model_id).pickle_state == "suspicious"

    librarian.models.edit(model.model_id, {"pickle_acknowledged": True})
    details = librarian.models.details(model.model_id)
    assert details.pickle_scan is not None and details.pickle_scan.state == "suspicious"
    assert librarian.models.find(model.model_id) == path


def test_all_parts_of_a_set_are_looked_into(
    librarian: Librarian, models_folder: Path, looked_into: Callable[[], Job]
) -> None:
    for number, data in ((1, b"\x80\x02}."), (2, b"\x80\x02cos\nsystem\n.")):
        path = models_folder / "text_encoders" / f"big-0000{number}-of-00002.bin"
        path.write_bytes(torch_zip(data))
    librarian.scans.start("quick")
    looked_into()
    [model] = librarian.models.search(ModelQuery()).models
    assert model.pickle_state == "dangerous"


def test_what_was_cut_off_is_looked_into_at_the_next_start(
    surroundings: Surroundings, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (models_folder / "loras" / f"{number}.pt").write_bytes(torch_zip(b"\x80\x02}." + b"x" * number))
    looks: list[str] = []
    real = PickleFindings.of

    def cut_off(self: PickleFindings, model_id: str, *args: Any) -> PickleScan:
        if looks:
            raise CancelledError("shutting down")
        looks.append(model_id)
        return real(self, model_id, *args)

    def run() -> dict[str, str | None]:
        librarian = Librarian(surroundings)
        ended = threading.Event()

        def listen(_name: str, record: BaseModel) -> None:
            if isinstance(record, Job) and record.kind == "pickles" and record.ended:
                ended.set()

        librarian.events.subscribe(listen)
        librarian.start()
        assert ended.wait(60)
        found = {model.model_id: model.pickle_state for model in librarian.models.search(ModelQuery()).models}
        librarian.close()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(PickleFindings, "of", cut_off)
        assert sorted(map(str, run().values())) == ["clean", "not_scanned", "not_scanned"]
    assert set(run().values()) == {"clean"}


def test_a_pickle_too_old_to_be_told_from_text_is_refused_too(
    librarian: Librarian, finished: Callable[[Job], Job], models_folder: Path, tmp_path: Path
) -> None:
    path = models_folder / "upscale_models" / "old.pth"
    path.write_bytes(executable(tmp_path / "marker")["os.system, protocol 0"])
    finished(librarian.scans.start("quick"))
    [model] = librarian.models.search(ModelQuery()).models
    with pytest.raises(PickleNotAcknowledgedError):
        librarian.models.find(model.model_id)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("data", [SEVEN_ZIP, b"PK\x03\x04" + b"\0" * 100], ids=["7z", "ZIP"])
def test_what_is_no_model_is_not_imported_whatever_it_hides(
    librarian: Librarian, downloads: Path, data: bytes
) -> None:
    (downloads / "x.pth").write_bytes(data)
    with pytest.raises(NotAModelError):
        librarian.imports.start(
            ImportRequest(items=[ImportItem(paths=[str(downloads / "x.pth")], acknowledge_pickle=True)])
        )


def test_findings_that_cannot_be_read_are_made_anew() -> None:
    record = {"model_id": "a/b/c", "official_name": "c", "cleaned_name": "c", "pickle_scan": {"state": 3}}
    assert Model.model_validate(record).pickle_scan is None
