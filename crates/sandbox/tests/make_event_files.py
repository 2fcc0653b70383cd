"""Writes the samples in `it/claims` with the writers that trainers use.

    pip install tensorboard tensorboardX numpy transformers
    python make_event_files.py

`x.tfevents` comes from tensorboardX (`simple_value`), `two.tfevents` from TensorBoard's own writer with tensors as TensorFlow 2
and Keras write them (`tensor_content` and `float_val`), among a text, a histogram and a long record that are no scalars. `trainer_state.json` comes from
transformers' own `TrainerState`.
"""

import glob
import os
import shutil
import tempfile

import numpy
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboardX import SummaryWriter
from transformers.trainer_callback import TrainerState

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "it", "claims")


def keep(folder, name):
    (path,) = glob.glob(os.path.join(folder, "events.out.tfevents.*"))
    shutil.copyfile(path, os.path.join(HERE, name))


def tensorboard_x(folder):
    writer = SummaryWriter(folder)
    for step in range(1, 6):
        writer.add_scalar("train/loss", 2.0 / step, step)
        writer.add_scalar("train/learning_rate", 0.5**step, step)
        writer.add_scalar("train/grad_norm", 1.0 + step, step)
        writer.add_scalar("train/accuracy", 0.1 * step, step)
    writer.add_scalar("eval/loss", 0.75, 5)
    writer.add_text("notes", "loss: 0.5", 5)
    writer.add_histogram("weights", numpy.linspace(-1, 1, 64), 5)
    writer.add_scalar("train/loss", float("nan"), 6)
    writer.close()


def tensor(**fields):
    return TensorProto(**fields)


def tensors(folder):
    writer = EventFileWriter(folder)
    scalar = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))

    def add(step, tag, value):
        summary = Summary(value=[Summary.Value(tag=tag, tensor=value, metadata=scalar)])
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))

    content = numpy.float32(0.5).tobytes()
    add(0, "epoch_loss", tensor(dtype=DT_FLOAT, tensor_content=content))
    add(0, "epoch_learning_rate", tensor(dtype=DT_FLOAT, float_val=[0.25]))
    add(1, "epoch_loss", tensor(dtype=DT_DOUBLE, double_val=[0.375]))
    add(40, "loss", tensor(dtype=DT_FLOAT, float_val=[0.125]))
    add(41, "loss", tensor(dtype=DT_FLOAT, float_val=[0.5, 0.5]))
    writer.add_event(Event(step=42, graph_def=b"\0" * 3_000))
    add(43, "batch_loss", tensor(dtype=DT_FLOAT, tensor_content=content))
    writer.close()


for name, write in [("x.tfevents", tensorboard_x), ("two.tfevents", tensors)]:
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        keep(folder, name)

state = TrainerState(epoch=2.0, global_step=20, max_steps=30, num_train_epochs=3, train_batch_size=8)
state.log_history = [
    {"loss": 1.5, "grad_norm": 2.5, "learning_rate": 5e-05, "epoch": 1.0, "step": 10},
    {"eval_loss": 1.25, "eval_runtime": 0.5, "epoch": 1.0, "step": 10},
    {"loss": float("nan"), "grad_norm": float("nan"), "learning_rate": 2.5e-05, "epoch": 2.0, "step": 20},
    {"train_runtime": 9.5, "train_loss": 1.4, "total_flos": 0.0, "epoch": 2.0, "step": 20},
]
state.save_to_json(os.path.join(HERE, "trainer_state.json"))
