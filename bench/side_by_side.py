"""What bench/training.py and bench/bert.py share: whole training runs of megalith and of a peer in turns.

A block is one run of each program over the same samples, from the same initial weights, without dropout. The time of a
block is the median of its iterations after two to warm up; the medians of the blocks are printed, their smallest and
largest, and the ratio of tokens/s to the best peer. Memory is the largest resident size of the process. Losses of the
first iterations are compared before anything is timed.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv/bin/python"
WARM_UP = 2
# Without these glibc hands large buffers back to the kernel after every use, which costs PyTorch a third of its speed.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}
LOSS_TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}  # relative; the peer keeps fp32 weights, ours rounds them to bf16


def run(words, environment=None):
    """Runs a command to its end; returns its output and the largest resident size of one process, in bytes."""
    script = "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); " \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr); sys.exit(status)"
    process = subprocess.run([sys.executable, "-c", script, *map(str, words)], cwd=ROOT,
                             env=os.environ | (environment or {}), capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))}\nfailed with {process.returncode}:\n"
                 f"{process.stdout[-2000:]}{process.stderr[-2000:]}")
    return process.stdout, int(process.stderr.split()[-1])


def empty_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


class Case:
    """One shape in one type. A subclass says which model, which flags, and which peer."""
    family, peer_script = None, None  # "gpt" or "bert"; the file in bench/
    sample_flags = []  # more words for `megalith data samples`
    compared = 20  # iterations whose losses are compared

    def __init__(self, megalith, folder, name, dtype, batch, sequence, iterations):
        self.megalith, self.folder, self.name = megalith, folder, name
        self.dtype, self.batch, self.sequence, self.iterations = dtype, batch, sequence, iterations

    def model_flags(self):
        raise NotImplementedError

    def flags(self, data_size=1):
        words = [*self.model_flags(), "--seq-length", self.sequence, "--global-batch-size", self.batch,
                 "--micro-batch-size", self.batch // data_size, "--lr", "1e-4", "--lr-decay-style", "constant",
                 "--lr-warmup-iters", 0, "--weight-decay", 0.01, "--hidden-dropout", 0, "--attention-dropout", 0,
                 "--eval-iters", 0, "--split", "100,0,0", "--train-iters", 1000]
        return words + (["--bf16"] if self.dtype == "bf16" else [])

    def initial(self):
        return self.folder / f"initial-{self.sequence}"

    def prepare(self):
        """Initial weights and samples, which both sides start from."""
        self.weights = self.initial() / "iter_0000001/model_00000.safetensors"
        if not self.weights.exists():
            words = [word for word in self.flags() if word != "--bf16"]
            run([self.megalith, "pretrain", self.family, *words, "--lr", "1e-30", "--min-lr", 0, "--weight-decay", 0,
                 "--exit-interval", 1, "--no-save-optim", "--save", self.initial()])
        self.samples = self.folder / f"samples-{self.batch}x{self.sequence}-{self.compared}.jsonl"
        if not self.samples.exists():
            samples, _ = run([self.megalith, "data", "samples", *self.sample_flags, *self.flags(), "--which", "train",
                              "--first", 0, "--count", self.compared * self.batch])
            self.samples.write_text(samples)

    def ours(self, iterations, ranks=1, tensor=1, threads=2):
        metrics = self.folder / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        words = ["pretrain", self.family, *self.flags(ranks // tensor), "--load", self.initial(), "--finetune",
                 "--tensor-model-parallel-size", tensor, "--num-threads", threads, "--metrics-file", metrics,
                 "--exit-interval", iterations]
        launch = ["launch", "--nproc-per-node", ranks] if ranks > 1 else []
        _, size = run([self.megalith, *launch, *words])
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        # BERT's loss is the sum of two; a peer gives it as one number.
        return {"seconds": [line["seconds"] for line in lines],
                "losses": [line["lm_loss"] + line.get("sop_loss", 0) for line in lines], "peak": size}

    def peer(self, iterations, environment, *options):
        words = [PYTHON, ROOT / "bench" / self.peer_script, "--weights", self.weights, "--samples", self.samples,
                 "--batch", self.batch, "--dtype", self.dtype, "--iterations", iterations, *options]
        output, size = run(words, environment)
        return json.loads(output.splitlines()[-1]) | {"peak": size}

    def check_losses(self, *options):
        ours, peer = self.ours(self.compared)["losses"], self.peer(self.compared, KEEP_MEMORY, *options)["losses"]
        worst = max(abs(a - b) / b for a, b in zip(ours, peer, strict=True))
        print(f"{self.name}: losses of {self.compared} iterations {ours[0]:.5f} to {ours[-1]:.5f}, "
              f"PyTorch {peer[0]:.5f} to {peer[-1]:.5f}, largest relative difference {worst:.1e}", flush=True)
        if not worst < LOSS_TOLERANCE[self.dtype]:
            sys.exit("the losses do not agree; times would mean nothing")


def take_turns(programs, blocks):
    """{name: one median of the iterations and the peak for each block}"""
    results = {name: [] for name in programs}
    for _ in range(blocks):
        for name, program in programs.items():
            result = program()
            results[name].append((statistics.median(result["seconds"][WARM_UP:]), result["peak"]))
    return results


def report(case, results, best):
    """Prints a line for each program; the ratio is that of tokens/s to the best of the names in `best`."""
    tokens = case.batch * case.sequence
    medians = {name: statistics.median(seconds for seconds, _ in blocks) for name, blocks in results.items()}
    reference = min(medians[name] for name in best)
    for name, blocks in results.items():
        rates = sorted(tokens / seconds for seconds, _ in blocks)
        peak = max(size for _, size in blocks) / 1e9
        print(f"{case.name}  {name:<32} {tokens / medians[name]:7.1f} tokens/s  [{rates[0]:.1f}, {rates[-1]:.1f}]  "
              f"x{reference / medians[name]:.2f}  {peak:.2f} GB", flush=True)


def print_header(blocks):
    print(f"load {os.getloadavg()[0]:.2f}; {blocks} blocks; medians [smallest, largest], ratio to the best peer, "
          "peak memory", flush=True)
