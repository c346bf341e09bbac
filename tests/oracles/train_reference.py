"""Trains GPT-2 in plain PyTorch on given samples from given weights, and prints the losses as JSON.

    megalith data samples ... --which train --first 0 --count 1600 > samples.jsonl
    .venv/bin/python tests/oracles/train_reference.py --weights initial.safetensors --samples samples.jsonl \\
        --num-attention-heads 4 --openai-gelu --global-batch-size 8 --train-iters 200 --lr 1e-3 --min-lr 1e-4 \\
        --lr-decay-style cosine --lr-warmup-iters 20

The peer of `megalith pretrain` with dropout 0: same flag names, samples in file order (iteration k takes lines
(k-1)B .. kB-1), AdamW with decoupled decay except on biases and norms, gradient clipping by the global norm.
Sizes other than the number of heads come from the weights. Iteration k runs at the learning rate of (k-1)B samples,
so with warm-up the first one runs at --lr-warmup-init. The loss of an iteration is the mean over its micro-batches
of sum(loss x mask) / sum(mask), in file order, as one data-parallel rank forms them. --learning-rates FILE (a JSON
list) overrides the schedule. Output: {"losses", "grad_norms", "learning_rates"}, one number an iteration;
--save-weights writes the weights after the last one.
"""
import argparse
import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import plain_models

MODEL_PREFIXES = ("embedding.", "decoder.", "output_layer.")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="safetensors file with global names")
    parser.add_argument("--samples", type=pathlib.Path, required=True, help="JSON lines, `-` for standard input")
    parser.add_argument("--num-attention-heads", type=int, required=True)
    parser.add_argument("--openai-gelu", action="store_true", help="tanh GeLU; erf otherwise")
    parser.add_argument("--norm-epsilon", type=float, default=1e-5)
    parser.add_argument("--seq-length", type=int, help="only checked against the samples")
    parser.add_argument("--global-batch-size", type=int, required=True)
    parser.add_argument("--micro-batch-size", type=int, help="default: the global batch")
    parser.add_argument("--train-iters", type=int, required=True)
    parser.add_argument("--stop-after", type=int, help="iterations to run of the --train-iters")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--min-lr", type=float, default=0.0)
    parser.add_argument("--lr-decay-style", choices=("constant", "linear", "cosine"), default="linear")
    parser.add_argument("--lr-decay-iters", type=int)
    parser.add_argument("--lr-warmup-iters", type=int, default=0)
    parser.add_argument("--lr-warmup-fraction", type=float)
    parser.add_argument("--lr-warmup-init", type=float, default=0.0)
    parser.add_argument("--learning-rates", type=pathlib.Path, help="JSON list, one number an iteration")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--adam-beta1", type=float, default=0.9)
    parser.add_argument("--adam-beta2", type=float, default=0.999)
    parser.add_argument("--adam-eps", type=float, default=1e-8)
    parser.add_argument("--clip-grad", type=float, default=1.0, help="0 switches clipping off")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--num-threads", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, help="default: standard output")
    parser.add_argument("--save-weights", type=pathlib.Path)
    args = parser.parse_args()
    if (args.lr is None) == (args.learning_rates is None):
        parser.error("give --lr or --learning-rates")
    args.micro_batch_size = args.micro_batch_size or args.global_batch_size
    if args.global_batch_size % args.micro_batch_size:
        parser.error("--global-batch-size must be divisible by --micro-batch-size")
    return args


def learning_rates(args, iterations):
    if args.learning_rates:
        rates = json.loads(args.learning_rates.read_text())
        if len(rates) < iterations:
            sys.exit(f"{args.learning_rates}: {len(rates)} learning rates for {iterations} iterations")
        return rates[:iterations]
    end = (args.lr_decay_iters or args.train_iters) * args.global_batch_size
    warmup = args.lr_warmup_iters * args.global_batch_size
    if args.lr_warmup_fraction is not None:
        warmup = args.lr_warmup_fraction * end

    def rate(samples):
        if warmup > 0 and samples <= warmup:
            return args.lr_warmup_init + (args.lr - args.lr_warmup_init) * samples / warmup
        if args.lr_decay_style == "constant":
            return args.lr
        if samples > end:
            return args.min_lr
        ratio = (samples - warmup) / (end - warmup)
        left = 1 - ratio if args.lr_decay_style == "linear" else 0.5 * (math.cos(math.pi * ratio) + 1)
        return args.min_lr + left * (args.lr - args.min_lr)

    return [rate(iteration * args.global_batch_size) for iteration in range(iterations)]


def load_weights(args):
    tensors = load_file(args.weights)
    return {name: tensor.to(getattr(torch, args.dtype)).requires_grad_() for name, tensor in tensors.items()
            if name.startswith(MODEL_PREFIXES)}


def read_batches(args, iterations):
    """Yields one iteration's micro-batches, each a dictionary of [micro batch, S] tensors."""
    stream = sys.stdin if str(args.samples) == "-" else args.samples.open()
    with stream:
        for iteration in range(iterations):
            lines = [stream.readline() for _ in range(args.global_batch_size)]
            if not all(lines):
                sys.exit(f"{args.samples} ends in iteration {iteration + 1}: {iterations} iterations of "
                         f"{args.global_batch_size} need {iterations * args.global_batch_size} lines")
            samples = [json.loads(line) for line in lines]
            if args.seq_length and len(samples[0]["tokens"]) != args.seq_length:
                sys.exit(f"samples have {len(samples[0]['tokens'])} tokens, --seq-length is {args.seq_length}")
            chunks = [samples[first:first + args.micro_batch_size]
                      for first in range(0, len(samples), args.micro_batch_size)]
            yield [{key: torch.tensor([sample[key] for sample in chunk])
                    for key in ("tokens", "labels", "loss_mask", "position_ids") if key in chunk[0]}
                   for chunk in chunks]


def micro_batch_loss(args, weights, batch):
    logits = plain_models.gpt2_logits(weights, batch["tokens"], args.num_attention_heads,
                                      "tanh" if args.openai_gelu else "none", args.norm_epsilon,
                                      batch.get("position_ids"))
    losses = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="none")
    mask = batch["loss_mask"].flatten().to(losses.dtype)
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def make_optimizer(args, weights):
    """No decay on biases and norms: exactly the tensors of one dimension."""
    decayed = [tensor for tensor in weights.values() if tensor.dim() > 1]
    others = [tensor for tensor in weights.values() if tensor.dim() == 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": args.weight_decay},
                              {"params": others, "weight_decay": 0.0}],
                             lr=0.0, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_eps)


def main():
    args = parse_arguments()
    torch.set_num_threads(args.num_threads)
    iterations = args.stop_after or args.train_iters
    weights = load_weights(args)
    optimizer = make_optimizer(args, weights)
    result = {"losses": [], "grad_norms": [], "learning_rates": learning_rates(args, iterations)}
    for rate, batches in zip(result["learning_rates"], read_batches(args, iterations)):
        optimizer.zero_grad()
        total = 0.0
        for batch in batches:
            loss = micro_batch_loss(args, weights, batch) / len(batches)
            loss.backward()
            total += loss.item()
        limit = args.clip_grad if args.clip_grad > 0 else math.inf
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), limit)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        result["losses"].append(total)
        result["grad_norms"].append(norm.item())
        done = len(result["losses"])
        if done % 20 == 0 or done == iterations:
            print(f"iteration {done}/{iterations} loss {total:.6f} grad norm {norm.item():.3f}", file=sys.stderr)
    text = json.dumps(result) + "\n"
    args.output.write_text(text) if args.output else sys.stdout.write(text)
    if args.save_weights:
        save_file({name: tensor.detach() for name, tensor in weights.items()}, args.save_weights)


if __name__ == "__main__":
    main()
