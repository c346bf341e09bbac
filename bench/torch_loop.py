"""What the PyTorch peers share: flags, AdamW, the timed loop. torch_gpt2.py and torch_bert.py bring model and samples.

Autocast for bf16, fused AdamW with decay on matrices alone, clipping by the global norm. One JSON line is printed:
seconds and loss of each iteration, the loss read on the host included, as in ours.
"""
import argparse
import json
import time

import torch
from torch import nn


def parser(text):
    flags = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--weights", required=True)
    flags.add_argument("--samples", required=True)
    flags.add_argument("--heads", type=int, default=12)
    flags.add_argument("--batch", type=int, required=True)
    flags.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    flags.add_argument("--compile", action="store_true")
    flags.add_argument("--iterations", type=int, default=10)
    flags.add_argument("--lr", type=float, default=1e-4)
    flags.add_argument("--threads", type=int, default=2)
    return flags


def adamw(model, lr, weight_decay=0.01):
    """With decay on matrices alone, as ours."""
    decay = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([{"params": decay, "weight_decay": weight_decay},
                              {"params": others, "weight_decay": 0.0}], lr=lr, fused=True)


def train(model, make_batch, args):
    """Trains `model`, whose forward gives the loss of what `make_batch` makes of a list of samples."""
    optimizer = adamw(model, args.lr)
    network = torch.compile(model) if args.compile else model
    with open(args.samples) as file:
        samples = [json.loads(line) for _, line in zip(range(args.iterations * args.batch), file)]
    seconds, losses = [], []
    for k in range(args.iterations):
        begin = time.perf_counter()
        batch = make_batch(samples[k * args.batch : (k + 1) * args.batch])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = network(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds, "losses": losses}))
