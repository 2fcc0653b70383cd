"""What lies beside real models: cards, licences, tokenizers, configurations, templates, notebooks, pictures, tables."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib

from . import zips
from .writer import Writer

CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
INSTRUCT = "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- set messages = messages[1:] -%}{%- else -%}{%- set system = 'You are a helpful assistant.' -%}{%- endif -%}{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}"
TOOLS = "{%- macro json_to_python_type(json_spec) %}{%- set basic = {'string': 'str', 'number': 'float', 'integer': 'int'} %}{%- if basic[json_spec.type] is defined %}{{- basic[json_spec.type] }}{%- else %}{{- 'Any' }}{%- endif %}{%- endmacro %}{%- if tools %}{{- '<|im_start|>system\\nYou may call functions:\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson(indent=2) }}{%- endfor %}{{- '</tools>' }}{%- endif %}{%- set ns = namespace(last=messages | length - 1, multi=true) %}{%- for m in messages %}{%- if m.role == 'assistant' and m.tool_calls is defined %}{%- for call in m.tool_calls %}{{- '<tool_call>' ~ call.function.name ~ call.function.arguments | tojson ~ '</tool_call>' }}{%- endfor %}{%- else %}{{- m.content }}{%- endif %}{%- set ns.last = loop.index0 %}{%- endfor %}{{- strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' }}"
BERT = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_size": 768,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "torch_dtype": "float32",
    "transformers_version": "4.40.0",
    "vocab_size": 30522,
}


def cases(add: Writer) -> None:
    """Texts first, then pictures and tables."""
    for name, value in _configurations().items():
        add("configuration", name, json.dumps(value, indent=2, ensure_ascii=False))
    for name, text in (_yaml() | _markup()).items():
        add("configuration", name, text)
    for name, text in _texts().items():
        add("text", name, text)
    for name, data in _media().items():
        add("media", name, data)


def _configurations() -> dict[str, object]:
    vocabulary = {
        word: index
        for index, word in enumerate(
            [
                "[PAD]",
                "[UNK]",
                "[CLS]",
                "[SEP]",
                "[MASK]",
                "exec",
                "eval",
                "import",
                "__",
                "os",
                "system",
                "##ing",
                "the",
                "{{",
                "}}",
            ]
            + [f"tok{i}" for i in range(800)]
        )
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": 0, "content": "[PAD]", "special": True}],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]},
        "decoder": {"type": "WordPiece", "prefix": "##"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": vocabulary},
    }
    merges = {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["_ _", "s y", "o s", "e v", "ev al"]},
        "version": "1.0",
    }
    sharded = {
        "metadata": {"total_size": 26966917120},
        "weight_map": {
            f"model.layers.{i}.self_attn.q_proj.weight": f"model-0000{i % 3 + 1}-of-00003.safetensors"
            for i in range(30)
        },
    }
    return {
        "bert/config.json": BERT,
        "llama/config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 4096,
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "bos_token_id": 1,
            "quantization_config": {"bits": 4, "group_size": 128, "quant_method": "gptq", "desc_act": False},
        },
        "vit/preprocessor_config.json": {
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 224, "width": 224},
        },
        "generation/generation_config.json": {
            "bos_token_id": 1,
            "do_sample": True,
            "eos_token_id": [2, 3],
            "temperature": 0.6,
            "top_p": 0.9,
            "transformers_version": "4.40.0",
        },
        "tokenizer_plain/tokenizer_config.json": {
            "do_lower_case": True,
            "tokenizer_class": "BertTokenizer",
            "model_max_length": 512,
            "pad_token": "[PAD]",
        },
        "tokenizer_chat/tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer",
            "bos_token": "<s>",
            "chat_template": INSTRUCT,
        },
        "tokenizer_chatml/tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "chat_template": CHATML,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        },
        "tokenizer_tools/tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": TOOLS}],
        },
        "tokenizer_default_prompt/tokenizer_config.json": {
            "chat_template": "{% if not messages[0]['role'] == 'system' %}{{ '<|system|>You are a careful assistant. Always answer truthfully. Do not reveal personal data.' }}{% endif %}"
            + CHATML
        },
        "tokenizer/tokenizer.json": tokenizer,
        "tokenizer_bpe/tokenizer.json": merges,
        "special/special_tokens_map.json": {
            "cls_token": "[CLS]",
            "mask_token": {"content": "[MASK]", "lstrip": True, "normalized": False},
        },
        "vocab/vocab.json": vocabulary,
        "index/model.safetensors.index.json": sharded,
        "adapter/adapter_config.json": {
            "auto_mapping": None,
            "base_model_name_or_path": "meta-llama/Llama-2-7b-hf",
            "bias": "none",
            "lora_alpha": 16,
            "peft_type": "LORA",
            "r": 8,
            "target_modules": ["q_proj", "v_proj"],
            "task_type": "CAUSAL_LM",
        },
        "adapter_mapped/adapter_config.json": {
            "auto_mapping": {
                "base_model_class": "BertForSequenceClassification",
                "parent_library": "transformers.models.bert.modeling_bert",
            },
            "peft_type": "LORA",
            "r": 4,
        },
        "sentence/modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence/config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "3.0.0", "transformers": "4.40.0", "pytorch": "2.3.0"},
            "prompts": {"query": "Represent this sentence: "},
            "similarity_fn_name": "cosine",
        },
        "sentence/1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
        "cross_encoder/config.json": BERT
        | {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.1.0"}},
        "diffusers/model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.27.0",
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
        "diffusers_pipe/model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "unet": ["diffusers", "UNet2DConditionModel"],
        },
        "diffusers/scheduler/scheduler_config.json": {
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "num_train_timesteps": 1000,
        },
        "diffusers/unet/config.json": {
            "_class_name": "UNet2DConditionModel",
            "act_fn": "silu",
            "down_block_types": ["CrossAttnDownBlock2D"],
            "sample_size": 64,
        },
        "trainer/trainer_state.json": {
            "best_metric": None,
            "epoch": 3.0,
            "global_step": 300,
            "log_history": [{"epoch": i / 10, "loss": 1 / (i + 1), "step": i} for i in range(30)],
        },
        "keras/model.json": {
            "module": "keras",
            "class_name": "Sequential",
            "config": {
                "name": "m",
                "layers": [
                    {
                        "module": "keras.layers",
                        "class_name": "Dense",
                        "config": {
                            "name": "d",
                            "units": 2,
                            "activation": "relu",
                            "kernel_initializer": {
                                "module": "keras.initializers",
                                "class_name": "GlorotUniform",
                                "config": {"seed": None},
                                "registered_name": None,
                            },
                        },
                        "registered_name": None,
                    }
                ],
            },
            "registered_name": None,
        },
        "keras_old/model.json": {
            "class_name": "Sequential",
            "keras_version": "2.15.0",
            "backend": "tensorflow",
            "config": {
                "name": "m",
                "layers": [
                    {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4]}},
                    {
                        "class_name": "Dense",
                        "config": {
                            "name": "d",
                            "units": 2,
                            "activation": "softmax",
                            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
                        },
                    },
                ],
            },
        },
        "spacy/meta.json": {
            "lang": "en",
            "name": "core_web_sm",
            "version": "3.7.0",
            "spacy_version": ">=3.7.0,<3.8.0",
            "pipeline": ["tok2vec", "tagger"],
            "license": "MIT",
        },
        "onnx/ort_config.json": {
            "one_external_file": True,
            "opset": None,
            "optimization": {},
            "quantization": {"operators_to_quantize": ["MatMul"], "per_channel": False},
        },
        "data/records.json": [
            {"text": "ignore the previous line break", "label": 1},
            {"text": "How do I use os.system in Python?", "label": 0},
            {"text": "rm -rf node_modules && npm install", "label": 2},
        ],
        "data/dataset_infos.json": {
            "default": {
                "description": "Questions",
                "features": {"text": {"dtype": "string", "_type": "Value"}},
                "download_checksums": {"https://example.org/train.csv": {"num_bytes": 10}},
                "splits": {"train": {"num_examples": 5}},
            }
        },
        "labels/id2label.json": {str(i): f"class {i}" for i in range(100)},
        "package/package.json": {"name": "demo", "version": "1.0.0", "dependencies": {"onnxruntime-web": "^1.17.0"}},
    }


def _yaml() -> dict[str, str]:
    return {
        "training/config.yaml": "model:\n  name: resnet50\n  pretrained: true\noptimizer:\n  lr: 1.0e-3\n  betas: [0.9, 0.999]\ndata: &data\n  root: ./data\nval:\n  <<: *data\n  shuffle: false\n",
        "hydra/model.yaml": "_target_: torch.nn.Linear\nin_features: 16\nout_features: 4\n",
        "hydra/train.yaml": "defaults:\n  - model: mlp\n  - _self_\ntrainer:\n  _target_: pytorch_lightning.Trainer\n  max_epochs: 10\noptimizer:\n  _target_: torch.optim.Adam\n  _partial_: true\n  lr: 0.001\n",
        "nemo/model_config.yaml": "encoder:\n  _target_: nemo.collections.asr.modules.ConformerEncoder\n  feat_in: 80\n  n_layers: 4\ndecoder:\n  _target_: nemo.collections.asr.modules.ConvASRDecoder\n  num_classes: 128\ntokenizer:\n  dir: nemo:tokenizer\n  type: bpe\n",
        "lightning/hparams.yaml": "batch_size: 32\nlearning_rate: 0.001\nname: mnist\n",
        "mlflow/MLmodel": "artifact_path: model\nflavors:\n  python_function:\n    env:\n      conda: conda.yaml\n      virtualenv: python_env.yaml\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n    predict_fn: predict\n    python_version: 3.11.7\n  sklearn:\n    code: null\n    pickled_model: model.pkl\n    serialization_format: cloudpickle\n    sklearn_version: 1.5.0\nmlflow_version: 2.14.1\nmodel_uuid: 9d5f6a0b8f8c4e0c9a2f3b5a7f1c2d3e\nrun_id: 0123456789abcdef0123456789abcdef\nutc_time_created: '2026-01-01 00:00:00.000000'\n",
        "mlflow/conda.yaml": "channels:\n- conda-forge\ndependencies:\n- python=3.11.7\n- pip<=24.0\n- pip:\n  - mlflow==2.14.1\n  - scikit-learn==1.5.0\nname: mlflow-env\n",
        "mlflow/python_env.yaml": "python: 3.11.7\nbuild_dependencies:\n- pip==24.0\n- setuptools\ndependencies:\n- -r requirements.txt\n",
        "yolo/data.yaml": "path: ../datasets/coco8\ntrain: images/train\nval: images/val\nnames:\n  0: person\n  1: bicycle\ndownload: https://github.com/ultralytics/assets/releases/download/v0.0.0/coco8.zip\n",
        "environment/environment.yml": "name: ml\nchannels: [conda-forge, pytorch]\ndependencies:\n  - python=3.11\n  - pip:\n      - torch==2.3.0\n",
        "compose/docker-compose.yml": "services:\n  app:\n    image: python:3.11\n    command: python serve.py --port 8080\n    ports: ['8080:8080']\n",
        "tags/quoted.yaml": "note: \"!!python/object is a tag that safe loaders refuse\"\nwhen: !!timestamp 2026-01-01\ncount: !!int '3'\ndata: !!binary aGVsbG8=\n",
        "checkpoint/checkpoint": 'model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-3"\n',
    }


def _markup() -> dict[str, str]:
    return {
        "pmml/tree.pmml": '<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">\n<Header copyright="x"><Application name="JPMML-SkLearn" version="1.7"/><Timestamp>2026-01-01T00:00:00Z</Timestamp></Header>\n<DataDictionary><DataField name="x" optype="continuous" dataType="double"/></DataDictionary>\n<RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema><RegressionTable intercept="1.5"><NumericPredictor name="x" coefficient="2.5"/></RegressionTable></RegressionModel>\n</PMML>\n',
        "openvino/model.xml": '<?xml version="1.0"?>\n<net name="m" version="11">\n<layers>\n<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,4" element_type="f32"/><output><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></output></layer>\n<layer id="1" name="w" type="Const" version="opset1"><data element_type="f32" shape="4,4" offset="0" size="64"/><output><port id="0" precision="FP32"/></output></layer>\n<layer id="2" name="y" type="MatMul" version="opset1"><data transpose_a="false" transpose_b="false"/></layer>\n<layer id="3" name="r" type="Result" version="opset1"/>\n</layers>\n<edges><edge from-layer="0" from-port="0" to-layer="2" to-port="0"/></edges>\n<rt_info><MO_version value="2024.0"/></rt_info>\n</net>\n',
        "picture/logo.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><circle cx="5" cy="5" r="4" fill="red"/></svg>\n',
        "report/index.html": "<!DOCTYPE html>\n<html><head><title>Evaluation</title></head><body><h1>Accuracy</h1><table><tr><td>0.93</td></tr></table></body></html>\n",
    }


def _texts() -> dict[str, str]:
    def notebook(*cells: tuple[str, str]) -> str:
        made = [
            {"cell_type": kind, "metadata": {}, "source": text.splitlines(True)}
            | (
                {
                    "execution_count": 1,
                    "outputs": [{"name": "stdout", "output_type": "stream", "text": ["accuracy 0.93\n"]}],
                }
                if kind == "code"
                else {}
            )
            for kind, text in cells
        ]
        return json.dumps(
            {
                "cells": made,
                "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
                "nbformat": 4,
                "nbformat_minor": 5,
            },
            indent=1,
        )

    card = "---\nlicense: apache-2.0\nlanguage: [en]\ntags:\n- text-classification\nmodel-index:\n- name: demo\n---\n\n# Demo\n\n"
    return {
        "readme/README.md": card
        + "Fine-tuned on *IMDB*.\n\n```python\nfrom transformers import pipeline\nclassifier = pipeline('sentiment-analysis', model='author/demo')\n```\n\n| split | accuracy |\n|---|---|\n| test | 0.93 |\n",
        "readme_remote/README.md": card
        + "Load it with `trust_remote_code=True`:\n\n```python\nimport os\nos.system('nvidia-smi')\nmodel = AutoModel.from_pretrained('a/b', trust_remote_code=True)\n```\n",
        "readme_security/README.md": "# On pickles\n\nNever load untrusted pickles: `cos\\nsystem\\n(S'true'\\ntR.` runs a command, and so does `__import__('os').system('true')`.\n",
        "readme_unicode/README.md": "# 模型\n\nДемонстрация, démonstration, 日本語. «Ignore» the warnings about deprecated functions.\n",
        "readme_install/README.md": "# Install\n\n    pip install --upgrade git+https://github.com/huggingface/transformers\n    curl -L https://example.org/weights.tar.gz | tar xz\n",
        "LICENSE": "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal in it without restriction.\n",
        "NOTICE.txt": "This product includes software developed by its authors.\n" * 20,
        "CHANGELOG.md": "# Changelog\n\n## 1.1\n- exec time of eval cut by half\n",
        "requirements/requirements.txt": "# core\ntorch>=2.0\ntransformers==4.40.0\nnumpy<2; python_version < '3.9'\nscikit-learn~=1.5\naccelerate[test]\n",
        "requirements_hashes/requirements.txt": "numpy==2.0.0 \\\n    --hash=sha256:" + "ab" * 32 + "\n",
        "requirements_dev/requirements-dev.txt": "-r requirements.txt\n-c constraints.txt\npytest\n",
        "vocab/vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nimport\nos\nsystem\neval\nexec\n"
        + "".join(f"tok{i}\n" for i in range(2000)),
        "merges/merges.txt": "#version: 0.2\nĠ t\nĠ a\nh e\ni n\nr e\n",
        "gitattributes/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
        "pointer/pytorch_model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:"
        + "12" * 32
        + "\nsize 438000000\n",
        "path/extra.pth": "/usr/lib/python3/dist-packages\n./src\n",
        "code/modeling_demo.py": "import torch\nfrom torch import nn\n\n\nclass Demo(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(4, 2)\n\n    def forward(self, x):\n        return self.fc(x)\n",
        "code/setup.cfg": "[metadata]\nname = demo\nversion = 1.0\n\n[options]\ninstall_requires =\n    torch\n",
        "code/pyproject.toml": '[project]\nname = "demo"\nversion = "1.0"\ndependencies = ["numpy"]\n',
        "template/chat_template.jinja": TOOLS,
        "template_chatml/chat_template.jinja": CHATML,
        "template_instruct/chat_template.jinja": INSTRUCT,
        "notebook/train.ipynb": notebook(
            ("markdown", "# Training\nFirst install what is needed."),
            ("code", "!pip install -q transformers datasets\n"),
            (
                "code",
                "import numpy as np\nfrom sklearn.linear_model import LogisticRegression\nmodel = LogisticRegression().fit(x, y)\nprint('accuracy', model.score(x, y))\n",
            ),
        ),
        "notebook/colab.ipynb": notebook(
            ("code", "%matplotlib inline\nimport os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'\n!nvidia-smi\n"),
            ("code", "model.eval()\nwith torch.no_grad():\n    out = model(batch)\n"),
        ),
        "data/train.csv": "id,text,label\n"
        + "".join(f'{i},"sentence {i}, with a comma",{i % 2}\n' for i in range(200)),
        "data/train.jsonl": "".join(
            json.dumps({"prompt": f"What is {i}+{i}?", "completion": str(2 * i)}) + "\n" for i in range(100)
        ),
        "data/train.tsv": "a\tb\n1\t2\n",
        "data/latin.txt": "café naïve\n",
        "data/log.txt": "".join(
            f"2026-01-01 00:00:{i % 60:02} INFO step {i} loss {1 / (i + 1):.4f}\n" for i in range(300)
        ),
        "data/words.txt": "\n".join(f"word{i}" for i in range(3000)) + "\n",
        "fasttext/vectors.vec": "3 4\nthe 0.1 0.2 0.3 0.4\nof 0.5 0.1 0.9 0.3\nand 0.2 0.2 0.1 0.8\n",
        "dockerfile/Dockerfile": 'FROM python:3.11-slim\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCMD ["python", "serve.py"]\n',
    }


def _media() -> dict[str, bytes]:
    dice = random.Random(3)
    noise = bytes(dice.randrange(256) for _ in range(64 * 64 * 3))

    def png(width: int, height: int, pixels: bytes) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = b"".join(b"\0" + pixels[i * width * 3 : (i + 1) * width * 3] for i in range(height))
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"tEXt", b"Software\0matplotlib")
            + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b"")
        )

    wave = (
        b"RIFF"
        + struct.pack("<I", 36 + 800)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
        + b"data"
        + struct.pack("<I", 800)
        + noise[:800]
    )
    idx = struct.pack(">IIII", 2051, 3, 28, 28) + noise[: 3 * 784]
    made = {
        "noise.png": png(64, 64, noise),
        "sound.wav": wave,
        "train-images-idx3-ubyte": idx,
        "train-labels-idx1-ubyte": struct.pack(">II", 2049, 10) + bytes(range(10)),
        "bundle.zip": zips.plain({"README.md": b"# x\n", "data/train.csv": b"a,b\n1,2\n"}, zips.DEFLATED),
    }
    try:
        from PIL import Image
    except ImportError:
        return made
    picture = Image.frombytes("RGB", (64, 64), noise)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        out = io.BytesIO()
        picture.save(out, kind)
        made[f"pillow.{kind.lower()}"] = out.getvalue()
    return made
