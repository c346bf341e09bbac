"""Evaluates a saved GPT-2 with transformers on real data and compares with what `megalith evaluate` wrote.

    build/release/megalith evaluate lambada --load SAVE --data lambada_test.jsonl --predictions lambada.jsonl
    build/release/megalith evaluate multiple-choice --load SAVE --data boolq.jsonl --predictions boolq.jsonl
    build/release/megalith evaluate wikitext103 --load SAVE --data wiki.test.tokens --report wikitext.json
    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/evaluation_check.py --load SAVE/iter_0000400 --data ../shared/data \\
        [--lambada lambada.jsonl] [--boolq boolq.jsonl] [--wikitext wikitext.json] [--limit 500]

For any GPT-2-shaped checkpoint (fp32, --openai-gelu or not, GPT-2's vocabulary). Texts are encoded by the tokenizers
package. LAMBADA and BoolQ (with the delimiter given by --delimiter) run each text, and each choice, by itself: every
decision and every log probability must agree. WikiText runs windows of the report's lengths: perplexities must agree to
1e-5. Ends with status 1 where something does not.
"""
import argparse
import json
import math
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import ByteLevelBPETokenizer

import gpt2_reference
import wikitext_reference

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_model(folder):
    meta = json.loads((folder / "manifest.json").read_text())["meta"]["model"]
    gpt2_reference.LAYERS = meta["num-layers"]
    config = transformers.GPT2Config(
        n_layer=meta["num-layers"], n_embd=meta["hidden-size"], n_head=meta["num-attention-heads"],
        vocab_size=meta["vocab-size"], n_positions=meta["max-position-embeddings"],
        activation_function="gelu_new" if meta["openai-gelu"] else "gelu", layer_norm_epsilon=meta["norm-epsilon"])
    model = transformers.GPT2LMHeadModel(config)
    weights = {k: v for path in sorted(folder.glob("model_*.safetensors")) for k, v in load_file(path).items()}
    missing, unexpected = model.load_state_dict(gpt2_reference.to_gpt2_names(weights), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval(), meta["max-position-embeddings"]


class Checker:
    def __init__(self, model, window):
        self.model, self.window, self.worst, self.differ = model, window, 0.0, 0
        self.tokenizer = ByteLevelBPETokenizer(str(ROOT / "assets/gpt2/vocab.json"), str(ROOT / "assets/gpt2/merges.txt"))

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    @torch.inference_mode()
    def score(self, context, target, longest=0):
        """Sum of log P of the target, and whether it is the arg-max throughout."""
        context = context[max(len(context) + max(len(target), longest) - 1 - self.window, 0):]
        logits = self.model(torch.tensor([context + target[:-1]])).logits[0, len(context) - 1:].double()
        ids = torch.tensor(target)
        total = logits.log_softmax(-1).gather(1, ids[:, None]).sum().item()
        return total, bool((logits.argmax(-1) == ids).all())

    def compare(self, name, ours, theirs, decision_agrees):
        self.worst = max(self.worst, abs(ours - theirs) / max(1, abs(theirs)))
        self.differ += not decision_agrees

    def lambada(self, examples, predictions):
        correct = 0
        for example, line in zip(examples, predictions):
            text = example["text"].strip()
            word = text.split()[-1]
            total, right = self.score(self.encode(text[:text.rfind(word)].strip()), self.encode(" " + word))
            correct += right
            self.compare("lambada", line["log_probability"], total, line["correct"] == right)
        print(f"lambada: {correct} of {len(examples)} right by transformers", end="")

    def boolq(self, examples, predictions, delimiter):
        correct = 0
        for example, line in zip(examples, predictions):
            context = self.encode(example["query"] + delimiter.rstrip(" "))
            options = [self.encode(delimiter[len(delimiter.rstrip(" ")):] + choice) for choice in example["choices"]]
            sums = [self.score(context, option, max(map(len, options)))[0] for option in options]
            correct += sums.index(max(sums)) == example["gold"]
            for ours, theirs in zip(line["log_probabilities"], sums):
                self.compare("boolq", ours, theirs, line["predicted"] == sums.index(max(sums)))
        print(f"multiple choice: {correct} of {len(examples)} right by transformers", end="")

    @torch.inference_mode()
    def wikitext(self, path, report):
        window, stride = report["seq_length"], report["overlapping_eval"]
        ids = self.encode(wikitext_reference.detokenize(path.read_bytes().decode()))
        total = 0.0
        for first in range(0, max(1, len(ids) - 1 - window + stride), stride):
            row = torch.tensor(ids[first:first + window + 1])
            skip = 0 if first == 0 else window - stride
            logits = self.model(row[None, :-1]).logits[0, skip:]
            total += torch.nn.functional.cross_entropy(logits, row[1 + skip:], reduction="sum").double().item()
        loss = total / (len(ids) - 1)
        self.compare("wikitext", report["perplexity"], math.exp(loss), report["tokens"] == len(ids) - 1)
        print(f"wikitext103: perplexity {math.exp(loss):.6f} by transformers, {report['perplexity']:.6f} by megalith", end="")

    def verdict(self):
        print(f"; {self.differ} decisions differ, largest relative difference {self.worst:.1e}", flush=True)
        bad = self.differ > 0 or self.worst > 1e-5
        self.differ, self.worst = 0, 0.0
        return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    for name in ("lambada", "boolq", "wikitext"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    parser.add_argument("--delimiter", default=" ")
    parser.add_argument("--limit", type=int, help="only the first examples")
    args = parser.parse_args()
    model, window = load_model(args.load)
    checker, bad = Checker(model, window), False

    def lines(path):
        return [json.loads(line) for line in path.read_text().splitlines()][:args.limit]

    if args.lambada:
        checker.lambada(lines(args.data / "lambada/lambada_test.jsonl"), lines(args.lambada))
        bad |= checker.verdict()
    if args.boolq:
        checker.boolq(lines(args.data / "boolq/boolq.jsonl"), lines(args.boolq), args.delimiter)
        bad |= checker.verdict()
    if args.wikitext:
        report = json.loads(args.wikitext.read_text())
        checker.wikitext(pathlib.Path(report["data"]), report)
        bad |= checker.verdict()
    sys.exit(bad)


if __name__ == "__main__":
    main()
