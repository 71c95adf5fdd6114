"""What a file is, its content says; a bad file is refused with a sentence that helps."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_librarian.core.errors import LibrarianError, NotAModelError
from model_librarian.core.formats import classify, identify


def gguf(architecture: str = "flux", tensors: int = 1, version: int = 3) -> bytes:
    """A GGUF file with a text, a number, an array, and one tensor info."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text(architecture),
        text("general.file_type") + struct.pack("<II", 4, 2),
        text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
        text("scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 1, 2),
    ]
    infos = [
        text("blk.0.weight") + struct.pack("<I", 2) + struct.pack("<QQ", 32, 2) + struct.pack("<IQ", 8, 0)
    ]
    header = b"GGUF" + struct.pack("<IQQ", version, tensors, len(entries))
    return header + b"".join(entries) + b"".join(infos) + b"\0" * 128


def test_safetensors_header(make_model, tmp_path):
    path = make_model(tmp_path / "any.name", {"a.weight": (2, 3)}, metadata={"modelspec.title": "A title"})
    facts = identify(path)
    assert (facts.format, facts.security_tier) == ("safetensors", "safe")
    assert facts.tensors["a.weight"][1] == (2, 3)
    assert facts.metadata["modelspec.title"] == "A title"


def test_safetensors_may_lie_in_any_order_and_be_empty(tmp_path):
    places = {"b": (4, 8, [4]), "nothing": (4, 4, [0]), "a": (0, 4, [4]), "nothing more": (0, 0, [0])}
    header = {
        name: {"dtype": "U8", "shape": shape, "data_offsets": [begin, end]}
        for name, (begin, end, shape) in places.items()
    }
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert identify(path).tensors == {name: ("U8", tuple(shape)) for name, (_, _, shape) in places.items()}


def test_gguf_header(tmp_path):
    path = tmp_path / "flux1-dev-Q8_0.gguf"
    path.write_bytes(gguf())
    facts = identify(path)
    assert (facts.format, facts.security_tier) == ("gguf", "safe")
    assert facts.metadata["general.architecture"] == "flux"
    assert facts.tensors["blk.0.weight"][0] == "Q8_0"
    guess = classify(facts, path.name)
    assert (guess.subtype, guess.family, guess.precision) == ("diffusion_models", "flux", "q8_0")


def test_torch_zip_and_raw_pickle_are_pickles(make_torch_zip, tmp_path):
    assert identify(make_torch_zip(tmp_path / "model.pth")).security_tier == "pickle"
    raw = tmp_path / "old.ckpt"
    raw.write_bytes(b"\x80\x02}q\x00.")
    assert identify(raw).format == "pickle"


def test_a_pickle_named_safetensors_is_still_a_pickle(make_torch_zip, tmp_path):
    assert identify(make_torch_zip(tmp_path / "model.safetensors")).security_tier == "pickle"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Access denied</html>", "web page"),
        (b"\n  <html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        (b'{"error":"Repository not found"}', "error message"),
        (b"Entry not found", "error message"),
        (b"hello, this is a text", "text file"),
        (b"\0" * 4096, "only zeros"),
        (b"\x07\xfe\xdc" * 100, "not a safetensors, GGUF, ONNX or torch file"),
        (b"PK\x03\x04 and no end", "download it again"),
        (b"GGUF" + struct.pack("<I", 99) + b"\0" * 16, "version 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 1), "entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**40), "64 MB"),
        (struct.pack("<Q", 2**63) + b"{" + b"\0" * 100, "not a safetensors"),
        (struct.pack("<Q", 12) + b'{"a":[[[[[[' + b" " * 90, "not valid JSON"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "describes its tensors wrongly"),
    ],
)
def test_bad_files_are_refused_with_a_reason(content, says, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(NotAModelError, match=says):
        identify(path)


def test_a_download_cut_short_is_noticed(make_model, tmp_path):
    path = make_model(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(NotAModelError, match="cut short"):
        identify(path)


def test_deep_json_does_not_break_the_reader(tmp_path):
    header = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    path = tmp_path / "deep.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(NotAModelError):
        identify(path)


@given(st.binary(max_size=400), st.sampled_from([b"", b"GGUF\x03\0\0\0", b"PK\x03\x04", b"\x08\x07"]))
def test_no_bytes_whatever_crash_the_readers(tail, start):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.bin")
        path.write_bytes(start + tail)
        try:
            identify(path)
        except LibrarianError as error:
            assert error.message


@given(st.integers(0, 2**64 - 1), st.text(max_size=200))
@example(0x0480, "")  # begins with the bytes of a pickle's protocol, which no operation follows
@example(0x830480, "")  # which one follows
@example(0x010000007D0280, "")  # so long is no header: it may as well be a damaged pickle
def test_no_safetensors_header_crashes_the_reader(length, text):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(struct.pack("<Q", length) + b"{" + text.encode())
        if length < 2**24 or length & 0xFF != 0x80:
            with pytest.raises(LibrarianError):
                identify(path)
        else:
            with suppress(LibrarianError):
                assert identify(path).format == "pickle"


@pytest.mark.parametrize(
    ("tensors", "metadata", "name", "subtype", "family"),
    [
        ({"body.0.rdb1.conv1.weight": (4, 4, 3, 3)}, {}, "x4", "upscale_models", "esrgan"),
        ({"lora_unet_double_blocks_0_img_attn.lora_down.weight": (4, 4)}, {}, "style", "loras", "flux"),
        (
            {"unet.attn.lora_A.weight": (4, 4)},
            {"ss_base_model_version": "sdxl_base_v1-0"},
            "s",
            "loras",
            "sdxl",
        ),
        (
            {"lora.x.lora_up.weight": (1, 1)},
            {"modelspec.architecture": "stable-diffusion-v1/lora"},
            "s",
            "loras",
            "sd",
        ),
        (
            {
                "model.diffusion_model.input_blocks.4.attn2.to_k.weight": (8, 768),
                "first_stage_model.a": (1, 1),
            },
            {},
            "m",
            "checkpoints",
            "sd",
        ),
        ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, {}, "unet", "diffusion_models", "flux"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}, {}, "te", "text_encoders", "t5"),
        ({"decoder.conv_in.weight": (1, 1), "encoder.conv_in.weight": (1, 1)}, {}, "ae", "vae", "unknown"),
        ({"vision_model.encoder.layers.0.a": (1, 1)}, {}, "v", "clip_vision", "clip"),
    ],
)
def test_headers_tell_what_a_model_is(make_model, tmp_path, tensors, metadata, name, subtype, family):
    path = make_model(tmp_path / f"{name}.safetensors", tensors, metadata=metadata)
    guess = classify(identify(path), path.name)
    assert (guess.subtype, guess.family) == (subtype, family)
    assert guess.precision == "fp16"


def test_the_folder_decides_the_subtype():
    assert classify(None, "x.safetensors", subtype="vae").subtype == "vae"


def test_big_endian_gguf_is_recognised(tmp_path):
    def text(value: bytes) -> bytes:
        return struct.pack(">Q", len(value)) + value

    path = tmp_path / "big.gguf"
    header = (
        b"GGUF"
        + struct.pack(">IQQ", 3, 0, 1)
        + text(b"general.architecture")
        + struct.pack(">I", 8)
        + text(b"t5")
    )
    path.write_bytes(header)
    assert identify(path).metadata == {"general.architecture": "t5"}


def test_metadata_of_any_json_type_is_text(tmp_path):
    header = json.dumps({"__metadata__": {"a": 1, "b": {"c": []}}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert identify(path).metadata["a"] == "1"
