"""Perplexity of GPT-2 124M on this machine's CPU: megalith evaluate beside a loop over transformers.

    .venv/bin/python bench/evaluation.py [--blocks 3] [--only chunks-fp32 ...] [--megalith build/release/megalith]

(after `make build` and `tools/setup --oracles`). Both score the same tokens of tiny Shakespeare with the same random
weights, windows, batch and 2 threads: windows of 1,024 that do not overlap, and windows that move on by 32 and score 32
new targets, as the paper evaluates WikiText-103. The peer is GPT2LMHeadModel with scaled_dot_product_attention in
inference mode: once as such loops are usually written, with the logits of every position, once with logits_to_keep,
where only the scored ones are made. Whole processes take turns; the time of a block is each program's own, without
start and loading; scored tokens a second are printed as median [smallest, largest] and ratio to the better peer.
Perplexities must agree. Needs about 15 minutes of an otherwise idle machine; writes runs/bench-evaluation/.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = ROOT / "runs/bench-evaluation"
WINDOW, LAYERS = 1024, 12
CASES = {  # name: (dtype, stride, batch, bytes of text)
    "chunks-fp32": ("fp32", 1024, 4, 48000),
    "chunks-bf16": ("bf16", 1024, 4, 48000),
    "sliding-fp32": ("fp32", 32, 4, 6000),
    "sliding-bf16": ("bf16", 32, 4, 6000),
}
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2}  # relative, in perplexity
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}


def run(words, environment=None):
    process = subprocess.run([str(word) for word in words], cwd=ROOT, env=os.environ | (environment or {}),
                             capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))}\nfailed:\n{process.stdout[-2000:]}{process.stderr[-2000:]}")
    return process.stdout


def prepare(megalith):
    """Random weights, and the text cut for each case, as text and as ids."""
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    tokenizer = ["--tokenizer-type", "GPT2BPETokenizer", "--vocab-file", ROOT / "assets/gpt2/vocab.json",
                 "--merge-file", ROOT / "assets/gpt2/merges.txt"]
    run([megalith, "pretrain", "gpt", "--config", "configs/gpt2_124m.toml", "--mock-data", "--seq-length", 64,
         "--max-position-embeddings", WINDOW, "--global-batch-size", 1, "--micro-batch-size", 1, "--lr", "1e-30",
         "--min-lr", 0, "--weight-decay", 0, "--eval-iters", 0, "--exit-interval", 1, "--train-iters", 1000,
         "--no-save-optim", "--save", RUN / "initial"])
    text = (ROOT / "assets/tinyshakespeare/input.txt").read_text()
    for name, (_, _, _, size) in CASES.items():
        (RUN / f"{name}.txt").write_text(text[:size])
        (RUN / f"{name}.json").write_text(run([megalith, "tokenize", *tokenizer, RUN / f"{name}.txt"]))


def ours(megalith, name):
    dtype, stride, batch, _ = CASES[name]
    report = RUN / "report.json"
    run([megalith, "evaluate", "perplexity", "--load", RUN / "initial", "--data", RUN / f"{name}.txt", "--seq-length",
         WINDOW, "--overlapping-eval", stride, "--micro-batch-size", batch, f"--{dtype}", "--num-threads", 2, "--report",
         report])
    found = json.loads(report.read_text())
    return found["tokens"], found["seconds"], found["perplexity"]


def peer(name, keep_logits):
    # -P: tokenizers is the package, not the script beside this one.
    words = [sys.executable, "-P", __file__, "--peer", name] + (["--keep-logits"] if keep_logits else [])
    return json.loads(run(words, KEEP_MEMORY).splitlines()[-1])


def run_peer(name, keep_logits):
    """The loop; prints tokens, seconds and perplexity."""
    import torch
    import transformers
    from safetensors.torch import load_file
    sys.path.insert(0, str(ROOT / "tests/oracles"))
    import gpt2_reference

    dtype, stride, batch, _ = CASES[name]
    torch.set_num_threads(2)
    config = transformers.GPT2Config(n_positions=WINDOW, attn_implementation="sdpa")
    model = transformers.GPT2LMHeadModel(config)
    gpt2_reference.LAYERS = LAYERS
    folder = RUN / "initial/iter_0000001"
    weights = {k: v for path in sorted(folder.glob("model_*.safetensors")) for k, v in load_file(path).items()}
    missing, unexpected = model.load_state_dict(gpt2_reference.to_gpt2_names(weights), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    model = model.eval().to(torch.bfloat16 if dtype == "bf16" else torch.float32)
    ids = torch.tensor(json.loads((RUN / f"{name}.json").read_text()))
    rows = []  # inputs, labels, how many of the last targets are scored
    for index in range(1 + max(0, -(-(len(ids) - 1 - WINDOW) // stride))):
        first = index * stride
        row = ids[first:first + WINDOW + 1]
        rows.append((row[:-1], row[1:], len(row) - 1 - (WINDOW - stride if index else 0)))
    total, count, start = 0.0, 0, time.perf_counter()
    with torch.inference_mode():
        for at in range(0, len(rows), batch):
            part = rows[at:at + batch]
            width = max(len(inputs) for inputs, _, _ in part)
            inputs = torch.stack([torch.nn.functional.pad(inputs, (0, width - len(inputs))) for inputs, _, _ in part])
            labels = torch.full((len(part), width), -100)
            for row, (_, label, scored) in zip(labels, part):
                row[len(label) - scored:len(label)] = label[len(label) - scored:]
            # What is kept is counted from the right: enough for the row that needs most.
            keep = width - min(len(label) - scored for _, label, scored in part) if keep_logits else width
            logits = model(inputs, use_cache=False, logits_to_keep=keep).logits.float()
            losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, width - keep:].flatten(),
                                                       reduction="none", ignore_index=-100)
            total += losses.double().sum().item()
            count += int((labels != -100).sum())
    seconds = time.perf_counter() - start
    assert count == len(ids) - 1
    print(json.dumps([count, seconds, float(torch.tensor(total / count, dtype=torch.float64).exp())]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", default=ROOT / "build/release/megalith")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--peer", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--keep-logits", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return run_peer(args.peer, args.keep_logits)
    megalith = pathlib.Path(args.megalith).resolve()
    prepare(megalith)
    print(f"load {os.getloadavg()[0]:.2f}; {args.blocks} blocks; scored tokens a second, median [smallest, largest]")
    for name in args.only:
        programs = {"megalith": lambda: ours(megalith, name), "transformers, all logits": lambda: peer(name, False),
                    "transformers, scored logits": lambda: peer(name, True)}
        results = {key: [] for key in programs}
        for _ in range(args.blocks):
            for key, program in programs.items():
                results[key].append(program())
        perplexities = {key: blocks[0][2] for key, blocks in results.items()}
        expected = perplexities["transformers, all logits"]
        if abs(perplexities["megalith"] / expected - 1) > TOLERANCE[CASES[name][0]]:
            sys.exit(f"{name}: perplexities do not agree: {perplexities}; times would mean nothing")
        rates = {key: [tokens / seconds for tokens, seconds, _ in blocks] for key, blocks in results.items()}
        best = max(statistics.median(values) for key, values in rates.items() if key != "megalith")
        for key, values in rates.items():
            middle = statistics.median(values)
            print(f"{name}  {key:<28} {middle:8.1f}  [{min(values):.1f}, {max(values):.1f}]  x{middle / best:.2f}  "
                  f"perplexity {perplexities[key]:.2f}", flush=True)


if __name__ == "__main__":
    main()
