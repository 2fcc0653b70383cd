#!/bin/sh
python train.py
"$RUN" now
