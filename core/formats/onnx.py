"""ONNX: a protobuf message ``ModelProto``.

Source: ``onnx/onnx``, ``onnx.proto``. The graph itself is passed over: what stands before and after it is
read, which says who made the model, for what, and with which operators.
"""

from __future__ import annotations

from typing import BinaryIO

from ..errors import NotAModelError
from .facts import FileFacts, facts_of
from .reading import BoundedReader, keep

MAX_FIELDS = 200
MAX_FIELD_BYTES = 64 * 1024

_IR_VERSION, _MODEL_VERSION, _GRAPH, _OPSET, _PROPERTIES, _TRAINING, _FUNCTIONS = 1, 5, 7, 8, 14, 20, 25
_TEXT_FIELDS = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}
_OTHER_FIELDS = {_OPSET, _PROPERTIES, _TRAINING, _FUNCTIONS, 26}


def read_onnx(file: BinaryIO, size: int) -> FileFacts | None:
    """What the message says around its graph, or nothing if the bytes are no ONNX model."""
    reader = _ProtobufReader(file, size, "ONNX")
    metadata: dict[str, str] = {}
    has_graph = False
    try:
        for _ in range(MAX_FIELDS):
            if reader.position >= size:
                break
            field, kind = reader.key()
            if "ir_version" not in metadata and field != _IR_VERSION:
                return None  # every exporter writes it first
            if kind == 0 and field in (_IR_VERSION, _MODEL_VERSION):
                number = reader.varint()
                if field == _IR_VERSION:
                    if not 1 <= number <= 1000:
                        return None
                    metadata["ir_version"] = str(number)
                continue
            length = reader.varint() if kind == 2 else 0
            if kind == 2 and field == _GRAPH and length > 0:
                has_graph = True
                reader.skip(length)
            elif kind == 2 and field in _TEXT_FIELDS and length <= MAX_FIELD_BYTES:
                keep(metadata, _TEXT_FIELDS[field], reader.bytes(length).decode(errors="replace"))
            elif kind == 2 and field == _PROPERTIES and length <= MAX_FIELD_BYTES:
                _keep_property(metadata, reader.bytes(length))
            elif kind == 2 and field in _OTHER_FIELDS:
                reader.skip(length)
            else:
                return None
    except NotAModelError:
        return None
    return facts_of("onnx", size, metadata) if has_graph else None


class _ProtobufReader(BoundedReader):
    def varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise NotAModelError("The ONNX file is damaged.")

    def key(self) -> tuple[int, int]:
        """A field's number and wire type."""
        number = self.varint()
        return number >> 3, number & 7


def _keep_property(metadata: dict[str, str], message: bytes) -> None:
    """A ``StringStringEntryProto``: key and value, each shorter than 128 bytes or it is left out."""
    texts: list[bytes] = []
    place = 0
    for tag in (0x0A, 0x12):
        if message[place : place + 1] != bytes([tag]) or place + 2 > len(message) or message[place + 1] > 127:
            return
        length = message[place + 1]
        texts.append(message[place + 2 : place + 2 + length])
        place += 2 + length
    keep(metadata, *(text.decode(errors="replace") for text in texts))
