#!/usr/bin/env python3
# -*- coding: utf-8 -*-
import torch

if __name__ == '__main__':
    print(torch.load('w.pt', weights_only=True).keys())
