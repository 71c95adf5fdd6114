"""Whatever the OpenAPI document allows, and what it does not: an answer or a problem, never an error of ours.

The calls are generated from the document that the server itself hands out, so a new call is fuzzed at once.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

AWKWARD = [
    "\0", "..", "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "~root", "~nobody-at-all/x", "/",
    "\ud800", "\udcff/x", "%00", "'; DROP TABLE models; --", '"', "NEAR(", "x" * 5000, "/" + "a" * 300,
    "/" + "a/" * 3000, "-1", "NaN", "null", "\u202e\U0001f600", "CON", "vision/esrgan/up", "in-place/x",
    ".incoming/x", "comfyui",
]  # fmt: skip
NASTY_TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(AWKWARD),
)
NASTY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        NASTY_TEXT,
        st.sampled_from([2**63, -(2**63), 10**400]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NASTY_TEXT, inner, max_size=3)),
    max_leaves=6,
)


def values(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit a JSON schema of the document, mostly; now and then anything at all."""
    fitting = _fitting(schema, document, depth)
    return st.one_of(fitting, fitting, fitting, NASTY) if depth else fitting


def _fitting(schema: dict[str, Any], document: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return values(document["components"]["schemas"][name], document, depth)
    if depth > 5:
        return NASTY
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of([values(option, document, depth + 1) for option in schema[key]])
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {
                name: values(value, document, depth + 1)
                for name, value in properties.items()
                if name in required
            },
            optional={
                name: values(value, document, depth + 1)
                for name, value in properties.items()
                if name not in required
            },
        )
    if kind == "array":
        return st.lists(
            values(schema.get("items", {}), document, depth + 1),
            min_size=schema.get("minItems", 0),
            max_size=4,
        )
    if kind == "integer":
        in_range = st.integers(schema.get("minimum"), schema.get("maximum"))
        return st.one_of(in_range, st.sampled_from([0, -1, 2**63, 2**64]))
    return {"boolean": st.booleans(), "number": st.floats(), "string": NASTY_TEXT, "null": st.none()}.get(
        str(kind), NASTY
    )


def calls(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every call."""
    return [
        (method.upper(), path, operation)
        for path, operations in sorted(document["paths"].items())
        for method, operation in sorted(operations.items())
    ]


@pytest.fixture
def draw_call():
    """How to draw the parts of a request from an operation of the document."""

    def draw(data: st.DataObject, document: dict[str, Any], path: str, operation: dict[str, Any]):
        query: list[tuple[str, str]] = []
        headers: dict[str, str] = {}
        for parameter in operation.get("parameters", ()):
            value = data.draw(values(parameter["schema"], document, 1), label=parameter["name"])
            if parameter["in"] == "path":
                text = str(value) or "x"
                path = path.replace("{" + parameter["name"] + "}", quote(text, errors="surrogatepass"))
            elif parameter["in"] == "header":
                if data.draw(st.sampled_from([True, True, True, False])):
                    headers[parameter["name"]] = data.draw(
                        st.sampled_from(
                            ["1.0.0", "0", "1", "7", "sha1 eHg=", "filename eHg=", "PATCH", "\xff"]
                        )
                    )
            elif data.draw(st.booleans()):
                query += [
                    (parameter["name"], str(one)) for one in (value if isinstance(value, list) else [value])
                ]
        body = None
        if "requestBody" in operation:
            [(headers["Content-Type"], content)] = operation["requestBody"]["content"].items()
            if "schema" in content:
                body = json.dumps(data.draw(values(content["schema"], document), label="body")).encode()
            else:
                body = data.draw(st.binary(max_size=8))
        text = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in query)
        return path + (f"?{text}" if text else ""), headers, body

    return draw


async def test_no_call_meets_an_error_of_ours(api, draw_call, monkeypatch, make_model, downloads, caplog):
    """One case a drawn request; all go to one server, so each also meets what the earlier ones left."""
    from yarl import URL

    monkeypatch.setattr(
        "model_librarian.core.services.removal.to_trash", lambda path: path.rename(downloads / "trash")
    )
    source = make_model(downloads / "up.safetensors")
    _, accepted = await api("POST", "/imports", {"items": [{"paths": [str(source)]}]})
    await api.finished(accepted["job"])
    _, document = await api("GET", "/openapi.json")
    await api("PATCH", "/settings", {"online": False})
    loop = asyncio.get_running_loop()
    wrong: list[str] = []

    async def send(method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, str]:
        url = URL(str(api.client.make_url("/"))[:-1] + path, encoded=True)
        async with api.client.session.request(method, url, data=body, headers=headers) as response:
            if "event-stream" in response.content_type:
                return response.status, ""
            text = await response.text(errors="replace")
            if response.status < 500 and "json" in response.content_type:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
            return response.status, text

    def fuzz(method: str, path: str, operation: dict[str, Any]) -> None:
        @settings(
            max_examples=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(data=st.data())
        def one(data) -> None:
            url, headers, body = draw_call(data, document, path, operation)
            sent = send(method, url, headers, body)
            status, text = asyncio.run_coroutine_threadsafe(sent, loop).result(30)
            assert status < 500 or status == 503, f"{method} {url} {headers} {body!r}: {status} {text}"
            if status >= 400 and text.startswith("{"):
                assert len(json.loads(text)["detail"]) > 10

        try:
            one()
        except AssertionError as error:
            wrong.append(str(error))

    for method, path, operation in calls(document):
        if (method, path) != ("PATCH", "/librarian/settings"):  # it would move the library
            await asyncio.to_thread(fuzz, method, path, operation)
    assert not wrong, "\n".join(wrong)
    assert (await api("GET", "/status"))[0] == 200
    assert source.exists()
