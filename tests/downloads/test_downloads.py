"""Downloads from a hub on this machine: what arrives, and what happens when it does not."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from model_librarian.core.downloading import DownloadExistsError, DownloadRequest, HashMismatchError
from model_librarian.core.errors import (
    ConflictError,
    InsufficientSpaceError,
    NotFoundError,
    PickleNotAcknowledgedError,
)
from model_librarian.core.library import ModelQuery
from model_librarian.core.network import HostNotAllowedError, HttpStatusError
from model_librarian.core.services.reports import SettingsChange
from model_librarian.core.sources import Civitai

from ..fake_hub import COMMIT, Gate, cut, endless, instead, page, sha256, status
from ._doing import BIG, held, incoming, only_download_folder, only_model, opened, until, wanted


def test_a_file_of_hugging_face_becomes_a_model(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice-x4.safetensors": big, "README.json": b"{}"}, gated=False)
    job, download = librarian.downloads.add(wanted("nice-x4.safetensors", directory="upscale_models"))
    ended = finished(job)
    assert ended.state == "done", ended
    model = only_model(librarian)
    assert ended.result is not None and ended.result["imported"] == [model.model_id]
    assert librarian.library.main_path(model.model_id).read_bytes() == big
    assert (model.repo_id, model.subtype, model.hashes.sha256) == (
        "org/upscaler",
        "upscale_models",
        sha256(big),
    )
    assert (model.match_source, model.match_method, model.match_confidence) == ("auto", "hash", 1.0)
    assert model.download_url.endswith(f"/org/upscaler/resolve/{COMMIT}/nice-x4.safetensors")
    assert not model.pending_online_lookup
    assert incoming(librarian) == []
    done = librarian.downloads.get(download.id)
    assert (done.state, done.models, done.received, done.size) == (
        "done",
        [model.model_id],
        len(big),
        len(big),
    )
    assert hub.sent_to("/cdn/")[0]["Accept-Encoding"] == "identity"


def test_a_version_of_civitai_comes_with_what_is_told_of_it(hub, librarian, finished, big):
    hub.add_version(12, 34, "pixel.safetensors", big)
    ended = finished(librarian.downloads.add(DownloadRequest(provider="civitai", repo_id="12")).job)
    assert ended.state == "done", ended
    model = only_model(librarian)
    assert (model.official_name, model.repo_id, model.trained_words) == ("Pixel Art - v2", "12", ["pixelart"])
    assert (model.subtype, model.match_method, model.match_confidence) == ("loras", "hash", 1.0)


def test_addresses_of_the_known_hosts_are_what_they_name(hub, librarian, finished, big, make_model, tmp_path):
    hub.add("org/upscaler", {"sub/nice.safetensors": big})
    address = "https://huggingface.co/org/upscaler/resolve/main/sub/nice.safetensors?download=true"
    request = DownloadRequest(provider="url", url=address, directory="upscale_models")
    assert finished(librarian.downloads.add(request).job).state == "done"
    assert only_model(librarian).match_method == "hash"

    hub.add_version(12, 34, "pixel.safetensors", make_model(tmp_path / "other.safetensors").read_bytes())
    request = DownloadRequest(provider="url", url=f"{hub.origin}/api/download/models/34")
    job, download = librarian.downloads.add(request)
    assert (download.provider, download.repo_id) == ("civitai", "12")
    assert finished(job).state == "done"


def test_any_other_allowed_address_is_downloaded_by_its_name(hub, librarian, finished, big):
    hub.files["/some/where/..%2Fmy model.safetensors"] = big
    hub.files["/some/where/my model.safetensors"] = big
    request = DownloadRequest(provider="url", url=f"{hub.origin}/some/where/my%20model.safetensors?x=1")
    assert finished(librarian.downloads.add(request).job).state == "done"
    model = only_model(librarian)
    assert model.files[0].name == "my model.safetensors"
    assert (model.match_method, model.pending_online_lookup) == ("none", True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.safetensors",
        "http://huggingface.co/a.safetensors",
        "https://u:p@huggingface.co/a.gguf",
    ],
)
def test_other_hosts_and_plain_http_are_refused(hub, librarian, url):
    with pytest.raises(HostNotAllowedError):
        librarian.downloads.add(DownloadRequest(provider="url", url=url))
    assert librarian.downloads.all() == []


def test_what_is_in_the_library_is_not_downloaded(hub, librarian, finished, big, downloads):
    hub.add("org/upscaler", {"nice.safetensors": big})
    assert finished(librarian.downloads.add(wanted("nice.safetensors")).job).state == "done"
    model = only_model(librarian)
    asked = len(hub.sent_to("/cdn/"))
    hub.add("org/again", {"copy.safetensors": big})
    job, download = librarian.downloads.add(wanted("copy.safetensors", repo_id="org/again"))
    ended = finished(job)
    assert ended.result == {"imported": [], "present": [model.model_id], "links": None}
    assert librarian.downloads.get(download.id).files[0].state == "present"
    assert len(hub.sent_to("/cdn/")) == asked
    assert incoming(librarian) == []


def test_the_parts_of_a_set_come_together_and_others_are_offered(
    hub, librarian, finished, make_model, tmp_path
):
    parts = {
        f"text/model-0000{n}-of-00002.safetensors": make_model(tmp_path / f"{n}").read_bytes() for n in (1, 2)
    }
    index = (
        b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    )
    vae = {"vae/nice_vae.safetensors": b"\0" * 10}
    hub.add("org/llm", {**parts, "text/model.safetensors.index.json": index, **vae, "big.gguf": b"\0"})
    job, download = librarian.downloads.add(
        wanted("text/model-00002-of-00002.safetensors", repo_id="org/llm")
    )
    assert {file.path: file.asked for file in download.files} == {
        "text/model-00002-of-00002.safetensors": True,
        "text/model-00001-of-00002.safetensors": False,
        "text/model.safetensors.index.json": False,
    }
    assert [(file.path, file.subtype) for file in download.related] == [("vae/nice_vae.safetensors", "vae")]
    assert finished(job).state == "done"
    model = only_model(librarian)
    assert (model.model_format, len(model.files)) == ("sharded-set", 3)


def test_a_connection_that_breaks_is_taken_up_where_it_was(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [cut(1_500_000), cut(100_000)]
    assert finished(librarian.downloads.add(wanted("nice.safetensors")).job).state == "done"
    asked = [headers.get("Range") for headers in hub.sent_to("/cdn/")]
    starts = [int(one.removeprefix("bytes=").rstrip("-")) for one in asked[1:] if one]
    assert asked[0] is None and len(starts) == 2
    assert 0 < starts[0] <= 1_500_000 and starts[0] < starts[1] <= starts[0] + 100_000
    assert all(headers["If-Range"] == f'"{sha256(big)[:32]}"' for headers in hub.sent_to("/cdn/")[1:])
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big


def test_a_file_that_changes_meanwhile_is_begun_anew(hub, librarian, finished, big, make_model, tmp_path):
    other = make_model(tmp_path / "other.safetensors", BIG).read_bytes()
    hub.files["/plain.safetensors"] = big

    def cut_and_change(exchange):
        cut(1_500_000)(exchange)
        hub.files["/plain.safetensors"] = other

    hub.faults = [cut_and_change]
    request = DownloadRequest(provider="url", url=f"{hub.origin}/plain.safetensors")
    assert finished(librarian.downloads.add(request).job).state == "done"
    assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == other


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (instead(b"x" * 100), "size_mismatch"),
        (page("text/html; charset=utf-8"), "web_page"),
        (page("application/octet-stream"), "size_mismatch"),
        (status(403), "remote_forbidden"),
        (status(401), "remote_unauthorized"),
        (status(404), "remote_not_found"),
        (status(451), "remote_legally_blocked"),
        (status(418), "remote_refused"),
        (status(204), "bad_answer"),
        (status(206, Content_Range="bytes 5-9/10"), "bad_answer"),
    ],
)
def test_what_is_not_the_file_is_refused_and_said(hub, librarian, finished, big, fault, code):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [fault]
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    ended = finished(job)
    assert (ended.state, ended.error and ended.error.code) == ("failed", code)
    failed = librarian.downloads.get(download.id)
    assert failed.state == "failed" and failed.reason is not None and failed.reason.code == code
    assert failed.files[0].reason is not None and failed.received == 0
    if code in ("remote_forbidden", "remote_unauthorized"):
        assert f"{hub.origin}/org/upscaler" in failed.reason.message
    assert only_download_folder(librarian)
    job, _ = librarian.downloads.resume(download.id)
    assert finished(job).state == "done"
    assert incoming(librarian) == []


def test_more_than_announced_is_cut_off(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [endless]
    job, _ = librarian.downloads.add(wanted("nice.safetensors"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "size_mismatch"
    assert hub.hung_up.wait(30)
    assert only_download_folder(librarian)


def test_a_page_without_a_length_is_no_model(hub, librarian, finished):
    def login(exchange):
        body = b"<!-- hi --> <html>" + b"x" * 1000
        exchange.answer(200, body, {"Content-Type": "application/octet-stream"})

    hub.files["/plain.safetensors"] = b"y" * 1018
    hub.faults = [login]
    job, _ = librarian.downloads.add(DownloadRequest(provider="url", url=f"{hub.origin}/plain.safetensors"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "web_page"


def test_a_redirect_loop_is_left(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    here = f"/org/upscaler/resolve/{COMMIT}/nice.safetensors"
    hub.redirects[here] = here
    ended = finished(librarian.downloads.add(wanted("nice.safetensors")).job)
    assert ended.error is not None and ended.error.code == "bad_answer"


def test_a_token_stays_with_its_host(hub, other_host, librarian, finished, big):
    settings = librarian.network.settings
    tokens = {hub.origin.removeprefix("http://"): "hf_secret"}
    allowed = (*settings.allowed_hosts, other_host.origin)
    librarian.network.configure(
        type(settings)(**{**settings.model_dump(), "tokens": tokens, "allowed_hosts": allowed})
    )
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.redirects[f"/org/upscaler/resolve/{COMMIT}/nice.safetensors"] = f"{other_host.origin}/stored"
    other_host.files["/stored"] = big
    assert finished(librarian.downloads.add(wanted("nice.safetensors")).job).state == "done"
    assert hub.sent_to("/resolve/")[0]["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in other_host.sent_to("/stored")[0]


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(hub, other_host, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.redirects[f"/org/upscaler/resolve/{COMMIT}/nice.safetensors"] = f"{other_host.origin}/stored"
    other_host.files["/stored"] = big
    ended = finished(librarian.downloads.add(wanted("nice.safetensors")).job)
    assert ended.error is not None and ended.error.code == "host_not_allowed"
    assert other_host.asked == []


@pytest.mark.parametrize(
    "path", ["../../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors"]
)
def test_names_of_the_host_lead_nowhere(hub, librarian, finished, big, path):
    hub.add("org/upscaler", {"nice.safetensors": big})
    tree = hub.pages[f"/api/models/org/upscaler/tree/{COMMIT}"]
    tree[0]["path"] = path
    with pytest.raises(NotFoundError):
        librarian.downloads.add(wanted(path))
    hub.add_version(12, 34, path, big)
    with pytest.raises(NotFoundError):
        librarian.downloads.add(DownloadRequest(provider="civitai", repo_id="12"))
    assert incoming(librarian) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_host_that_cannot_now_is_waited_for(hub, librarian, finished, big, code):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [status(code, Retry_After="1")] * 2
    job, _ = librarian.downloads.add(wanted("nice.safetensors"))
    assert finished(job).state == "done"
    assert len(hub.sent_to("/cdn/")) == 3


def test_a_host_that_falls_silent_is_waited_for(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.faults = [Gate(1_000_000)]
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    waiting = until(librarian, download.id, "waiting", "done")
    assert waiting.state == "waiting" and waiting.reason is not None
    assert waiting.reason.code == "network_unavailable" and waiting.retry_after_s is not None
    assert 0 < waiting.received < len(big)
    assert finished(job).state == "done"
    assert "Range" in hub.sent_to("/cdn/")[-1]


def test_what_is_asked_for_offline_begins_when_the_network_is_back(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    librarian.preferences.change(SettingsChange(online=False))
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    waiting = until(librarian, download.id, "waiting")
    assert waiting.reason is not None and waiting.reason.code == "offline"
    assert hub.asked == []
    librarian.preferences.change(SettingsChange(online=True))
    assert finished(job).state == "done"
    assert only_model(librarian).hashes.sha256 == sha256(big)


def test_unknown_files_and_repositories_are_said_at_once(hub, librarian, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    with pytest.raises(NotFoundError, match="other"):
        librarian.downloads.add(wanted("other.safetensors"))
    with pytest.raises(HttpStatusError) as refused:
        librarian.downloads.add(wanted("a.safetensors", repo_id="org/none"))
    assert refused.value.code == "remote_not_found"
    hub.refused["/api/models/org/gated"] = (401, {})
    with pytest.raises(HttpStatusError, match=f"{hub.origin}/org/gated") as refused:
        librarian.downloads.add(wanted("a.safetensors", repo_id="org/gated"))
    assert refused.value.code == "remote_unauthorized"
    with pytest.raises(HashMismatchError):
        librarian.downloads.add(wanted("nice.safetensors", sha256="0" * 64))
    assert librarian.downloads.all() == []
    assert incoming(librarian) == []


def test_two_come_at_once_and_the_third_waits_its_turn(hub, librarian, finished, make_model, tmp_path):
    gates = [Gate(600_000), Gate(600_000)]
    hub.faults = [*gates]
    jobs, downloads = [], []
    librarian.network.configure(librarian.network.settings.model_copy(update={"timeout_s": 60.0}))
    for name in "abc":
        hub.add(f"org/{name}", {f"{name}.safetensors": make_model(tmp_path / name, BIG).read_bytes()})
        job, download = librarian.downloads.add(wanted(f"{name}.safetensors", repo_id=f"org/{name}"))
        jobs.append(job)
        downloads.append(download)
    assert all(gate.reached.wait(30) for gate in gates)
    states = [download.state for download in librarian.downloads.all()]
    assert states == ["downloading", "downloading", "queued"]
    assert len(hub.sent_to("/cdn/")) == 2
    with pytest.raises(DownloadExistsError):
        librarian.downloads.add(wanted("a.safetensors", repo_id="org/a"))
    for gate in gates:
        gate.opened.set()
    assert [finished(job).state for job in jobs] == ["done", "done", "done"]
    assert len(librarian.library.search(ModelQuery()).models) == 3


def test_a_pause_keeps_what_has_come(hub, librarian, finished, big, surroundings):
    _, job, download_id = held(hub, librarian, big)
    assert librarian.downloads.pause(download_id).state == "paused"
    assert finished(job).state == "interrupted"
    paused = librarian.downloads.get(download_id)
    assert paused.state == "paused" and 0 < paused.received < len(big) and paused.rate is None
    assert librarian.downloads.pause(download_id).state == "paused"

    librarian.close()
    again = opened(surroundings)
    try:
        again.start()
        [kept] = again.downloads.all()
        assert (kept.id, kept.state) == (download_id, "paused")
        job, _ = again.downloads.resume(download_id)
        assert again.jobs.wait(job.id, 60).state == "done"
        start = int(hub.sent_to("/cdn/")[-1]["Range"].removeprefix("bytes=").rstrip("-"))
        assert start >= paused.received
        assert again.library.main_path(only_model(again).model_id).read_bytes() == big
    finally:
        again.close()


def test_a_restart_goes_on_by_itself(hub, librarian, big, surroundings):
    held(hub, librarian, big)
    librarian.close()
    again = opened(surroundings)
    try:
        again.start()
        [download] = again.downloads.all()
        assert download.job_id is not None
        assert again.jobs.wait(download.job_id, 60).state == "done"
        assert "Range" in hub.sent_to("/cdn/")[-1]
        assert incoming(again) == []
    finally:
        again.close()


@pytest.mark.parametrize("how", ["download", "job"])
def test_a_cancel_leaves_nothing(hub, librarian, finished, big, how):
    gate, job, download_id = held(hub, librarian, big)
    if how == "download":
        librarian.downloads.remove(download_id)
    else:
        librarian.jobs.cancel(job.id)
    assert finished(job).state == "cancelled"
    assert librarian.downloads.all() == []
    assert incoming(librarian) == []
    gate.opened.set()
    assert hub.hung_up.wait(30)
    with pytest.raises(NotFoundError):
        librarian.downloads.resume(download_id)


def test_a_pickle_is_asked_about_before_it_comes(hub, librarian, finished, make_torch_zip, tmp_path):
    content = make_torch_zip(tmp_path / "x.pt").read_bytes()
    hub.add("org/pickles", {"old.pt": content, "disguised.safetensors": content})
    with pytest.raises(PickleNotAcknowledgedError):
        librarian.downloads.add(wanted("old.pt", repo_id="org/pickles"))
    job, download = librarian.downloads.add(wanted("disguised.safetensors", repo_id="org/pickles"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "pickle_not_acknowledged"
    asked = len(hub.sent_to("/cdn/"))
    job, _ = librarian.downloads.resume(download.id, acknowledge_pickle=True)
    assert finished(job).state == "done"
    assert len(hub.sent_to("/cdn/")) == asked, "what was here is not downloaded again"
    assert only_model(librarian).security_tier == "pickle"


def test_what_is_no_model_is_not_kept(hub, librarian, finished):
    hub.add("org/broken", {"broken.safetensors": b"\xff" * 5000})
    job, _ = librarian.downloads.add(wanted("broken.safetensors", repo_id="org/broken"))
    ended = finished(job)
    assert ended.error is not None and ended.error.code == "not_a_model"
    assert only_download_folder(librarian)


def test_one_file_that_fails_does_not_hold_up_the_others(hub, librarian, finished, big, make_model, tmp_path):
    small = make_model(tmp_path / "small.safetensors").read_bytes()
    hub.add("org/two", {"a.safetensors": big, "b.safetensors": small})
    hub.faults = [status(404)]
    job, download = librarian.downloads.add(wanted("a.safetensors", "b.safetensors", repo_id="org/two"))
    assert finished(job).state == "failed"
    assert [file.state for file in librarian.downloads.get(download.id).files] == ["failed", "imported"]
    assert only_model(librarian).hashes.sha256 == sha256(small)
    assert finished(librarian.downloads.resume(download.id).job).state == "done"
    assert len(librarian.library.search(ModelQuery()).models) == 2


def test_what_does_not_fit_is_not_begun(hub, librarian, big, monkeypatch):
    hub.add("org/upscaler", {"nice.safetensors": big})
    hub.pages[f"/api/models/org/upscaler/tree/{COMMIT}"][0]["lfs"]["size"] = 2**50
    with pytest.raises(InsufficientSpaceError):
        librarian.downloads.add(wanted("nice.safetensors"))
    assert incoming(librarian) == []


def test_a_new_model_is_linked_when_asked(hub, librarian, finished, big, models_folder):
    hub.add("org/upscaler", {"nice.safetensors": big})
    job, _ = librarian.downloads.add(wanted("nice.safetensors", directory="upscale_models", link=True))
    ended = finished(job)
    assert ended.result is not None and ended.result["links"]["links_created"] == 1
    assert (models_folder / "upscale_models" / "nice.safetensors").read_bytes() == big


def test_a_limit_holds_downloads_back(hub, librarian, finished, make_model, tmp_path):
    content = make_model(tmp_path / "m", {"conv_first.weight": (500, 100)}).read_bytes()
    hub.add("org/upscaler", {"nice.safetensors": content})
    librarian.preferences.change(SettingsChange(download_limit=len(content)))
    ended = finished(librarian.downloads.add(wanted("nice.safetensors")).job)
    assert ended.finished_at is not None and ended.started_at is not None
    assert (ended.finished_at - ended.started_at).total_seconds() > 0.9
    assert librarian.preferences.change(SettingsChange(download_limit=0)).download_limit is None


def test_nothing_to_pause_where_nothing_comes(hub, librarian, finished, big):
    hub.add("org/upscaler", {"nice.safetensors": big})
    job, download = librarian.downloads.add(wanted("nice.safetensors"))
    finished(job)
    with pytest.raises(ConflictError):
        librarian.downloads.pause(download.id)
    with pytest.raises(ConflictError):
        librarian.downloads.resume(download.id)
    librarian.downloads.remove(download.id)
    assert librarian.downloads.all() == []
    assert only_model(librarian)


def test_a_disk_that_becomes_full_keeps_what_came(hub, surroundings, big, tmpfs):
    place = tmpfs("size=80m")
    librarian = opened(surroundings.model_copy(update={"library_root": place / "library"}))
    try:
        gate, job, download_id = held(hub, librarian, big)
        filler = place / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        gate.opened.set()
        assert librarian.jobs.wait(job.id, 60).state == "failed"
        failed = librarian.downloads.get(download_id)
        assert failed.reason is not None and failed.reason.code == "insufficient_space"
        assert 0 < failed.received < len(big)
        filler.unlink()
        job, _ = librarian.downloads.resume(download_id)
        ended = librarian.jobs.wait(job.id, 60)
        assert ended.state == "done", ended.error
        assert int(hub.sent_to("/cdn/")[-1]["Range"].removeprefix("bytes=").rstrip("-")) > 0
        assert librarian.library.main_path(only_model(librarian).model_id).read_bytes() == big
    finally:
        librarian.close()


def test_what_is_paused_for_months_is_kept(hub, librarian, finished, big):
    _, job, download_id = held(hub, librarian, big)
    librarian.downloads.pause(download_id)
    finished(job)
    for path in (librarian.library.root / ".incoming").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    librarian.uploads.remove_expired()
    job, _ = librarian.downloads.resume(download_id)
    assert finished(job).state == "done"
    assert "Range" in hub.sent_to("/cdn/")[-1]


def test_what_came_of_a_download_that_is_gone_grows_old(hub, librarian, finished, big):
    librarian.uploads.create(5, "left.safetensors", owner="download-" + "0" * 32)
    for path in (librarian.library.root / ".incoming").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    librarian.uploads.remove_expired()
    assert incoming(librarian) == []


def test_two_processes_do_not_work_on_the_same_download(hub, librarian, big, surroundings):
    held(hub, librarian, big)
    other = opened(surroundings)
    try:
        other.start()
        assert other.downloads.all() == []
    finally:
        other.close()


def test_the_picture_of_a_source_comes_along(hub, librarian, finished, big, monkeypatch):
    hub.add_version(12, 34, "pixel.safetensors", big)
    picture = b"\x89PNG\r\n\x1a\n" + b"p" * 100
    hub.files["/picture"] = picture
    describe = Civitai.model

    async def with_picture(self, *of, **how):
        model = await describe(self, *of, **how)
        return model.model_copy(update={"preview_url": f"{hub.origin}/picture", "preview_nsfw_level": 1})

    monkeypatch.setattr(Civitai, "model", with_picture)
    ended = finished(librarian.downloads.add(DownloadRequest(provider="civitai", repo_id="12")).job)
    assert ended.state == "done", ended.error
    path = librarian.library.preview(only_model(librarian).model_id)
    assert path is not None and path.read_bytes() == picture


def test_a_folder_of_diffusers_comes_as_one_model(hub, librarian, finished, make_model, tmp_path):
    unet = make_model(tmp_path / "unet", {"conv_in.weight": (4, 4)}).read_bytes()
    index = b'{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    files = {
        "model_index.json": index,
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
        "unet/diffusion_pytorch_model.safetensors": unet,
    }
    hub.add("org/pipeline", files)
    job, _ = librarian.downloads.add(wanted(*files, repo_id="org/pipeline"))
    ended = finished(job)
    assert ended.state == "done", ended.error
    model = only_model(librarian)
    assert (model.model_format, len(model.files), model.repo_id) == ("diffusion-folder", 3, "org/pipeline")
