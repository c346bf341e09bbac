"""Does fine-tuning learn as transformers does? megalith finetune beside a PyTorch loop over transformers' BERT classes.

    .venv/bin/python bench/finetune.py [--only mnli xquad cosmosqa boolq curves] [--seeds 1 2 3] [--jobs 2]
        [--data ../shared/data] [--megalith build/release/megalith]

(after `make build` and `tools/setup --oracles`). DATA holds mnli, boolq, squad, cosmosqa, bert-vocab and the pretrained
bert-minilm (6 layers, 384 wide). Both sides train on the same examples with the same features (finetune_data.py) and
settings: fp32, dropout 0.1, AdamW, warm-up over a tenth of the steps, linear decay, clipping at 1; each from a seed of
its own for the head, dropout and the order of examples. For each task and side the scores of the dev set by seed are
printed, and the loss at the end (mean over the last tenth of the steps). The two sides agree when the means differ by
no more than the spread, the larger of the two sides' differences between best and worst seed.

`curves` is the sharper question: from the same weights of encoder and head (ours, exported), without dropout, all
training examples in one batch so that their order is no matter, the losses of every step are compared. There the peer
trains the embedding of [PAD] as megalith does (torch_finetune.py says why that is a question at all).

Needs about 30 minutes of two cores with --jobs 2; each run has one thread. What is done is kept in
runs/bench-finetune/ and not run again unless its settings change.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import random
import shutil
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
# This folder comes last: it would hide the package `tokenizers`.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]
sys.path += [str(HERE), str(HERE.parent / "tests/oracles")]
import finetune_data  # noqa: E402
import squad_metrics_reference as official  # noqa: E402
from side_by_side import KEEP_MEMORY, ROOT, run  # noqa: E402

RUN = ROOT / "runs/bench-finetune"
SIDES = ("megalith", "transformers")


@dataclasses.dataclass(frozen=True)
class Task:
    command: str  # of megalith finetune
    head: str
    sizes: tuple  # of training and dev set: examples, or articles
    length: int
    batch: int
    epochs: int
    lr: float = 1e-4
    dropout: float = 0.1
    words: tuple = ()  # more flags of megalith


PAIRS = ("--text-column", "question", "--text-b-column", "passage")
TASKS = {
    "mnli": Task("mnli", "classes", (3200, 1000), 64, 16, 2),
    "xquad": Task("squad", "spans", (14, 6), 256, 8, 2, lr=2e-4),
    "cosmosqa": Task("multiple-choice", "choices", (400, 300), 96, 8, 1),
    "boolq": Task("classification", "classes", (800, 400), 96, 16, 1, words=PAIRS),
}
# Of so many examples or articles, all of them one batch (0 stands for their number), for so many steps.
CURVES = {name: dataclasses.replace(TASKS[name], sizes=sizes, batch=0, epochs=steps, lr=3e-5, dropout=0.0)
          for name, sizes, steps in (("mnli", (16, 8), 50), ("cosmosqa", (2, 2), 50), ("boolq", (8, 8), 50),
                                     ("xquad", (1, 1), 12))}


def prepare_model(megalith, data):
    """The published folder under the names that both sides expect, and its import."""
    folder, source = RUN / "hf", data / "bert-minilm"
    if (RUN / "imported").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(source / "model.fp16.safetensors", folder / "model.safetensors")
    shutil.copy(source / "config.json", folder)
    shutil.copy(data / "bert-vocab/bert-base-uncased-vocab.txt", folder / "vocab.txt")
    run([megalith, "checkpoint", "import-hf", folder, "--save", RUN / "imported"])


class Case:
    """A task's data and settings, and what both sides make of them."""

    def __init__(self, megalith, data, name, task, folder):
        self.megalith, self.name, self.folder = megalith, name, folder
        shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "data").mkdir(parents=True)
        self.data = getattr(finetune_data, name)(data, folder / "data", task.length, task.sizes)
        (folder / "data/features.json").write_text(json.dumps(self.data))
        self.task = dataclasses.replace(task, batch=task.batch or len(self.data["train"]))

    def kept(self, name, make):
        """What was made with the same settings, or is made now; and whether it is new."""
        path, settings = self.folder / f"{name}.json", json.loads(json.dumps(dataclasses.asdict(self.task)))
        if path.exists() and (result := json.loads(path.read_text()))["settings"] == settings:
            return result, False
        result = {"settings": settings, **make()}
        path.write_text(json.dumps(result))
        return result, True

    def result(self, side, seed):
        """Trains and predicts."""
        result, is_new = self.kept(
            f"{side}-{seed}", lambda: self.ours(seed) if side == "megalith" else self.peer(seed, RUN / "hf"))
        if not is_new:
            return result
        print(f"{self.name} {side} seed {seed}: {result['score']:.2f}, loss {loss_at_end(result):.4f}, "
              f"{result['seconds']:.0f} s", flush=True)
        return result

    def finetune(self, folder, seed, *more):
        task, (train, dev) = self.task, self.data["files"]
        shutil.rmtree(folder, ignore_errors=True)
        run([self.megalith, "finetune", task.command, "--pretrained-checkpoint", RUN / "imported", "--train-data",
             self.folder / "data" / train, "--valid-data", self.folder / "data" / dev, "--seq-length", task.length,
             "--micro-batch-size", task.batch, "--epochs", task.epochs, "--lr", task.lr, "--lr-warmup-fraction", 0.1,
             "--hidden-dropout", task.dropout, "--attention-dropout", task.dropout, "--seed", seed, "--num-threads", 1,
             "--save", folder, "--save-interval", 1000000, *task.words, *more])

    def ours(self, seed):
        folder = self.folder / f"run-{seed}"
        self.finetune(folder, seed, "--no-save-optim")
        steps = [row for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in row]
        metrics = json.loads((folder / "metrics.json").read_text())["dev"]
        if self.task.head == "spans":
            scores = self.squad_scores(json.loads((folder / "dev_predictions.json").read_text()))
            assert abs(scores["score"] - metrics["f1"]) < 1e-9, (scores, metrics)
        else:
            rows = map(json.loads, (folder / "dev_predictions.jsonl").read_text().splitlines())
            scores = self.class_scores([row["logits"] for row in rows])
            assert abs(scores["score"] - 100 * metrics["accuracy"]) < 1e-9, (scores, metrics)
        for checkpoint in folder.glob("iter_*"):  # 90 MB each
            shutil.rmtree(checkpoint)
        return {"losses": [row["loss"] for row in steps], "seconds": sum(row["seconds"] for row in steps), **scores}

    def peer(self, seed, model, *more):
        task, output = self.task, self.folder / f"peer-{seed}.json"
        run([sys.executable, HERE / "torch_finetune.py", "--model", model, "--features",
             self.folder / "data/features.json", "--head", task.head, "--output", output, "--batch", task.batch,
             "--epochs", task.epochs, "--lr", task.lr, "--seed", seed, "--dropout", task.dropout,
             "--length", task.length if task.head == "spans" else 0, *more],
            KEEP_MEMORY)
        found = json.loads(output.read_text())
        output.unlink()
        return {**found, **self.scores(found.pop("logits"))}

    def scores(self, logits):
        if self.task.head != "spans":
            return self.class_scores(logits)
        return self.squad_scores(finetune_data.answers(self.data["dev"], self.data["contexts"], logits))

    def baseline(self):
        """What a model scores that has learnt nothing but how often each answer is right."""
        if self.task.head == "spans":
            draw = random.Random(1).random
            logits = [[[draw() for _ in window["rows"][0][0]] for _ in range(2)] for window in self.data["dev"]]
            return "random logits", self.scores(logits)["score"]
        labels = [example["label"] for example in self.data["dev"]]
        return "most frequent answer", 100 * max(map(labels.count, labels)) / len(labels)

    def class_scores(self, logits):
        labels = [example["label"] for example in self.data["dev"]]
        assert len(labels) == len(logits)
        return {"score": 100 * statistics.mean(row.index(max(row)) == label for row, label in zip(logits, labels))}

    def squad_scores(self, answers):
        found = official.evaluate_v1(self.data["gold"], answers)
        return {"score": found["f1"], "exact": found["exact"]}

    def report(self, results):
        """results: {side: [of each seed]}."""
        kind, baseline = self.baseline()
        score = "F1" if self.task.head == "spans" else "accuracy"
        sizes = " and ".join(str(len(self.data[part])) for part in ("train", "dev"))
        print(f"{self.name}: {score} of the dev set, {sizes} examples, {self.task.epochs} epochs; "
              f"{kind} {baseline:.1f}")
        scores = {side: [result["score"] for result in found] for side, found in results.items()}
        for side, found in results.items():
            values, ends = scores[side], [loss_at_end(result) for result in found]
            print(f"  {side:<13}{''.join(f'{value:6.2f} ' for value in values)} mean {statistics.mean(values):6.2f} "
                  f"[{min(values):.2f}, {max(values):.2f}]  loss at the end {statistics.mean(ends):.4f} "
                  f"[{min(ends):.4f}, {max(ends):.4f}]  {statistics.mean(r['seconds'] for r in found):.0f} s a run")
        ours, theirs = (statistics.mean(scores[side]) for side in SIDES)
        spread = max(max(values) - min(values) for values in scores.values())
        verdict = "within" if abs(ours - theirs) <= spread else "NOT within"
        print(f"  difference of the means {ours - theirs:+.2f}, {verdict} the spread of {spread:.2f}", flush=True)


class Curve(Case):
    """Both sides from our first weights, without dropout, every batch the whole training set."""

    def train(self):
        initial, exported = self.folder / "initial", self.folder / "initial-hf"
        # The rate of the first step is 0: what is saved behind it are the weights before it.
        self.finetune(initial, 1, "--exit-interval", 1)
        shutil.rmtree(exported, ignore_errors=True)
        run([self.megalith, "checkpoint", "export-hf", "--load", initial, "--save", exported, "--no-loss"])
        curves = [result["losses"] for result in (self.ours(1), self.peer(1, exported, "--padding-gradient"))]
        shutil.rmtree(initial)
        shutil.rmtree(exported)
        return {"curves": curves}

    def compare(self):
        curves = self.kept("curves", self.train)[0]["curves"]
        assert len(curves[0]) == len(curves[1]) == self.task.epochs
        worst = max(abs(a - b) for a, b in zip(*curves))
        shown = "  ".join(f"{a:.6f} {b:.6f}" for a, b in list(zip(*curves))[::max(1, self.task.epochs // 4)])
        return (f"{self.name}: losses of {self.task.epochs} steps of {self.task.batch} examples from the same weights, "
                f"megalith and transformers:\n  {shown}  last {curves[0][-1]:.6f} {curves[1][-1]:.6f}\n"
                f"  largest difference {worst:.2e}")


def loss_at_end(result):
    losses = result["losses"]
    return statistics.mean(losses[-max(1, len(losses) // 10):])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", type=pathlib.Path, default=ROOT / "build/release/megalith")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "../shared/data")
    parser.add_argument("--only", nargs="+", choices=[*TASKS, "curves"], default=[*TASKS, "curves"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    args = parser.parse_args()
    megalith, data = args.megalith.resolve(), args.data.resolve()
    prepare_model(megalith, data)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        curves = [Curve(megalith, data, name, task, RUN / "curves" / name) for name, task in CURVES.items()] \
            if "curves" in args.only else []
        compared = [pool.submit(curve.compare) for curve in curves]
        cases = [Case(megalith, data, name, TASKS[name], RUN / name) for name in args.only if name != "curves"]
        pending = [{(side, seed): pool.submit(case.result, side, seed) for seed in args.seeds for side in SIDES}
                   for case in cases]
        try:
            for curve in compared:
                print(curve.result(), flush=True)
            for case, futures in zip(cases, pending):
                case.report({side: [futures[side, seed].result() for seed in args.seeds] for side in SIDES})
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
