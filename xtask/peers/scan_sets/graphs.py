"""Graphs whose operators or references leave them: ONNX, TensorFlow, TFLite, Core ML, PaddlePaddle.

Messages are written by field number, after the published `.proto` and `.fbs` files of the projects.
"""

from __future__ import annotations

import json
import struct

from .archives import ELF
from .assembler import EVIL
from .wire import block, number, varint
from .writer import Writer


def cases(add: Writer) -> None:
    """Graph files, one technique each."""
    for name, data in (_onnx() | _tensorflow() | _tflite() | _coreml() | _paddle()).items():
        add("format", name, data)


# --- ONNX (onnx.proto3): ModelProto 1 ir_version, 2 producer_name, 7 graph, 8 opset_import, 14 metadata_props, 20 training_info, 25 functions


def _tensor(
    name: str = "w",
    *,
    location: str | None = None,
    raw: bytes | None = None,
    dims: tuple[int, ...] = (4,),
    more: bytes = b"",
) -> bytes:
    out = b"".join(number(1, size) for size in dims) + number(2, 1) + block(8, name)
    if location is not None:
        return out + block(13, block(1, "location") + block(2, location)) + more + number(14, 1)
    return out + block(9, bytes(16) if raw is None else raw) + more


def _node(operator: str, domain: str = "", attributes: bytes = b"") -> bytes:
    return (
        block(1, "x")
        + block(1, "w")
        + block(2, "y")
        + block(3, "n")
        + block(4, operator)
        + attributes
        + (block(7, domain) if domain else b"")
    )


def _value(name: str) -> bytes:
    shape = block(2, block(1, number(1, 1)) + block(1, number(1, 4)))
    return block(1, name) + block(2, block(1, number(1, 1) + shape))


def _graph(*, nodes: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), more: bytes = b"") -> bytes:
    nodes, tensors = nodes or (_node("MatMul"),), tensors or (_tensor(),)
    return (
        b"".join(block(1, node) for node in nodes)
        + block(2, "g")
        + b"".join(block(5, tensor) for tensor in tensors)
        + block(11, _value("x"))
        + block(12, _value("y"))
        + more
    )


def onnx(graph: bytes, *, domains: tuple[str, ...] = (), more: bytes = b"") -> bytes:
    """A model around a graph."""
    opsets = block(8, block(1, "") + number(2, 17)) + b"".join(
        block(8, block(1, domain) + number(2, 1)) for domain in domains
    )
    return number(1, 8) + block(2, "pytorch") + block(7, graph) + opsets + more


def _attribute(name: str, field: int, value: bytes, kind: int) -> bytes:
    return block(5, block(1, name) + block(field, value) + number(20, kind))


LOCATIONS = {
    "up": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "backslash": "..\\..\\secret.bin",
    "mixed": "..\\../secret.bin",
    "inside": "weights/../../../secret.bin",
    "drive": "C:\\Windows\\win.ini",
    "share": "\\\\127.0.0.1\\share\\x",
    "slashes": "//etc//passwd",
    "dot_slash": "././../x",
    "scheme": "file:///etc/passwd",
    "zero": "weights.bin\0/../../x",
    "home": "~/.ssh/id_rsa",
    "proc": "/proc/self/environ",
    "escaped": "%2e%2e/%2e%2e/x",
    "web": "http://127.0.0.1:9/x",
}


def _onnx() -> dict[str, bytes]:
    escape = _tensor(location="../../../etc/passwd")
    inner = _graph(tensors=(escape,))
    made = {
        f"external_{name}": onnx(_graph(tensors=(_tensor(location=location),))) for name, location in LOCATIONS.items()
    }
    made |= {
        "external_in_if": onnx(_graph(nodes=(_node("If", attributes=_attribute("then_branch", 6, inner, 5)),))),
        "external_in_loop": onnx(
            _graph(
                nodes=(
                    _node(
                        "Loop",
                        attributes=_attribute(
                            "body",
                            6,
                            _graph(nodes=(_node("If", attributes=_attribute("else_branch", 6, inner, 5)),)),
                            5,
                        ),
                    ),
                )
            )
        ),
        "external_in_constant": onnx(_graph(nodes=(_node("Constant", attributes=_attribute("value", 5, escape, 4)),))),
        "external_in_list": onnx(_graph(nodes=(_node("X", attributes=_attribute("values", 10, escape, 9)),))),
        "external_in_sparse": onnx(_graph(more=block(15, block(1, escape) + block(2, _tensor("i"))))),
        "external_in_sparse_constant": onnx(
            _graph(nodes=(_node("Constant", attributes=_attribute("sparse_value", 22, block(1, escape), 11)),))
        ),
        "external_in_training": onnx(_graph(), more=block(20, block(1, inner))),
        "external_in_function": onnx(
            _graph(),
            more=block(25, block(1, "f") + block(7, _node("Constant", attributes=_attribute("value", 5, escape, 4)))),
        ),
        "external_two_locations": onnx(
            _graph(
                tensors=(
                    _tensor(location="weights.bin", more=block(13, block(1, "location") + block(2, "/etc/passwd"))),
                )
            )
        ),
        "external_flag_late": onnx(
            _graph(
                tensors=(
                    number(14, 1)
                    + block(13, block(1, "location") + block(2, "../x"))
                    + number(1, 4)
                    + number(2, 1)
                    + block(8, "w"),
                )
            )
        ),
        "python_operator": onnx(
            _graph(
                nodes=(
                    _node(
                        "PyOp",
                        "ai.onnx.contrib",
                        _attribute("module", 4, b"os", 3) + _attribute("func", 4, b"system", 3),
                    ),
                )
            ),
            domains=("ai.onnx.contrib",),
        ),
        "python_operator_com": onnx(
            _graph(nodes=(_node("PyCustomOpDef", "ai.onnx.contrib"),)), domains=("ai.onnx.contrib",)
        ),
        "domain_unknown": onnx(_graph(nodes=(_node("Run", "com.evil.ops"),)), domains=("com.evil.ops",)),
        "domain_undeclared": onnx(_graph(nodes=(_node("Run", "evil"),))),
        "domain_in_subgraph": onnx(
            _graph(
                nodes=(_node("If", attributes=_attribute("then_branch", 6, _graph(nodes=(_node("Run", "evil"),)), 5)),)
            ),
            domains=("evil",),
        ),
        "domain_homoglyph": onnx(_graph(nodes=(_node("MatMul", "ai.\u043ennx.ml"),)), domains=("ai.\u043ennx.ml",)),
        "python_aten": onnx(
            _graph(nodes=(_node("PythonOp", "com.microsoft", _attribute("func_name", 4, b"os.system", 3)),)),
            domains=("com.microsoft",),
        ),
        "function_shadow": onnx(
            _graph(), more=block(25, block(1, "MatMul") + block(7, _node("Run", "evil")) + block(10, ""))
        ),
        "raw_pickle": onnx(_graph(tensors=(_tensor(raw=EVIL, dims=(len(EVIL) // 4,)),))),
        "raw_elf": onnx(_graph(tensors=(_tensor(raw=ELF, dims=(len(ELF) // 4,)),))),
        "metadata_pickle": onnx(_graph(), more=block(14, block(1, "state") + block(2, EVIL))),
        "metadata_code": onnx(_graph(), more=block(14, block(1, "init") + block(2, "__import__('os').system('true')"))),
        "unknown_field": onnx(_graph(), more=block(999, EVIL)),
        "unknown_field_in_graph": onnx(_graph(more=block(500, EVIL))),
        "unknown_field_in_tensor": onnx(_graph(tensors=(_tensor(more=block(500, EVIL)),))),
        "trailing": onnx(_graph()) + EVIL,
        "dims_huge": onnx(_graph(tensors=(_tensor(dims=(2**40, 2**40)),))),
        "dims_negative": onnx(_graph(tensors=(_tensor(dims=(-1, 4)),))),
        "dims_lie": onnx(_graph(tensors=(_tensor(dims=(4000,)),))),
        "text_tensor_pickle": onnx(_graph(tensors=(number(1, 1) + number(2, 8) + block(6, EVIL) + block(8, "s"),))),
        "graph_deep": onnx(_deep(3000)),
        "two_graphs": onnx(_graph(), more=block(7, _graph(nodes=(_node("Run", "evil"),)))),
    }
    return {f"onnx/{name}.onnx": data for name, data in made.items()}


def _deep(levels: int) -> bytes:
    graph = _graph()
    for _ in range(levels):
        graph = block(1, block(4, "If") + block(5, block(1, "b") + block(6, graph) + number(20, 5)))
    return graph


# --- TensorFlow: SavedModel 1 schema version, 2 meta graphs; MetaGraphDef 1 info, 2 graph; GraphDef 1 nodes, 2 library, 4 versions


def _operation(operator: str, attributes: dict[str, bytes] | None = None, name: str = "n") -> bytes:
    out = block(1, name) + block(2, operator) + block(3, "x")
    return out + b"".join(block(5, block(1, key) + block(2, value)) for key, value in (attributes or {}).items())


def _plain_nodes() -> list[bytes]:
    return [
        _operation("Placeholder", {"dtype": number(6, 1)}, "x"),
        _operation("MatMul", {"T": number(6, 1)}, "y"),
        _operation("Identity", None, "z"),
    ]


def graph_definition(nodes: list[bytes], library: bytes = b"") -> bytes:
    """A GraphDef of plain nodes and these."""
    return (
        b"".join(block(1, node) for node in _plain_nodes() + nodes)
        + (block(2, library) if library else b"")
        + block(4, number(1, 1286))
    )


def saved_model(graph: bytes) -> bytes:
    """A SavedModel with one meta graph."""
    info = block(1, "") + block(4, "serve") + block(5, "2.17.0")
    return number(1, 1) + block(2, block(1, info) + block(2, graph))


# Operators that touch files, the network or Python whatever their inputs are, and unknown ones.
OPERATORS = [
    "ReadFile",
    "WriteFile",
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "SqlDataset",
    "DebugIdentityV2",
    "DebugIdentityV3",
    "ImmutableConst",
    "FixedLengthRecordReaderV2",
    "WholeFileReaderV2",
    "TFRecordReaderV2",
    "TextLineDataset",
    "TFRecordDataset",
    "WriteSummary",
    "CreateSummaryFileWriter",
    "RpcCall",
    "TryRpc",
    "DataServiceDatasetV2",
    "RegisterDataset",
    "LoadDataset",
    "SaveDataset",
    "CacheDatasetV2",
    "SnapshotDatasetV2",
    "EvilCustomOp",
    "GeneratorDataset",
    "IO>KafkaDataset",
]


def _tensorflow() -> dict[str, bytes]:
    made = {
        f"savedmodel/{operator.replace('>', '_')}/saved_model.pb": saved_model(graph_definition([_operation(operator)]))
        for operator in OPERATORS
    }
    path = {"value": block(8, number(1, 7) + block(2, b"") + block(8, "/etc/passwd"))}
    in_function = block(1, block(1, block(1, "__inference_call")) + block(3, _operation("WriteFile")))
    made |= {
        "savedmodel/in_function/saved_model.pb": saved_model(graph_definition([], in_function)),
        "savedmodel/second_graph/saved_model.pb": saved_model(graph_definition([]))
        + block(2, block(2, graph_definition([_operation("ReadFile")]))),
        "savedmodel/path_constant/saved_model.pb": saved_model(
            graph_definition([_operation("Const", path), _operation("ReadFile")])
        ),
        "savedmodel/merge_checkpoints/saved_model.pb": saved_model(
            graph_definition(
                [_operation("Const", path), _operation("MergeV2Checkpoints", {"delete_old_dirs": number(5, 1)})]
            )
        ),
        "savedmodel/restore_absolute/saved_model.pb": saved_model(
            graph_definition([_operation("Const", path), _operation("RestoreV2")])
        ),
        "savedmodel/matching_files/saved_model.pb": saved_model(
            graph_definition([_operation("Const", path), _operation("MatchingFiles")])
        ),
        "savedmodel/keras_lambda/keras_metadata.pb": block(
            1,
            number(1, 1)
            + block(3, "root.layer")
            + block(4, "_tf_keras_layer")
            + block(
                5,
                json.dumps(
                    {
                        "class_name": "Lambda",
                        "config": {
                            "name": "l",
                            "function": {"class_name": "__tuple__", "items": ["4wAAAAAAAAAA", None, None]},
                            "function_type": "lambda",
                        },
                    }
                ),
            ),
        ),
        "savedmodel/trailing/saved_model.pb": saved_model(graph_definition([])) + EVIL,
        "savedmodel/asset_path/saved_model.pb": number(1, 1)
        + block(
            2,
            block(1, block(4, "serve"))
            + block(2, graph_definition([]))
            + block(6, block(1, block(1, "asset:0")) + block(2, "../../../etc/passwd")),
        ),
        "frozen/read_file.pb": graph_definition([_operation("ReadFile")]),
        "frozen/py_func.pb": graph_definition([_operation("PyFunc", {"token": block(2, "pyfunc_0")})]),
        "frozen/in_function.pb": graph_definition([], in_function),
        "frozen/text.pbtxt": b'node {\n  name: "x"\n  op: "Placeholder"\n}\nnode {\n  name: "n"\n  op: "WriteFile"\n  input: "x"\n}\nversions {\n  producer: 1286\n}\n',
        "checkpoint/absolute/checkpoint": b'model_checkpoint_path: "/etc/shadow"\nall_model_checkpoint_paths: "../../../../root/x"\n',
    }
    return made


# --- TFLite (schema.fbs)


def _tflite() -> dict[str, bytes]:
    made = {
        "flex_read_file": tflite("FlexReadFile"),
        "flex_py_func": tflite("FlexPyFunc"),
        "flex_write_file": tflite("FlexWriteFile"),
        "custom_operator": tflite("EvilShell"),
        "metadata_pickle": tflite(None, metadata=EVIL),
        "metadata_elf": tflite(None, metadata=ELF),
        "buffer_pickle": tflite(None, weights=EVIL),
        "buffer_elf": tflite(None, weights=ELF),
        "trailing_pickle": tflite(None) + EVIL,
    }
    good = tflite(None)
    made["root_outside"] = struct.pack("<I", 0x7FFFFFFF) + good[4:]
    made["table_outside"] = good[: -len(good) // 2]
    return {f"tflite/{name}.tflite": data for name, data in made.items()}


def tflite(custom: str | None, *, metadata: bytes | None = None, weights: bytes = bytes(16)) -> bytes:
    """A model with one operator: `custom`, or ADD."""
    import flatbuffers

    builder = flatbuffers.Builder(256)

    def vector(offsets: list[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def numbers(values: list[int]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependInt32(value)
        return builder.EndVector()

    buffers = []
    for data in [b"", weights] + ([metadata] if metadata is not None else []):
        content = builder.CreateByteVector(data) if data else None
        builder.StartObject(1)
        if content is not None:
            builder.PrependUOffsetTRelativeSlot(0, content, 0)
        buffers.append(builder.EndObject())
    name = builder.CreateString(custom) if custom else None
    builder.StartObject(4)
    builder.PrependInt8Slot(0, 32 if custom else 0, 0)
    if name is not None:
        builder.PrependUOffsetTRelativeSlot(1, name, 0)
    builder.PrependInt32Slot(2, 1, 0)
    builder.PrependInt32Slot(3, 32 if custom else 0, 0)
    code = builder.EndObject()
    tensors = []
    for label, buffer in (("x", 0), ("w", 1), ("y", 0)):
        shape, text = numbers([4]), builder.CreateString(label)
        builder.StartObject(8)
        builder.PrependUOffsetTRelativeSlot(0, shape, 0)
        builder.PrependUint32Slot(2, buffer, 0)
        builder.PrependUOffsetTRelativeSlot(3, text, 0)
        tensors.append(builder.EndObject())
    inputs, outputs = numbers([0, 1]), numbers([2])
    builder.StartObject(9)
    builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
    operator = builder.EndObject()
    tensor_list, graph_inputs, graph_outputs, operators = (
        vector(tensors),
        numbers([0]),
        numbers([2]),
        vector([operator]),
    )
    builder.StartObject(5)
    for slot, value in enumerate((tensor_list, graph_inputs, graph_outputs, operators)):
        builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    graph = builder.EndObject()
    entries = None
    if metadata is not None:
        label = builder.CreateString("TFLITE_METADATA")
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, label, 0)
        builder.PrependUint32Slot(1, 2, 0)
        entries = vector([builder.EndObject()])
    codes, graphs, description, contents = (
        vector([code]),
        vector([graph]),
        builder.CreateString("made by hand"),
        vector(buffers),
    )
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    for slot, value in ((1, codes), (2, graphs), (3, description), (4, contents), (6, entries)):
        if value is not None:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


# --- Core ML (Model.proto): 1 specificationVersion, 2 description, 500 neuralNetwork, 555 customModel


def _coreml() -> dict[str, bytes]:
    description = block(2, block(1, block(1, "x")) + block(10, block(1, "y")))
    layer = (
        block(1, "l")
        + block(2, "x")
        + block(3, "y")
        + block(500, block(10, "EvilLayer") + block(40, "runs native code"))
    )
    linked = block(556, block(1, block(1, block(1, "../../../evil")) + block(2, block(1, "/Library/x"))))
    return {
        "coreml/custom_model.mlmodel": number(1, 4) + description + block(555, block(10, "EvilModel")),
        "coreml/custom_layer.mlmodel": number(1, 4) + description + block(500, block(1, layer)),
        "coreml/linked.mlmodel": number(1, 4) + description + linked,
    }


# --- PaddlePaddle (framework.proto): ProgramDesc 1 blocks; BlockDesc 1 idx, 2 parent, 3 vars, 4 ops; OpDesc 3 type


def _paddle() -> dict[str, bytes]:
    def program(operator: str) -> bytes:
        operation = (
            block(1, block(1, "X") + block(2, "x")) + block(2, block(1, "Out") + block(2, "y")) + block(3, operator)
        )
        return block(
            1, number(1, 0) + number(2, 0) + block(3, block(1, "x") + block(2, number(1, 7))) + block(4, operation)
        ) + block(4, number(1, 2))

    return {f"paddle/{name}.pdmodel": program(name) for name in ("py_func", "load", "custom_evil", "pyramid_shell")}


assert varint(300) == b"\xac\x02"
