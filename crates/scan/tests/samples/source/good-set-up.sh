#!/usr/bin/env bash
if [ ! -d llama.cpp ]; then git clone https://github.com/ggml-org/llama.cpp; fi
conda create -n x python=3.10 -y
huggingface-cli download a/b --local-dir .
