from __future__ import annotations

import os

import pytest

from ..fake_hub import FakeHub
from ._doing import BIG, opened


@pytest.fixture
def hub(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    hub = FakeHub()
    hub.start()
    monkeypatch.setenv("LIBRARIAN_OFFLINE", "")
    monkeypatch.setenv("HF_ENDPOINT", hub.origin)
    monkeypatch.setenv("CIVITAI_ENDPOINT", hub.origin)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield hub
    hub.stop()


@pytest.fixture
def other_host():
    other = FakeHub()
    other.start()
    yield other
    other.stop()


@pytest.fixture
def librarian(hub, surroundings):
    librarian = opened(surroundings)
    yield librarian
    librarian.close()


@pytest.fixture
def big(make_model, tmp_path) -> bytes:
    return make_model(tmp_path / "at the hub" / "big.safetensors", BIG).read_bytes()
