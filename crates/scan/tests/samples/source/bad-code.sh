#!/bin/sh
python train.py
python -c 'import os'
