"""Training of GPT-2 124M on this machine's CPU: megalith beside PyTorch, and on two ranks beside one process.

    make bench                          (or, after `make build` and `tools/setup --bench`:)
    .venv/bin/python bench/training.py [--blocks 5] [--only fp32-4x64 bf16-4x64 fp32-1x1024 bf16-1x1024 ranks]

Whole processes take turns: a block is one run of each program over the same samples of tiny Shakespeare, from the same
initial weights, without dropout, 2 threads in all. The time of a block is the median of its iterations after two to
warm up; the medians of the blocks are printed, their smallest and largest, and the ratio to the best peer. Memory is
the largest resident size of the process. Losses of 20 iterations are compared first. The peer (torch_gpt2.py) runs
with malloc told to keep its memory, and compiled by torch.compile with the same malloc; ours runs as it comes. The last
lines put two ranks of one thread beside one process of two threads. Needs about 35 minutes of an otherwise idle machine
of two cores; writes runs/bench/.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = ROOT / "runs/bench"
PYTHON = ROOT / ".venv/bin/python"
WARM_UP = 2
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}
TOKENIZER = ["--tokenizer-type", "GPT2BPETokenizer", "--vocab-file", "assets/gpt2/vocab.json",
             "--merge-file", "assets/gpt2/merges.txt"]
CASES = {  # name: (dtype, batch, sequence, iterations of a block)
    "fp32-4x64": ("fp32", 4, 64, 9),
    "bf16-4x64": ("bf16", 4, 64, 11),
    "fp32-1x1024": ("fp32", 1, 1024, 4),
    "bf16-1x1024": ("bf16", 1, 1024, 6),
}
LOSS_TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}  # relative; the peer keeps fp32 weights, ours rounds them to bf16


def run(words, environment=None):
    """Runs a command to its end; returns its output and the largest resident size of one process, in bytes."""
    script = "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); " \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr); sys.exit(status)"
    process = subprocess.run([sys.executable, "-c", script, *map(str, words)], cwd=ROOT,
                             env=os.environ | (environment or {}), capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))}\nfailed with {process.returncode}:\n{process.stdout[-2000:]}{process.stderr[-2000:]}")
    return process.stdout, int(process.stderr.split()[-1])


class Case:
    def __init__(self, megalith, name):
        self.megalith, self.name = megalith, name
        self.dtype, self.batch, self.sequence, self.iterations = CASES[name]

    def flags(self, data_size=1):
        words = ["--config", "configs/gpt2_124m.toml", "--seq-length", self.sequence, "--max-position-embeddings", 1024,
                 "--global-batch-size", self.batch, "--micro-batch-size", self.batch // data_size, "--lr", "1e-4",
                 "--lr-decay-style", "constant", "--lr-warmup-iters", 0, "--weight-decay", 0.01, "--hidden-dropout", 0,
                 "--attention-dropout", 0, "--eval-iters", 0, "--split", "100,0,0", "--train-iters", 1000,
                 "--data-path", RUN / "text_text_document"]
        return words + (["--bf16"] if self.dtype == "bf16" else [])

    def prepare(self):
        """Initial weights and samples, which both sides start from."""
        self.weights = RUN / f"initial-{self.sequence}/iter_0000001/model_00000.safetensors"
        if not self.weights.exists():
            words = [word for word in self.flags() if word != "--bf16"]
            run([self.megalith, "pretrain", "gpt", *words, "--lr", "1e-30", "--min-lr", 0, "--weight-decay", 0,
                 "--exit-interval", 1,
                 "--no-save-optim", "--save", RUN / f"initial-{self.sequence}"])
        self.samples = RUN / f"samples-{self.sequence}.jsonl"
        if not self.samples.exists():
            samples, _ = run([self.megalith, "data", "samples", *self.flags(), "--which", "train", "--first", 0,
                              "--count", 20 * self.batch])
            self.samples.write_text(samples)

    def ours(self, iterations, ranks=1, tensor=1, threads=2, peak=True):
        metrics = RUN / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        data_size = ranks // tensor
        words = ["pretrain", "gpt", *self.flags(data_size), "--load", RUN / f"initial-{self.sequence}", "--finetune",
                 "--tensor-model-parallel-size", tensor, "--num-threads", threads, "--metrics-file", metrics,
                 "--exit-interval", iterations]
        launch = ["launch", "--nproc-per-node", ranks] if ranks > 1 else []
        _, size = run([self.megalith, *launch, *words])
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        return {"seconds": [line["seconds"] for line in lines], "losses": [line["lm_loss"] for line in lines],
                "peak": size}

    def peer(self, iterations, compiled, environment):
        words = [PYTHON, "bench/torch_gpt2.py", "--weights", self.weights, "--samples", self.samples,
                 "--batch", self.batch, "--dtype", self.dtype, "--iterations", iterations]
        output, size = run(words + (["--compile"] if compiled else []), environment)
        return json.loads(output.splitlines()[-1]) | {"peak": size}


def check_losses(case):
    ours, peer = case.ours(20)["losses"], case.peer(20, False, KEEP_MEMORY)["losses"]
    worst = max(abs(a - b) / b for a, b in zip(ours, peer))
    print(f"{case.name}: losses of 20 iterations {ours[0]:.5f} to {ours[-1]:.5f}, PyTorch {peer[0]:.5f} to "
          f"{peer[-1]:.5f}, largest relative difference {worst:.1e}", flush=True)
    if not worst < LOSS_TOLERANCE[case.dtype]:
        sys.exit("the losses do not agree; times would mean nothing")


def take_turns(programs, blocks):
    """{name: one median of the iterations and the peak for each block}"""
    results = {name: [] for name in programs}
    for _ in range(blocks):
        for name, program in programs.items():
            result = program()
            results[name].append((statistics.median(result["seconds"][WARM_UP:]), result["peak"]))
    return results


def report(case, results, best=None):
    """Prints a line for each program; the ratio is that of tokens/s to the best of the names in `best`."""
    tokens = case.batch * case.sequence
    medians = {name: statistics.median(seconds for seconds, _ in blocks) for name, blocks in results.items()}
    reference = min(medians[name] for name in best)
    for name, blocks in results.items():
        rates = sorted(tokens / seconds for seconds, _ in blocks)
        peak = max(size for _, size in blocks) / 1e9
        print(f"{case.name}  {name:<28} {tokens / medians[name]:7.1f} tokens/s  [{rates[0]:.1f}, {rates[-1]:.1f}]  "
              f"x{reference / medians[name]:.2f}  {peak:.2f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", default="build/release/megalith")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*CASES, "ranks"], default=[*CASES, "ranks"])
    parser.add_argument("--as-it-comes", action="store_true", help="also the peer without its malloc settings")
    args = parser.parse_args()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    run([args.megalith, "preprocess", "--input", "assets/tinyshakespeare/input.txt", "--output-prefix", RUN / "text",
         *TOKENIZER, "--document-separator", "blank-line", "--append-eod"])
    load = os.getloadavg()[0]
    print(f"load {load:.2f}; {args.blocks} blocks; medians [smallest, largest], ratio to the best peer, peak memory")
    for name in args.only:
        case = Case(args.megalith, "fp32-4x64" if name == "ranks" else name)
        case.prepare()
        if name == "ranks":
            continue
        check_losses(case)
        peers = {"PyTorch, malloc kept": lambda: case.peer(case.iterations, False, KEEP_MEMORY),
                 "PyTorch, compiled, malloc kept": lambda: case.peer(case.iterations, True, KEEP_MEMORY)}
        if args.as_it_comes:
            peers["PyTorch as it comes"] = lambda: case.peer(case.iterations, False, {})
        ours = {"megalith": lambda: case.ours(case.iterations)}
        report(case, take_turns(ours | peers, args.blocks), best=list(peers))
    if "ranks" in args.only:
        for name in CASES:
            case = Case(args.megalith, name)
            case.prepare()
            programs = {"one process, 2 threads": lambda: case.ours(case.iterations),
                        "tensor 2, 1 thread a rank": lambda: case.ours(case.iterations, 2, 2, 1)}
            if case.batch > 1:
                programs["data 2, 1 thread a rank"] = lambda: case.ours(case.iterations, 2, 1, 1)
            report(case, take_turns(programs, args.blocks), best=["one process, 2 threads"])


if __name__ == "__main__":
    main()
