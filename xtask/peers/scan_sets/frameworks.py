"""What the frameworks of machine learning write, as far as they are installed."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import tempfile

from .estimators import fitted, table
from .saving import in_file, run_parts
from .writer import Writer

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def cases(add: Writer) -> None:
    """Tensors, graphs, boosted trees, networks, tokenizers."""
    run_parts(
        add,
        (
            safetensors_files,
            onnx_files,
            boosting_files,
            catboost_files,
            hdf5_files,
            keras_files,
            gguf_files,
            flax_files,
            orbax_files,
            tokenizer_files,
            transformers_files,
        ),
    )


def safetensors_files(add: Writer) -> None:
    """Tensors by the library."""
    import numpy as np
    from safetensors.numpy import save

    dice = np.random.default_rng(0)
    add(
        "safetensors",
        "plain.safetensors",
        save({"a": dice.normal(size=(20, 4)).astype(np.float32), "b": np.arange(3)}, {"format": "np"}),
    )
    add(
        "safetensors",
        "types.safetensors",
        save({kind: np.zeros(3, kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "?")}),
    )
    add("safetensors", "empty.safetensors", save({}))
    add("safetensors", "zero_size.safetensors", save({"a": np.zeros((0, 4), np.float32), "b": np.ones(2, np.float32)}))
    add(
        "safetensors",
        "metadata.safetensors",
        save(
            {"w": np.ones(4, np.float32)},
            {
                "format": "pt",
                "ss_tag_frequency": json.dumps({"1_cat": {"cat": 3}}),
                "modelspec.title": "A LoRA",
                "ss_training_comment": "import from base; lr 1e-4",
            },
        ),
    )
    add(
        "safetensors",
        "many.safetensors",
        save(
            {f"model.layers.{i}.weight": dice.normal(size=8).astype(np.float32) for i in range(300)}, {"format": "pt"}
        ),
    )
    add("safetensors", "noise.safetensors", save({"w": dice.integers(0, 256, 300_000, dtype=np.uint8)}))


def onnx_files(add: Writer) -> None:
    """Hand-made graphs by the ONNX helpers, and converted estimators."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def model(
        nodes: list[object], weights: list[object] = (), domains: list[tuple[str, int]] = (("", 17),), **more: object
    ) -> onnx.ModelProto:
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", value[:1], value[1:], list(weights), doc_string="a graph")
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*domain) for domain in domains],
            producer_name="pytorch",
            producer_version="2.3.0",
            **more,
        )
        made.ir_version = 8
        return made

    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    add("onnx", "plain.onnx", model([product], [weight]).SerializeToString())
    typed = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4).flatten().tolist())
    add("onnx", "typed_data.onnx", model([product], [typed]).SerializeToString())
    annotated = model([product], [weight])
    helper.set_model_props(annotated, {"author": "someone", "labels": "cat,dog", "license": "Apache-2.0"})
    add("onnx", "metadata.onnx", annotated.SerializeToString())
    outside = onnx.TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx.data"), ("offset", "0"), ("length", "64")):
        outside.external_data.add(key=key, value=value)
    add("onnx", "external_beside.onnx", model([product], [outside]).SerializeToString())
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    add(
        "onnx",
        "branches.onnx",
        model(
            [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [condition]
        ).SerializeToString(),
    )
    add(
        "onnx",
        "microsoft.onnx",
        model(
            [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], [], [("", 17), ("com.microsoft", 1)]
        ).SerializeToString(),
    )
    add(
        "onnx",
        "quantised.onnx",
        model(
            [
                helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "p"]),
                helper.make_node("DequantizeLinear", ["q", "s", "p"], ["y"]),
            ]
        ).SerializeToString(),
    )
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    add(
        "onnx",
        "function.onnx",
        model(
            [helper.make_node("Twice", ["x"], ["y"], domain="local")],
            [],
            [("", 17), ("local", 1)],
            functions=[function],
        ).SerializeToString(),
    )
    from skl2onnx import to_onnx

    models = fitted()
    sample = np.ones((1, 4), np.float32)
    for name in ("logistic", "forest", "svc", "scaler", "kmeans", "mlp", "pipeline", "gradient"):
        add("onnx", f"sklearn_{name}.onnx", to_onnx(models[name], sample).SerializeToString())


def boosting_files(add: Writer) -> None:
    """XGBoost and LightGBM in each of their formats."""
    import lightgbm
    import xgboost

    x, y = table()
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(x, y)
    add("boosting", "xgboost.pkl", pickle.dumps(model))
    add("boosting", "xgboost_booster.pkl", pickle.dumps(model.get_booster()))
    for suffix in (".json", ".ubj"):
        add("boosting", f"xgboost{suffix}", in_file(model.save_model, suffix))
    gain = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1).fit(x, y)
    add("boosting", "lightgbm.pkl", pickle.dumps(gain))
    add("boosting", "lightgbm_booster.pkl", pickle.dumps(gain.booster_))
    add("boosting", "lightgbm.txt", gain.booster_.model_to_string())
    add("boosting", "lightgbm.json", json.dumps(gain.booster_.dump_model()))


def catboost_files(add: Writer) -> None:
    """CatBoost in each of its formats."""
    import catboost

    x, y = table()
    model = catboost.CatBoostClassifier(iterations=3, depth=2, verbose=False, allow_writing_files=False).fit(x, y)
    for kind in ("cbm", "json", "onnx", "python", "cpp", "pmml"):
        add("boosting", f"catboost.{kind}", in_file(lambda path, k=kind: model.save_model(path, format=k), f".{kind}"))
    add("boosting", "catboost.pkl", pickle.dumps(model))


def hdf5_files(add: Writer) -> None:
    """Plain HDF5, old and new layout."""
    import h5py
    import numpy as np

    def file(library: object, **options: object) -> bytes:
        out = io.BytesIO()
        with h5py.File(out, "w", libver=library) as made:
            group = made.create_group("layer")
            group.create_dataset("w", data=np.eye(40, dtype=np.float32), **options)
            group["names"] = np.array([b"kernel:0", b"bias:0"])
            group["text"] = "free text"
            group["alias"] = h5py.SoftLink("/layer/w")
            made.attrs["backend"], made.attrs["layer_names"] = "jax", np.array([b"dense"])
        return out.getvalue()

    add("hdf5", "old.h5", file("earliest"))
    add("hdf5", "new.h5", file("latest"))
    add("hdf5", "packed.h5", file("earliest", compression="gzip", chunks=(8, 8)))
    add("hdf5", "shuffled.h5", file("latest", compression="lzf", shuffle=True, chunks=(8, 8)))


def keras_files(add: Writer) -> None:
    """Models by Keras 3: archive, HDF5, JSON, weights."""
    import keras
    import numpy as np

    layers = keras.layers
    dense = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="dense",
    )
    dense.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    image = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="image",
    )
    text = keras.Sequential(
        [
            layers.Input((5,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(2),
        ],
        name="text",
    )
    given = layers.Input((4,))
    joined = layers.Concatenate()([layers.Dense(2)(given), layers.LayerNormalization()(given)])
    functional = keras.Model(given, layers.Dense(1)(joined), name="functional")
    attention_in = layers.Input((6, 4))
    attention = keras.Model(
        attention_in,
        layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 2)(attention_in, attention_in)),
        name="attention",
    )
    dense.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    for model in (dense, image, text, functional, attention):
        add("keras", f"{model.name}.keras", in_file(model.save, ".keras"))
        add("keras", f"{model.name}.h5", in_file(model.save, ".h5"))
        add("keras", f"{model.name}.json", model.to_json())
    add("keras", "dense.weights.h5", in_file(dense.save_weights, ".weights.h5"))


def gguf_files(add: Writer) -> None:
    """GGUF by its library."""
    import gguf
    import numpy as np

    from .documents import CHATML

    def write(path: str, template: str | None, kind: object) -> None:
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_name("demo")
        writer.add_block_count(2)
        writer.add_context_length(512)
        writer.add_embedding_length(32)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["<s>", "</s>", "a", "b"])
        writer.add_token_scores([0.0, 0.0, -1.0, -2.0])
        writer.add_array("demo.layers", [1, 2, 3])
        if template:
            writer.add_chat_template(template)
        for index in range(3):
            writer.add_tensor(f"blk.{index}.attn_q.weight", np.ones((32, 32), dtype=kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    add("gguf", "plain.gguf", in_file(lambda path: write(path, None, np.float32), ".gguf"))
    add("gguf", "chat.gguf", in_file(lambda path: write(path, CHATML, np.float16), ".gguf"))
    add("gguf", "quantised.gguf", in_file(lambda path: _quantised(path), ".gguf"))


def _quantised(path: str) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(
        "output.weight",
        gguf.quants.quantize(np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32), kind),
        raw_dtype=kind,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def flax_files(add: Writer) -> None:
    """MessagePack by Flax and by itself."""
    import jax.numpy as jnp
    import msgpack
    from flax import serialization

    state = {"params": {"dense": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2, jnp.bfloat16)}}, "step": 3}
    add("flax", "state.msgpack", serialization.to_bytes(state))
    add("flax", "flax_model.msgpack", serialization.msgpack_serialize({"params": {"w": jnp.arange(1000.0)}}))
    add("flax", "plain.msgpack", msgpack.packb({"a": [1, 2.5, "x", None, True], "b": b"bytes" * 20}))
    add("flax", "arrays.pkl", pickle.dumps({"kernel": jnp.ones((2, 2))}))


def orbax_files(add: Writer) -> None:
    """An Orbax checkpoint's files."""
    import numpy as np
    import orbax.checkpoint

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "checkpoint"
        orbax.checkpoint.PyTreeCheckpointer().save(root, {"w": np.ones(4, np.float32)})
        for index, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
            if path.stat().st_size and index < 8:
                add("flax", f"orbax/{path.relative_to(root)}", path.read_bytes())


def tokenizer_files(add: Writer) -> None:
    """Tokenizers trained on a few lines."""
    import tokenizers

    lines = ["import os and system calls", "the quick brown fox", "eval and exec are functions", "lambda x: x"] * 20
    for name, model, trainer in (
        ("bpe", tokenizers.models.BPE(), tokenizers.trainers.BpeTrainer(vocab_size=300)),
        (
            "wordpiece",
            tokenizers.models.WordPiece(unk_token="[UNK]"),
            tokenizers.trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"]),
        ),
        ("unigram", tokenizers.models.Unigram(), tokenizers.trainers.UnigramTrainer(vocab_size=120)),
    ):
        made = tokenizers.Tokenizer(model)
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
        made.train_from_iterator(lines, trainer)
        add("tokenizers", f"{name}/tokenizer.json", made.to_str())
        add("tokenizers", f"{name}/tokenizer.pkl", pickle.dumps(made))
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=60, minloglevel=2, hard_vocab_limit=False
    )
    add("tokenizers", "sentencepiece/tokenizer.model", out.getvalue())


def transformers_files(add: Writer) -> None:
    """Configurations as the library writes them."""
    import transformers

    names = [
        "BertConfig",
        "GPT2Config",
        "LlamaConfig",
        "T5Config",
        "ViTConfig",
        "WhisperConfig",
        "CLIPConfig",
        "MistralConfig",
        "Qwen2Config",
        "RobertaConfig",
        "DistilBertConfig",
        "Wav2Vec2Config",
        "BartConfig",
        "DebertaV2Config",
        "GenerationConfig",
    ]
    for name in names:
        add("transformers", f"{name}/config.json", getattr(transformers, name)().to_json_string())
