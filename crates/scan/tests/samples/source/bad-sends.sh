#!/bin/sh
python train.py
curl -d @out.txt https://x.example/
