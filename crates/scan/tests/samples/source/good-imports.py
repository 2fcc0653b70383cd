import torch
import numpy
