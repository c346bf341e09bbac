"""What `megalith evaluate` must give for the tiny GPT-2 of gpt2_tiny.safetensors, by transformers, as a golden file.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/evaluation_reference.py --output tests/golden/gpt2_tiny_evaluate.json

GPT2LMHeadModel runs in float64, one window at a time and without padding; texts are ids (NullTokenizer). "perplexity":
a stream of ids in sliding windows, every token after the first scored once, for several windows and strides; the
script asserts that each token is scored exactly once. "cloze": texts whose last "word" is one id or several, that all
must be the arg-max given the ids before; half of the targets are the model's own greedy words, so that both outcomes
occur. "choices": the sum of log probabilities of each choice, each choice run through the model by itself. No decision
is closer than 1e-6 (checked), so accuracies are certain.
"""
import argparse
import json
import math
import pathlib

import torch

import generate_reference
import gpt2_reference

POSITIONS, VOCABULARY = gpt2_reference.POSITIONS, gpt2_reference.VOCABULARY


@torch.no_grad()
def log_probabilities(model, ids):
    return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def sliding(model, ids, window, stride):
    """Sum of log P over ids[1:]; a window moves on by the stride and scores what no window before it scored."""
    total, scored, end, first = 0.0, [], 0, 0
    while end < len(ids) - 1:
        inputs = ids[first:min(first + window, len(ids) - 1)]
        table = log_probabilities(model, inputs)
        for place in range(max(end - first, 0), len(inputs)):
            total += table[place, ids[first + place + 1]].item()
            scored.append(first + place + 1)
        end, first = first + len(inputs), first + stride
    assert scored == list(range(1, len(ids)))
    return total


def continuation(model, context, target, window):
    """(sum of log P, arg-max ids, smallest gap between the best two logits); the context gives way on its left."""
    excess = max(len(context) + len(target) - 1 - window, 0)
    context = context[excess:]
    table = log_probabilities(model, context + target[:-1])[len(context) - 1:]
    best = table.topk(2).values
    total = sum(row[id_].item() for row, id_ in zip(table, target))
    return total, table.argmax(-1).tolist(), (best[:, 0] - best[:, 1]).min().item(), excess > 0


@torch.no_grad()
def greedy(model, context, count):
    ids = list(context)
    for _ in range(count):
        ids.append(log_probabilities(model, ids)[-1].argmax().item())
    return ids[len(context):]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = generate_reference.tiny_gpt2(pathlib.Path(__file__).parent.parent / "golden/gpt2_tiny.safetensors")
    random = torch.Generator().manual_seed(2019)

    def draw(count):
        return torch.randint(0, VOCABULARY, (count,), generator=random).tolist()

    def pick(low, high):
        return torch.randint(low, high, (1,), generator=random).item()

    stream = draw(83)
    perplexity = []
    for window, stride in ((16, 16), (16, 3), (16, 1), (9, 4), (7, 7), (1, 1)):
        total = sliding(model, stream, window, stride)
        perplexity.append(dict(window=window, stride=stride, log_probability=total,
                               loss=-total / (len(stream) - 1), perplexity=math.exp(-total / (len(stream) - 1))))

    window, closest = 12, math.inf
    cloze = []
    for i in range(40):
        context, count = draw(pick(1, 14)), pick(1, 4)
        visible = context[max(len(context) + count - 1 - window, 0):]
        target = greedy(model, visible, count) if i % 2 else draw(count)
        total, best, gap, truncated = continuation(model, context, target, window)
        closest = min(closest, gap)
        cloze.append(dict(context=context, target=target, log_probability=total, likeliest=best,
                          correct=best == target, truncated=truncated))
    assert 0 < sum(row["correct"] for row in cloze) < len(cloze) and any(row["truncated"] for row in cloze)

    choices = []
    for i in range(30):
        context = draw(pick(1, 14))
        options = [draw(1 if i % 3 == 0 else pick(1, 6)) for _ in range(pick(2, 5))]
        longest = max(map(len, options))
        seen = context[max(len(context) + longest - 1 - window, 0):]
        sums = [continuation(model, seen, option, window)[0] for option in options]
        means = [total / len(option) for total, option in zip(sums, options)]
        for values in (sums, means):
            best, second = sorted(values)[-1], sorted(values)[-2]
            closest = min(closest, best - second)
        choices.append(dict(context=context, choices=options, gold=pick(0, len(options)), log_probabilities=sums,
                            by_sum=sums.index(max(sums)), by_token=means.index(max(means)),
                            truncated=len(seen) < len(context)))
    assert closest > 1e-6, closest
    golden = dict(stream=stream, perplexity=perplexity, window=window, cloze=cloze, choices=choices)
    lines = [f'"{name}": {json.dumps(value)}' for name, value in golden.items()]
    args.output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{args.output}: closest decision {closest:.1e}; {sum(row['correct'] for row in cloze)} of {len(cloze)} correct")


if __name__ == "__main__":
    main()
