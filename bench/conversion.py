"""Time of a conversion beside `cp` and `sync` of the same bytes: a Hugging Face file imported, ours cut anew.

    .venv/bin/python bench/conversion.py [--program build/release/megalith] [--folder /tmp] [--gigabytes 1.1] [--blocks 5]

Makes a GPT-2 model of random weights in one safetensors file, reads it once so that the cache is warm, and takes turns:
`cp` and `sync FILE` of it; `checkpoint import-hf`; `checkpoint export-hf` and `checkpoint convert` of what that wrote;
and `checkpoint inspect --verify`. Every turn writes to a fresh name and the old one is deleted, and the disk is left to
settle, before the clock runs. Prints medians, and the ratio to cp + sync of the same turn, which is to stay under 1.5
for a conversion: from the start of its process until all is written and on disk. Conversions then read back what they
wrote and say how long that took ("verified in 1.21 s"), which is taken off and told apart. They sync their files and
take the SHA-256 of every tensor (export-hf's files hold none).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import torch
from safetensors.torch import save_file

HIDDEN, POSITIONS, VOCABULARY = 1024, 1024, 50257


def make_gpt2(folder, gigabytes):
    """Hidden 1024, as many layers as fill the file, float32."""
    block = {"ln_1.weight": [HIDDEN], "ln_1.bias": [HIDDEN], "ln_2.weight": [HIDDEN], "ln_2.bias": [HIDDEN],
             "attn.c_attn.weight": [HIDDEN, 3 * HIDDEN], "attn.c_attn.bias": [3 * HIDDEN],
             "attn.c_proj.weight": [HIDDEN, HIDDEN], "attn.c_proj.bias": [HIDDEN],
             "mlp.c_fc.weight": [HIDDEN, 4 * HIDDEN], "mlp.c_fc.bias": [4 * HIDDEN],
             "mlp.c_proj.weight": [4 * HIDDEN, HIDDEN], "mlp.c_proj.bias": [HIDDEN]}
    ends = {"wte.weight": [VOCABULARY, HIDDEN], "wpe.weight": [POSITIONS, HIDDEN],
            "ln_f.weight": [HIDDEN], "ln_f.bias": [HIDDEN]}
    count = sum(torch.Size(shape).numel() for shape in block.values())
    layers = max(1, round((gigabytes * 1e9 / 4 - VOCABULARY * HIDDEN) / count))
    shapes = dict(ends)
    for layer in range(layers):
        shapes |= {f"h.{layer}.{name}": shape for name, shape in block.items()}
    torch.manual_seed(1)
    folder.mkdir()
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, folder / "model.safetensors",
              {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": layers, "n_embd": HIDDEN, "n_head": 16,
        "n_positions": POSITIONS, "n_ctx": POSITIONS, "vocab_size": VOCABULARY, "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new", "tie_word_embeddings": True}))
    return folder / "model.safetensors"


def timed(body):
    """Seconds until all was written, and, where `body` returns them, those of the check that followed."""
    os.sync()
    start = time.perf_counter()
    verified = body()
    return time.perf_counter() - start - (verified or 0), verified


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/megalith")
    parser.add_argument("--folder")
    parser.add_argument("--gigabytes", type=float, default=1.1)
    parser.add_argument("--blocks", type=int, default=5)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(dir=options.folder))
    try:
        measure(work, options)
    finally:
        shutil.rmtree(work)


def measure(work, options):
    def run(*words):
        done = subprocess.run([options.program, "checkpoint", *words], check=True, stdout=subprocess.PIPE, text=True)
        said = re.search(r"verified in ([0-9.]+) s", done.stdout)
        return float(said[1]) if said else None

    def copy():
        subprocess.run(["cp", source, work / "copy"], check=True)
        subprocess.run(["sync", work / "copy"], check=True)

    source = make_gpt2(work / "hf", options.gigabytes)
    first = work / "first"
    turns = {
        "cp + sync": copy,
        "import-hf": lambda: run("import-hf", source.parent, "--no-loss", "--save", work / "imported"),
        "export-hf": lambda: run("export-hf", "--load", first, "--no-loss", "--save", work / "exported"),
        "convert (ours)": lambda: run("convert", "--load", first, "--save", work / "converted"),
        "inspect --verify": lambda: run("inspect", "--verify", first),
    }
    run("import-hf", source.parent, "--no-loss", "--save", first)
    source.read_bytes()  # warm
    seconds = {name: [] for name in turns}
    checks = {name: [] for name in turns}
    for _ in range(options.blocks):
        for name, body in turns.items():
            written, verified = timed(body)
            seconds[name].append(written)
            if verified is not None:
                checks[name].append(verified)
            (work / "copy").unlink(missing_ok=True)
            for made in ("imported", "exported", "converted"):
                shutil.rmtree(work / made, ignore_errors=True)
    print(f"{source.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} processors, {options.blocks} turns")
    for name, values in seconds.items():
        ratios = [value / base for value, base in zip(values, seconds["cp + sync"])]
        check = f"   verified in {statistics.median(checks[name]):.2f} s" if checks[name] else ""
        print(f"  {name:<18}{statistics.median(values):6.2f} s  {statistics.median(ratios):5.2f} x{check}")


main()
