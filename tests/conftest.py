"""Tests run offline, on one thread and without a display, so that they give the same everywhere."""

import os

# Read by the libraries when they are imported: set before anything imports them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["MPLBACKEND"] = "Agg"

import torch

torch.set_num_threads(1)
