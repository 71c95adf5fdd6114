from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_librarian.core.network import HostNotAllowedError, NetworkSettings
from model_librarian.core.network.hosts import AllowedHost, HostRules, host_key, host_key_of, is_public
from model_librarian.core.network.records import DEFAULT_HOSTS


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/api/models",
        "https://HuggingFace.co./api",
        "https://cdn-lfs.huggingface.co/x",
        "https://cdn-lfs-us-1.huggingface.co/x",
        "https://cdn-lfs-eu-1.hf.co/x",
        "https://cas-bridge.xethub.hf.co/x",
        "https://us.aws.cdn.hf.co/x",
        "https://civitai.com/api/v1/model-versions/by-hash/x",
        "https://b2.civitai.com/file/x",
        "https://civitai-delivery-worker-prod.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com/m",
    ],
)
def test_the_hosts_models_come_from_are_allowed(url):
    HostRules(DEFAULT_HOSTS).check(httpx.URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://huggingface.co.evil.example/",
        "https://evilhuggingface.co/",
        "https://evil.example/huggingface.co",
        "https://huggingface.co@evil.example/",
        "https://me:secret@huggingface.co/",
        "http://huggingface.co/",
        "https://huggingface.co:22/",
        "https://evil.r2.cloudflarestorage.com/",
        "file:///etc/passwd",
        "ftp://huggingface.co/",
        "https:///nothing",
        "/api/models",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
    ],
)
def test_nothing_else_is(url):
    with pytest.raises(HostNotAllowedError):
        HostRules(DEFAULT_HOSTS).check(httpx.URL(url))


def test_even_an_allowed_name_may_not_be_a_private_number():
    rules = HostRules(["127.0.0.1", "*"])
    for url in ("https://127.0.0.1/", "https://10.0.0.8/", "https://[fe80::1]/", "https://0.0.0.0/"):
        with pytest.raises(HostNotAllowedError, match="private address"):
            rules.check(httpx.URL(url))
    HostRules(["127.0.0.1"], allow_private=True).check(httpx.URL("https://127.0.0.1/"))


def test_http_only_when_allowed():
    with pytest.raises(HostNotAllowedError, match="encrypted"):
        HostRules(["hub.example"]).check(httpx.URL("http://hub.example/"))
    HostRules(["hub.example"], allow_http=True).check(httpx.URL("http://hub.example/"))


def test_a_full_origin_is_trusted_as_it_stands_and_nothing_beside_it():
    rules = HostRules(["http://127.0.0.1:8080"])
    rules.check(httpx.URL("http://127.0.0.1:8080/api"))
    rules.check_address("127.0.0.1", 8080, "127.0.0.1")
    assert rules.keeps_secrets(httpx.URL("http://127.0.0.1:8080/api"))
    assert not rules.keeps_secrets(httpx.URL("http://127.0.0.1:8081/api"))
    for url in ("http://127.0.0.1:8081/", "https://127.0.0.1:8080/", "http://localhost:8080/"):
        with pytest.raises(HostNotAllowedError):
            rules.check(httpx.URL(url))
    with pytest.raises(HostNotAllowedError):
        rules.check_address("127.0.0.1", 8081, "127.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::ffff:7f00:1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2002:808:808::",
        "nonsense",
        "",
    ],
)
def test_addresses_that_are_not_the_internets(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "18.164.174.23", "2600:9000:2075::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are(address):
    assert is_public(address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_private_as_python_sees_it_is_never_public(address):
    if address.is_loopback or address.is_link_local or (address.is_private and not address.is_global):
        assert not is_public(str(address))


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://Hub.example/x", "hub.example"),
        ("https://hub.example:443/", "hub.example"),
        ("https://hub.example:8443/", "hub.example:8443"),
        ("http://hub.example/", "hub.example"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_what_a_host_is_called(url, key):
    assert host_key(httpx.URL(url)) == host_key_of(url) == key


@given(st.text(max_size=60))
def test_what_no_address_is_called(text):
    assert isinstance(host_key_of(text), str)


@pytest.mark.parametrize(
    "entry", ["hub.example", "*.hub.example", "hub.example:8443", "http://[::1]:80", "[::1]"]
)
def test_entries_that_are_understood(entry):
    assert NetworkSettings(allowed_hosts=(entry,)).allowed_hosts == (entry,)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "   ",
        "ftp://x",
        "http://",
        "a/b",
        "https://u@x",
        "x:port",
        "https://*.x",
        "a b",
        "x?y",
        "http://x/y",
    ],
)
def test_entries_that_are_not(entry):
    with pytest.raises(ValidationError):
        NetworkSettings(allowed_hosts=(entry,))


@given(st.text(max_size=60))
def test_no_entry_breaks_the_reading(entry):
    with contextlib.suppress(ValueError):
        AllowedHost.parse(entry)
