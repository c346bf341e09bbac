"""Figure 7 of the Megatron-LM paper in small: BERT with the original order of norms and with the rearranged one.

    .venv/bin/python bench/figure7.py train [--text FOLDER_OR_FILE]
    .venv/bin/python bench/figure7.py plot          (after `make build` and `tools/setup --bench`)

`train` makes a corpus of sentences from plain-text books (default: the Gutenberg books beside the checkout) and trains
narrow models in both orders: same data, seed, learning rates, initial draws. Each letter is a word, with a vocabulary
of letters, so that what is masked can be learned from its neighbours within a few thousand iterations. A run goes in
slices of --slice iterations, each a process that stops by --exit-interval and is resumed by --load, so the script can
be stopped and started again at any time. Writes runs/figure7/. `plot` reads the metrics and writes docs/figure7.png and
docs/figure7.csv, and prints the table of docs/figure7.md.
"""
import argparse
import collections
import concurrent.futures
import csv
import json
import math
import pathlib
import shlex
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = ROOT / "runs/figure7"
ORDERS = {"original": ["--apply-residual-connection-post-layernorm"], "rearranged": []}
LAYERS, RATES, SEEDS = (24,), ("1e-3", "3e-3"), (1, 2)
ITERATIONS, WARM_UP, WINDOW = 2000, 100, 50
VOCABULARY = RUN / "vocabulary.txt"
TOKENIZER = ["--tokenizer-type", "BertWordPieceLowerCase", "--vocab-file", VOCABULARY]
SETTINGS = [*TOKENIZER, "--hidden-size", 64, "--num-attention-heads", 4, "--seq-length", 64, "--keep-long-sentences",
            "--global-batch-size", 16, "--micro-batch-size", 16, "--lr-decay-style", "linear", "--lr-warmup-iters",
            WARM_UP, "--min-lr", 0, "--weight-decay", 0.01, "--hidden-dropout", 0, "--attention-dropout", 0,
            "--train-iters", ITERATIONS, "--eval-interval", ITERATIONS, "--eval-iters", 20, "--split", "95,5,0",
            "--data-path", RUN / "books_text_sentence"]


def all_runs():
    return [(layers, rate, seed, order) for seed in SEEDS for rate in RATES for layers in LAYERS for order in ORDERS]


def folder(layers, rate, seed, order):
    return RUN / f"{order}-{layers}-{rate}-{seed}"


def losses_of(run):
    """{iteration: masked-word loss}, {iteration: gradient norm}, validation loss at the end or None"""
    losses, norms, validation = {}, {}, None
    path = folder(*run) / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        values = json.loads(line)
        if "lm_loss" in values:
            losses[values["iteration"]] = float(values["lm_loss"])
            norms[values["iteration"]] = float(values["grad_norm"])
        validation = values.get("validation_loss", validation)
    return losses, norms, validation


def train_slice(args, run):
    """Goes on with one run for a slice. -> False when it has diverged"""
    layers, rate, seed, order = run
    words = [*shlex.split(args.megalith), "pretrain", "bert", "--num-layers", layers, *ORDERS[order], *SETTINGS,
             "--lr", rate, "--seed", seed, "--num-threads", args.threads, "--log-interval", args.slice, "--save",
             folder(*run), "--load", folder(*run), "--load-if-exists", "--keep-last", 1, "--exit-interval", args.slice]
    process = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    iteration = max(losses_of(run)[0], default=0)
    if process.returncode == 1 and "not finite" in process.stderr:
        print(f"{folder(*run).name}: {process.stderr.strip().splitlines()[-1]}", flush=True)
        return False
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{process.stdout[-1500:]}{process.stderr[-1500:]}")
    print(f"{folder(*run).name}: iteration {iteration}, lm loss {losses_of(run)[0][iteration]:.3f}", flush=True)
    return True


def train_run(args, run):
    while max(losses_of(run)[0], default=0) < ITERATIONS and train_slice(args, run):
        pass


def write_letters(text):
    """The books with a blank between any two letters, so that each is a word; and the vocabulary of these words."""
    files = sorted(text.glob("*.txt")) if text.is_dir() else [text]
    counts = collections.Counter()
    with open(RUN / "letters.txt", "w") as out:
        for file in files:
            for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
                letters = [letter for letter in line if not letter.isspace()]
                counts.update(letter.lower() for letter in letters)
                out.write(" ".join(letters) + "\n")
    common = sorted(letter for letter, count in counts.items() if count >= 100)
    VOCABULARY.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *common]) + "\n")


def train(args):
    RUN.mkdir(parents=True, exist_ok=True)
    if not (RUN / "books_text_sentence.idx").exists():
        write_letters(args.text)
        subprocess.run([str(word) for word in (
            *shlex.split(args.megalith), "preprocess", "--input", RUN / "letters.txt", "--output-prefix", RUN / "books",
            "--split-sentences", "--document-separator", "blank-line", "--blank-lines", 2, *TOKENIZER)],
                       cwd=ROOT, check=True)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda run: train_run(args, run), all_runs()))


def smoothed(losses):
    """[(last iteration of the window, mean loss)]"""
    steps = sorted(losses)
    return [(steps[i + WINDOW - 1], statistics.fmean(losses[k] for k in steps[i : i + WINDOW]))
            for i in range(0, len(steps) - WINDOW + 1, WINDOW)]


def draw(curves, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    colours = dict(zip(ORDERS, ("tab:red", "tab:blue")))
    figure, axes = pyplot.subplots(len(RATES), len(LAYERS), figsize=(9, 3.6 * len(RATES)), sharey=True, squeeze=False)
    for (layers, rate, seed, order), curve in curves.items():
        axis = axes[RATES.index(rate)][LAYERS.index(layers)]
        axis.plot(*zip(*curve), color=colours[order], linestyle=("-", "--", ":")[SEEDS.index(seed)],
                  label=f"{order}, seed {seed}")
        axis.set_title(f"{layers} layers, learning rate {rate}", fontsize=10)
        axis.grid(alpha=0.3)
        axis.set_xlabel("iteration")
    axes[0][0].set_ylabel(f"masked-word loss, mean of {WINDOW}")
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def plot(_):
    curves = {run: smoothed(losses_of(run)[0]) for run in all_runs()}
    curves = {run: curve for run, curve in curves.items() if curve}
    with open(ROOT / "docs/figure7.csv", "w") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["layers", "learning_rate", "seed", "order", "iteration", "lm_loss"])
        for run, curve in curves.items():
            out.writerows([*run, iteration, f"{loss:.4f}"] for iteration, loss in curve)
    draw(curves, ROOT / "docs/figure7.png")
    marks = [ITERATIONS * k // 4 for k in range(1, 5)]
    print("| layers | learning rate | seed | order | " + " | ".join(f"loss at {m}" for m in marks) +
          " | validation | largest gradient norm after warm-up |")
    print("|---:|---:|---:|---|" + "---:|" * (len(marks) + 2))
    for run, curve in curves.items():
        _, norms, validation = losses_of(run)
        at = dict(curve)
        cells = [f"{at[m]:.3f}" if m in at else "–" for m in marks]
        cells.append(f"{validation:.3f}" if validation is not None and math.isfinite(validation) else "–")
        cells.append(f"{max((v for k, v in norms.items() if k > WARM_UP), default=math.nan):.2f}")
        print("| " + " | ".join(map(str, [*run, *cells])) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "plot"))
    parser.add_argument("--megalith", default="build/release/megalith", help="may be several words (nice -n 15 ...)")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT.parent / "shared/data/gutenberg")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slice", type=int, default=200)
    args = parser.parse_args()
    {"train": train, "plot": plot}[args.what](args)


if __name__ == "__main__":
    main()
