import math
import torch
from torch import nn
from transformers import PreTrainedModel


class XModel(PreTrainedModel):
    """Runs os.system('true')? No: exec(x) stands in a text."""

    def forward(self, x, *, scale: float = 1.0):
        # eval(x), subprocess.run(y)
        return torch.compile(nn.functional.softmax)(x / math.sqrt(scale), dim=-1)


model = XModel.from_pretrained('x').eval()
