#!/usr/bin/env python3
"""Writes the message tables beside this script from the descriptors of installed packages.

Usage: python3 make_schemas.py tensorflow|coreml|onnx|paddle …
Each table names the messages that a root message reaches: field numbers, wire kinds and names, as the projects publish them in
their `.proto` files (TensorFlow, Core ML Tools, ONNX, PaddlePaddle). One line a field:

    message NAME
    NUMBER NAME KIND [MESSAGE]     KIND: v varint, l 64 bits, i 32 bits, t text, b bytes, m message; capitals: repeated
"""
import importlib, pathlib, sys

HERE = pathlib.Path(__file__).parent
ROOTS = {
    "tensorflow": [
        ("tensorflow.core.protobuf.saved_model_pb2", "SavedModel"), ("tensorflow.core.protobuf.fingerprint_pb2", "FingerprintDef"),
        ("tensorflow.core.protobuf.trackable_object_graph_pb2", "TrackableObjectGraph"), ("tensorflow.core.protobuf.tensor_bundle_pb2", "BundleHeaderProto"),
        ("tensorflow.core.protobuf.tensor_bundle_pb2", "BundleEntryProto"), ("tensorflow.python.keras.protobuf.saved_metadata_pb2", "SavedMetadata"),
        ("tensorflow.core.protobuf.graph_debug_info_pb2", "GraphDebugInfo"), ("tensorflow.core.framework.kernel_def_pb2", "KernelList"),
        ("tensorflow.core.protobuf.config_pb2", "ConfigProto"),
    ],
    "coreml": [("coremltools.proto.Model_pb2", "Model")],
    "onnx": [("onnx.onnx_ml_pb2", "ModelProto")],
    "paddle": [("paddle.base.proto.framework_pb2", "ProgramDesc")],
}
SHORT = {}
VARINT, WIDE, NARROW, TEXT, BYTES, MESSAGE = "v", "l", "i", "t", "b", "m"
KINDS = {1: WIDE, 2: NARROW, 3: VARINT, 4: VARINT, 5: VARINT, 6: WIDE, 7: NARROW, 8: VARINT, 9: TEXT, 11: MESSAGE, 12: BYTES, 13: VARINT, 14: VARINT,
         15: NARROW, 16: WIDE, 17: VARINT, 18: VARINT}


def walk(message, seen):
    if message.full_name in seen:
        return
    seen[message.full_name] = message
    for field in message.fields:
        if field.message_type is not None:
            walk(field.message_type, seen)


def short(message):
    """Without the package, unless that would make two names one."""
    package = message.file.package
    name = message.full_name.removeprefix(package + ".") if package else message.full_name
    return name if SHORT.setdefault(name, message.full_name) == message.full_name else message.full_name


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == 3


for family in sys.argv[1:]:
    seen = {}
    for module, root in ROOTS[family]:
        try:
            walk(importlib.import_module(module).DESCRIPTOR.message_types_by_name[root], seen)
        except ImportError as error:
            print(f"{family}: {error}", file=sys.stderr)
    lines = []
    SHORT.clear()
    for name, message in seen.items():
        lines.append(f"message {short(message)}")
        for field in sorted(message.fields, key=lambda field: field.number):
            kind = KINDS[field.type]
            kind = kind.upper() if is_repeated(field) else kind
            lines.append(" ".join([str(field.number), field.name, kind] + ([short(field.message_type)] if field.message_type else [])))
    (HERE / f"{family}.txt").write_text("\n".join(lines) + "\n")
    print(family, len(seen), "messages", len(lines), "lines")
