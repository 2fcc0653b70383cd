#!/bin/bash
set -euo pipefail
export CUDA_VISIBLE_DEVICES=0,1
MODEL=${1:-a/b}
NGPU=$(nvidia-smi -L | wc -l)
mkdir -p outputs logs
pip install -r requirements.txt
for seed in 1 2 3; do
  torchrun --nproc_per_node=$NGPU train.py \
    --model $MODEL --seed $seed 2>&1 | tee logs/$seed.log
done
if [ -d outputs ]; then
  echo "done"
fi
