from __future__ import annotations

import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.network import (
    Answers,
    BadAnswerError,
    HostNotAllowedError,
    HttpStatusError,
    NetworkManager,
    NetworkSettings,
    NetworkUnavailableError,
)
from model_librarian.core.sources import HuggingFace
from model_librarian.core.sources.text import plain_text, safe_path

from_publisher = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "modelId", "tags", "siblings", "rfilename", "cardData", "sha", "author", "gated"]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


async def test_search(fake, hub):
    fake.add("black-forest-labs/FLUX.1-dev", {"flux1-dev.safetensors": "x"}, gated="auto")
    found = await hub.search("flux", limit=5)
    asked = fake.asked[0].url.params
    assert (asked["search"], asked["limit"], asked["full"]) == ("flux", "5", "true")
    (model,) = found.models
    assert model.repo_id == "black-forest-labs/FLUX.1-dev"
    assert (model.author, model.licence, model.base_model) == ("black-forest-labs", "apache-2.0", "org/base")
    assert (model.pipeline_tag, model.downloads, model.gated) == ("text-to-image", 3400, True)
    assert len(model.revision) == 40
    assert model.file_names == ["flux1-dev.safetensors"]
    assert model.page_url == "https://huggingface.co/black-forest-labs/FLUX.1-dev"
    assert (found.cached, found.stale, found.calls) == (False, False, 1)
    again = await hub.search("flux", limit=5)
    assert (again.models, again.cached, again.calls) == (found.models, True, 0)


async def test_searches_are_remembered_ten_minutes_and_file_lists_a_day(fake, hub, clock):
    fake.add("a/flux", {"x.safetensors": "x"})
    await hub.search("flux")
    await hub.files("a/flux")
    clock.now += 601
    assert (await hub.search("flux")).stale
    assert not (await hub.files("a/flux")).stale
    clock.now += 86_400
    assert (await hub.files("a/flux")).stale


async def test_files_with_their_hashes(fake, hub):
    fake.add("a/flux", {"x.safetensors": "content", "deep/er/y.gguf": "other", "README.md": None})
    listed = await hub.files("a/flux")
    files = {file.path: file for file in listed.files}
    assert set(files) == {"x.safetensors", "deep/er/y.gguf", "README.md"}
    assert files["x.safetensors"].size == 7
    assert len(files["x.safetensors"].sha256) == 64
    assert (files["README.md"].size, files["README.md"].sha256) == (1519, None)
    assert listed.complete
    assert fake.asked[-1].url.params["recursive"] == "true"


async def test_long_lists_go_on(fake, hub):
    fake.add("a/flux", {"x.safetensors": "content"})
    url = "https://huggingface.co/api/models/a/flux/tree/main?recursive=true&cursor=abc"
    fake.headers["Link"] = f'<{url}>; rel="next"'
    assert not (await hub.files("a/flux")).complete
    listed = await hub.files("a/flux", calls=3)
    assert len(listed.files) == 3
    assert fake.asked[-1].url.params["cursor"] == "abc"


async def test_a_list_that_goes_on_elsewhere_is_not_followed(fake, hub):
    fake.add("a/flux", {"x.safetensors": "content"})
    fake.headers["Link"] = '<https://evil.example/steal>; rel="next"'
    with pytest.raises(HostNotAllowedError):
        await hub.files("a/flux", calls=2)


async def test_one_model(fake, hub):
    fake.add(
        "a/flux", {"x.safetensors": "x"}, cardData={"license": "mit", "base_model": ["org/one", "org/two"]}
    )
    model = await hub.model("a/flux")
    assert (model.licence, model.base_model) == ("mit", "org/one")
    with pytest.raises(HttpStatusError):
        await hub.model("a/other")


@pytest.mark.parametrize(
    "repo_id", ["", "a/b/c", "../x", "a/..", "a b", "a/b?x", "a/b#", "a//b", "é/b", "a" * 200, "a/b\n"]
)
async def test_names_that_are_no_repository(hub, repo_id):
    with pytest.raises(InvalidRequestError):
        await hub.files(repo_id)
    with pytest.raises(InvalidRequestError):
        hub.download_url(repo_id, "main", "x")


def test_addresses_are_built_here(hub):
    assert (
        hub.download_url("a/b", "refs/pr/1", "a b/ü#?.safetensors")
        == "https://huggingface.co/a/b/resolve/refs%2Fpr%2F1/a%20b/%C3%BC%23%3F.safetensors"
    )


async def test_another_hub(clock):
    origin = "http://127.0.0.1:8123"
    network = NetworkManager(NetworkSettings(allowed_hosts=(origin,)), clock=clock, sleep=clock.sleep)
    answers = Answers(network, None, clock=clock)
    with respx.mock() as router:
        router.get(f"{origin}/api/models").respond(json=[{"id": "a/b"}])
        found = await HuggingFace(answers, f"{origin}/").search("b")
    assert found.models[0].page_url == f"{origin}/a/b"
    await answers.aclose()
    await network.aclose()


@pytest.mark.parametrize("answer", [{}, {"error": "x"}, "text", 5, None])
async def test_answers_of_another_shape(fake, hub, answer):
    fake.trees["a/b"] = answer
    with pytest.raises(BadAnswerError):
        await hub.files("a/b")


async def test_entries_of_another_shape_are_left_out(fake, hub):
    fake.models = [
        None,
        5,
        [],
        {},
        {"id": 5},
        {"id": "../../etc"},
        {
            "id": "a/b",
            "tags": "x",
            "siblings": {"rfilename": "x"},
            "author": 5,
            "downloads": "many",
            "sha": "nope",
        },
        {
            "id": "gpt2",
            "tags": [None, 5, "ok"],
            "siblings": [None, {"rfilename": "../x"}, {"rfilename": "ok.bin"}],
        },
    ]
    fake.instead = httpx.Response(200, json=fake.models)
    found = (await hub.search("x")).models
    fake.instead = None
    assert [model.repo_id for model in found] == ["a/b", "gpt2"]
    assert (found[0].author, found[0].downloads, found[0].revision, found[0].tags) == ("a", 0, "main", [])
    assert (found[1].tags, found[1].file_names) == (["ok"], ["ok.bin"])
    fake.trees["a/b"] = [
        None,
        {"type": "file", "path": "/etc/passwd"},
        {"type": "file", "path": "ok.bin", "size": -1, "lfs": {"oid": "short", "size": "large"}},
        {"type": "file", "path": "also.bin", "size": True, "lfs": []},
        {"type": "directory", "path": "folder"},
    ]
    files = (await hub.files("a/b")).files
    assert [(file.path, file.size, file.sha256) for file in files] == [
        ("ok.bin", None, None),
        ("also.bin", None, None),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(item=from_publisher)
def test_nothing_a_publisher_writes_breaks_it(item):
    hub = HuggingFace.__new__(HuggingFace)
    hub._base = "https://huggingface.co"
    model = hub._model(item if not isinstance(item, dict) else {"id": "a/b", **item})
    if model is not None:
        assert all(safe_path(path) for path in model.file_names)
        model.model_dump_json()


@given(st.text(), st.integers(1, 50))
def test_plain_text(text, longest):
    plain = plain_text(text, longest)
    assert len(plain) <= longest
    assert plain == plain_text(plain, longest)
    assert all(char.isprintable() for char in plain)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a\x00b\x1b[31mc\u202ed\u200be", "ab[31mcde"),
        ("  several\n\n lines\t ", "several lines"),
        ("x" * 5000, "x" * 200),
        (None, ""),
        (5, ""),
        (["a"], ""),
        ("\ud800broken", "broken"),
    ],
)
def test_what_publishers_write(text, plain):
    assert plain_text(text) == plain


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/abs",
        "a/../b",
        "..",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "C:/x",
        "a\nb",
        "a\x00",
        "a\u202eb",
        " a",
        "x" * 2000,
        None,
        5,
    ],
)
def test_paths_that_could_lead_elsewhere(path):
    assert safe_path(path) is None


@pytest.mark.parametrize("path", ["a.bin", "a/b c/ü.safetensors", "...x", "模型.gguf"])
def test_paths_that_are_well(path):
    assert safe_path(path) == path


async def test_down_and_nothing_remembered(fake, hub):
    fake.down.add("/api")
    with pytest.raises(NetworkUnavailableError):
        await hub.search("x")


async def test_a_private_repository(fake, hub):
    fake.instead = httpx.Response(401)
    with pytest.raises(HttpStatusError, match="token"):
        await hub.files("a/b")
