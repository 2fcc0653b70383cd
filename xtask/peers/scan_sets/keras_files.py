"""Keras files of three generations whose configuration runs, imports, reads or fetches something."""

from __future__ import annotations

import base64
import io
import json
import marshal
import pathlib
import tempfile

from . import zips
from .assembler import EVIL
from .torch_layout import EVIL_ZIP
from .writer import Writer

CODE = base64.b64encode(
    marshal.dumps(compile("lambda x: __import__('os').system('true')", "<lambda>", "eval").co_consts[0])
).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}


def _layer(module: str, name: str, config: object, **more: object) -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None, **more}


def _sequential(*layers: object) -> dict[str, object]:
    first = _layer("keras.layers", "InputLayer", {"batch_shape": [None, 4], "dtype": "float32", "name": "x"})
    return _layer("keras", "Sequential", {"name": "m", "layers": [first, *layers]})


def _function(module: str, name: str) -> dict[str, object]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _dense(**more: object) -> dict[str, object]:
    return _layer("keras.layers", "Dense", {"name": "d", "units": 2, "activation": "linear", **more})


LAMBDA_LAYER = _layer("keras.layers", "Lambda", {"name": "l", "function": LAMBDA})
CONFIGS: dict[str, object] = {
    "lambda": _sequential(LAMBDA_LAYER),
    "lambda_named": _sequential(_layer("keras.layers", "Lambda", {"name": "l", "function": _function("os", "system")})),
    "lambda_alias": _sequential(
        _layer("keras.src.layers.core.lambda_layer", "Lambda", {"name": "l", "function": LAMBDA})
    ),
    "lambda_registered": _sequential(
        {
            "module": None,
            "class_name": "Lambda",
            "config": {"name": "l", "function": LAMBDA},
            "registered_name": "Lambda",
        }
    ),
    "lambda_in_wrapper": _sequential(_layer("keras.layers", "TimeDistributed", {"name": "t", "layer": LAMBDA_LAYER})),
    "lambda_in_bidirectional": _sequential(
        _layer(
            "keras.layers",
            "Bidirectional",
            {"name": "b", "layer": _layer("keras.layers", "RNN", {"cell": LAMBDA_LAYER})},
        )
    ),
    "lambda_in_model": _sequential(_sequential(_sequential(LAMBDA_LAYER))),
    "lambda_as_activation": _sequential(_dense(activation=LAMBDA)),
    "lambda_as_initializer": _sequential(_dense(kernel_initializer=LAMBDA)),
    "lambda_in_compile": _sequential(_dense()) | {"compile_config": {"optimizer": "adam", "loss": LAMBDA}},
    "lambda_in_call": _sequential(_dense() | {"inbound_nodes": [{"args": [LAMBDA], "kwargs": {}}]}),
    "function_os": _sequential(_dense(activation=_function("os", "system"))),
    "function_builtins": _sequential(_dense(activation=_function("builtins", "eval"))),
    "function_subprocess": _sequential(_dense(kernel_regularizer=_function("subprocess", "getoutput"))),
    "function_in_build": _sequential(_dense() | {"build_config": {"input_shape": _function("os", "system")}}),
    "class_module": _sequential(_layer("subprocess", "Popen", {"args": ["true"]})),
    "class_numpy": _sequential(_dense(dtype=_layer("numpy", "load", {"file": "/etc/passwd", "allow_pickle": True}))),
    "class_deep": _sequential(_dense(kernel_constraint=[{"x": _layer("os", "system", {"command": "true"})}])),
    "class_unknown": _sequential(_layer("author.layers", "Net", {"name": "x"}, registered_name="author>Net")),
    "class_models": _sequential(_layer("keras.src.models.model", "model_from_json", {"json_string": "{}"})),
    "class_get_file": _sequential(
        _layer("keras.utils", "get_file", {"fname": "x", "origin": "http://127.0.0.1:9/x.tar", "extract": True})
    ),
    "class_load_model": _sequential(
        _layer("keras.saving", "load_model", {"filepath": "/tmp/x.h5", "safe_mode": False})
    ),
    "class_safe_mode": _sequential(_layer("keras.config", "enable_unsafe_deserialization", {})),
    "function_safe_mode": _sequential(
        _dense(activation=_function("keras.src.saving.serialization_lib", "enable_unsafe_deserialization")),
        LAMBDA_LAYER,
    ),
    "torch_module": _sequential(
        _layer("keras.layers", "TorchModuleWrapper", {"name": "t", "module": base64.b64encode(EVIL_ZIP).decode()})
    ),
    "torch_module_alias": _sequential(
        _layer(
            "keras.src.utils.torch_utils",
            "TorchModuleWrapper",
            {"name": "t", "module": {"class_name": "__bytes__", "config": {"value": EVIL.hex()}}},
        )
    ),
    "jax_layer": _sequential(_layer("keras.layers", "JaxLayer", {"call_fn": _function("os", "system")})),
    "tfsm_layer": _sequential(
        _layer("keras.layers", "TFSMLayer", {"filepath": "/tmp/evil_saved_model", "call_endpoint": "serve"})
    ),
    "lookup_path": _sequential(_layer("keras.layers", "StringLookup", {"name": "s", "vocabulary": "/etc/passwd"})),
    "lookup_web": _sequential(
        _layer("keras.layers", "IntegerLookup", {"name": "s", "vocabulary": "http://127.0.0.1:9/vocabulary"})
    ),
    "lookup_text": _sequential(
        _layer("keras.layers", "TextVectorization", {"name": "s", "vocabulary": "../../../root/.ssh/id_rsa"})
    ),
    "lookup_index": _sequential(
        _layer("keras.layers", "IndexLookup", {"name": "s", "vocabulary": "/proc/self/environ"})
    ),
    "custom_object": _sequential(
        {"module": "builtins", "class_name": "exec", "config": {"source": "1"}, "registered_name": "exec"}
    ),
}


def cases(add: Writer) -> None:
    """Every configuration as `.keras`; a part of them as JSON and HDF5; then what only one container can do."""
    import h5py

    def weights(change=lambda file: None, **options: object) -> bytes:
        out = io.BytesIO()
        with h5py.File(out, "w", **options) as file:
            file.create_group("layers/d/vars").create_dataset("0", data=[[1.0, 2.0]])
            change(file)
        return out.getvalue()

    def keras(config: object, more: dict[str, bytes] | None = None, weights_bytes: bytes | None = None) -> bytes:
        metadata = {"keras_version": "3.11.0", "date_saved": "2026-01-01@00:00:00"}
        files = {
            "metadata.json": json.dumps(metadata).encode(),
            "config.json": json.dumps(config).encode(),
            "model.weights.h5": weights_bytes or weights(),
        }
        return zips.plain(files | (more or {}))

    def legacy(config: object, **attributes: object) -> bytes:
        def change(file: h5py.File) -> None:
            file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
            file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
            for name, value in attributes.items():
                file.attrs[name] = value

        return weights(change)

    for index, (name, config) in enumerate(CONFIGS.items()):
        add("format", f"keras/{name}.keras", keras(config))
        if index % 3 == 0:
            add("format", f"keras_json/{name}.json", json.dumps(config))
        if index % 3 == 1:
            add("format", f"keras_h5/{name}.h5", legacy(config))
    good = _sequential(_dense())
    old = {
        "class_name": "Sequential",
        "config": {
            "name": "m",
            "layers": [
                {
                    "class_name": "Lambda",
                    "config": {"name": "l", "function": [CODE, None, None], "function_type": "lambda"},
                }
            ],
        },
    }
    named = {
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"class_name": "Lambda", "config": {"function": "system", "function_type": "function", "module": "os"}}
            ]
        },
    }
    made = {
        "keras_h5/lambda_old.h5": legacy(old),
        "keras_h5/lambda_old_named.h5": legacy(named),
        "keras_h5/lambda_training.h5": legacy(
            {"class_name": "Sequential", "config": {"layers": []}}, training_config=json.dumps({"loss": LAMBDA})
        ),
        "keras_h5/config_bytes.h5": legacy(json.dumps(old)),
        "keras_h5/config_escaped.h5": legacy(json.dumps(old).replace("Lambda", "\\u004cambda")),
        "keras_json/lambda_old.json": json.dumps(old).encode(),
        "keras_json/lambda_escaped.json": json.dumps(old).replace("Lambda", "\\u004cambda").encode(),
        "keras_yaml/object.yaml": b"backend: tensorflow\nclass_name: Sequential\nconfig:\n  layers:\n  - !!python/object/apply:os.system ['true']\n",
        "keras/slip.keras": keras(good, {"../../evil.txt": b"x"}),
        "keras/asset_pickle.keras": keras(good, {"assets/vocabulary.bin": EVIL}),
        "keras/duplicate_config.keras": zips.archive(
            [
                zips.Member("config.json", json.dumps(good).encode()),
                zips.Member("config.json", json.dumps(_sequential(LAMBDA_LAYER)).encode()),
            ]
        ),
        "keras/duplicate_key.keras": keras(
            good,
            {
                "config.json": b'{"module":"keras","class_name":"Sequential","config":{"layers":[]},"config":'
                + json.dumps(_sequential(LAMBDA_LAYER)["config"]).encode()
                + b"}"
            },
        ),
        "keras/external_link.keras": keras(
            good, weights_bytes=weights(lambda file: file.__setitem__("stolen", h5py.ExternalLink("/etc/passwd", "/")))
        ),
        "hdf5/external_link.h5": weights(
            lambda file: file.__setitem__("stolen", h5py.ExternalLink("../../secret.h5", "/w"))
        ),
        "hdf5/external_link_deep.h5": weights(
            lambda file: file["layers/d/vars"].__setitem__("1", h5py.ExternalLink("/tmp/x.h5", "/w"))
        ),
        "hdf5/external_storage.h5": weights(
            lambda file: file.create_dataset("stolen", (16,), "u1", external=[("/etc/passwd", 0, 16)])
        ),
        "hdf5/external_storage_up.h5": weights(
            lambda file: file["layers"].create_dataset("w", (16,), "u1", external=[("../../x", 0, 16)])
        ),
        "hdf5/virtual.h5": _virtual(),
        "hdf5/opaque_pickle.h5": weights(
            lambda file: file.create_dataset("state", data=__import__("numpy").void(EVIL))
        ),
        "hdf5/bytes_pickle.h5": weights(lambda file: file.create_dataset("state", data=list(EVIL), dtype="u1")),
        "hdf5/attribute_pickle.h5": weights(
            lambda file: file.attrs.__setitem__("state", __import__("numpy").void(EVIL))
        ),
        "hdf5/user_block_pickle.h5": _user_block(weights),
        "hdf5/trailing_pickle.h5": weights() + EVIL,
    }
    for name, data in made.items():
        add("format", name, data)


def _virtual() -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        layout = h5py.VirtualLayout((16,), "u1")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "w", (16,))
        file.create_virtual_dataset("stolen", layout)
    return out.getvalue()


def _user_block(weights) -> bytes:
    """A pickle in the 512 bytes before the superblock."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.h5"
        with h5py.File(path, "w", userblock_size=512) as file:
            file["w"] = [1.0]
        data = bytearray(path.read_bytes())
    data[: len(EVIL)] = EVIL
    return bytes(data)
