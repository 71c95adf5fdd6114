"""ONNX: a protobuf message ``ModelProto``.

Source: ``onnx/onnx``, ``onnx.proto``. Only the fields in front of the graph are read.
"""

from __future__ import annotations

from .facts import FileFacts

_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
_TEXT_FIELDS = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}
_MAX_FIELD_BYTES = 4096


def read_onnx(start: bytes, size: int) -> FileFacts | None:
    """What the message says before its graph, or nothing if the bytes are no ONNX model."""
    if start[:1] != b"\x08":  # field 1, ir_version, comes first in what every exporter writes
        return None
    metadata: dict[str, str] = {}
    position = 0
    while position < len(start):
        key, position = _varint(start, position)
        field, wire_type = key >> 3, key & 7
        if field in (_GRAPH, _OPSET) and wire_type == 2 and "ir_version" in metadata:
            length, position = _varint(start, position)
            if 0 < length <= size - position:
                return FileFacts(format="onnx", security_tier="safe", size=size, metadata=metadata)
            return None
        if wire_type == 0 and field in (_IR_VERSION, 5):
            number, position = _varint(start, position)
            if field == _IR_VERSION:
                if not 1 <= number <= 1000:
                    return None
                metadata["ir_version"] = str(number)
        elif wire_type == 2 and field in _TEXT_FIELDS:
            length, position = _varint(start, position)
            if length > _MAX_FIELD_BYTES or position + length > len(start):
                return None
            metadata[_TEXT_FIELDS[field]] = start[position : position + length].decode(errors="replace")
            position += length
        else:
            return None
    return None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, len(data)
