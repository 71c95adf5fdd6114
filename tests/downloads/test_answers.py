"""What a host may answer to a request for the rest of a file (RFC 9110, sections 8.8.3, 13.1.5, 14.4 and 15.5.17)."""

from __future__ import annotations

import gzip
import re

import pytest

from model_librarian.core.downloading import DownloadRequest

from ..fake_hub import cut, serve, sha256
from ._doing import BIG, only_model, wanted

FIRST = 1_500_000


def etag_of(content: bytes) -> str:
    return f'"{sha256(content)[:32]}"'


def start_of(exchange) -> int:
    return int(re.fullmatch(r"bytes=(\d+)-", exchange.headers["Range"])[1])


def unasked(exchange) -> None:
    """The whole file, whatever part is asked for: 200 in place of 206."""
    body = exchange.content
    exchange.answer(200, body, {"ETag": exchange.etag})


def another_part(exchange) -> None:
    start, content = start_of(exchange) + 7, exchange.content
    exchange.answer(
        206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    )


def another_total(exchange) -> None:
    start, content = start_of(exchange), exchange.content
    exchange.answer(
        206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content) + 9}"}
    )


def no_content_range(exchange) -> None:
    exchange.answer(206, exchange.content[start_of(exchange) :], {"ETag": exchange.etag})


def not_satisfiable(exchange) -> None:
    exchange.answer(416, b"", {"Content-Range": f"bytes */{len(exchange.content)}"})


def zipped(exchange) -> None:
    exchange.answer(
        200, gzip.compress(exchange.content[:1000]), {"Content-Encoding": "gzip", "ETag": exchange.etag}
    )


def shorter(exchange) -> None:
    """Fewer bytes than its Content-Range says, which the connection's end tells."""
    start, content = start_of(exchange), exchange.content
    exchange.send_response(206)
    exchange.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    exchange.send_header("ETag", exchange.etag)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    part = content[start : start + 100_000]
    exchange.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(part), part))
    exchange.close_connection = True


def longer(exchange) -> None:
    start, content = start_of(exchange), exchange.content
    exchange.send_response(206)
    exchange.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    exchange.send_header("ETag", exchange.etag)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    part = content[start:] + b"and more"
    exchange.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(part), part))
    exchange.close_connection = True


def ranges(hub) -> list[str | None]:
    return [headers.get("Range") for headers in hub.sent_to("/cdn/")]


@pytest.mark.parametrize("fault", [unasked, not_satisfiable, shorter])
def test_the_file_comes_to_its_end(hub, librarian, finished, big, fault):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [cut(FIRST), fault]
    ended = finished(librarian.downloads.add(wanted("nice.safetensors")).job)
    assert ended.state == "done", ended.error
    assert ranges(hub)[1] is not None
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (another_part, "bad_answer"),
        (another_total, "size_mismatch"),
        (no_content_range, "bad_answer"),
        (zipped, "bad_answer"),
        (longer, "size_mismatch"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_next_try_is_right(hub, librarian, finished, big, fault, code):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [cut(FIRST), fault]
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    ended = finished(job)
    assert (ended.state, ended.error and ended.error.code) == ("failed", code)
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big
    assert librarian.downloads.get(download.id).received == len(big)


def test_a_file_that_was_replaced_is_begun_anew(hub, librarian, finished, big, make_model, tmp_path):
    """Of an address without a published hash only the ETag tells."""
    other = make_model(tmp_path / "other", BIG).read_bytes()
    assert len(other) == len(big)
    hub.files["/plain.safetensors"] = big

    def cut_and_replace(exchange):
        cut(FIRST)(exchange)
        hub.files["/plain.safetensors"] = other

    hub.faults = [cut_and_replace]
    request = DownloadRequest(provider="url", url=f"{hub.origin}/plain.safetensors")
    assert finished(librarian.downloads.add(request).job).state == "done"
    asked = hub.sent_to("/plain")[-1]
    assert asked["If-Range"] == etag_of(big)
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == other


def test_a_replaced_file_whose_host_ignores_the_condition_is_found_out(
    hub, librarian, finished, big, make_model, tmp_path
):
    """A host that sends the rest of another file, with the ETag of that one, makes no mixture."""
    other = make_model(tmp_path / "other", BIG).read_bytes()
    hub.files["/plain.safetensors"] = big

    def cut_and_replace(exchange):
        cut(FIRST)(exchange)
        hub.files["/plain.safetensors"] = other

    def careless(exchange):
        del exchange.headers["If-Range"]
        serve(exchange)

    hub.faults = [cut_and_replace, careless]
    request = DownloadRequest(provider="url", url=f"{hub.origin}/plain.safetensors")
    assert finished(librarian.downloads.add(request).job).state == "done"
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == other


def test_a_weak_etag_is_no_proof_so_a_file_without_a_hash_begins_anew(hub, librarian, finished, big):
    hub.files["/plain.safetensors"] = big

    def weakly(exchange):
        exchange.etag = f"W/{exchange.etag}"
        cut(FIRST)(exchange)

    hub.faults = [weakly]
    request = DownloadRequest(provider="url", url=f"{hub.origin}/plain.safetensors")
    assert finished(librarian.downloads.add(request).job).state == "done"
    assert [headers.get("Range") for headers in hub.sent_to("/plain")] == [None, None]


def test_with_a_published_hash_a_weak_etag_is_enough_but_never_sent(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})

    def weakly(exchange):
        exchange.etag = f"W/{exchange.etag}"
        cut(FIRST)(exchange)

    hub.faults = [weakly]
    assert finished(librarian.downloads.add(wanted("nice.safetensors")).job).state == "done"
    last = hub.sent_to("/cdn/")[-1]
    assert "Range" in last and "If-Range" not in last
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big
