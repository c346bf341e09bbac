"""Which tokens sampling may draw, and which it draws, as a golden file.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/sampling_reference.py --output tests/golden/sampling.json

"filters": logits and a configuration -> the tokens left, likeliest first, with their probabilities. Computed by NumPy
and checked against transformers' TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper. "draws": logits, a
configuration and a key (seed, prompt, sample, position) -> the token, by a port of the documented scheme to Python
integers: 64 bits by splitmix64's finaliser over the words, the upper 53 as a fraction u, then the largest of
logit / temperature - log(-log u). `null` stands for a logit of minus infinity.
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch
import transformers

MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def mix_key(words):
    key = 0
    for word in words:
        key = mix(key ^ (word & MASK))
    return key


def prompt_key(ids):
    key = len(ids)
    for token in ids:
        key = mix_key([key, token])
    return key


def candidates(logits, temperature=1.0, top_k=0, top_p=0.0):
    """Tokens left, likeliest first, and their probabilities."""
    order = [i for i in np.argsort(-logits, kind="stable") if logits[i] > -np.inf]
    if top_k:
        order = order[:top_k]
    weights = np.exp((logits[order] - logits[order[0]]) / temperature)
    probabilities = weights / weights.sum()
    if 0 < top_p < 1:
        before = np.cumsum(probabilities) - probabilities
        count = int((before < top_p).sum())
        order, probabilities = order[:count], probabilities[:count] / probabilities[:count].sum()
    return [int(i) for i in order], probabilities


def draw(logits, seed, prompt, sample, position, **config):
    """The token, and how far ahead it was."""
    stream = mix_key([seed, prompt, sample, position])
    scores = []
    for token in candidates(logits, **config)[0]:
        u = (mix_key([stream, token]) >> 11) * 2.0**-53
        scores.append((logits[token] / config.get("temperature", 1.0) - math.log(-math.log(u)), token))
    scores.sort(reverse=True)
    return scores[0][1], scores[0][0] - scores[1][0] if len(scores) > 1 else math.inf


def check_against_transformers(logits, tokens, probabilities, temperature=1.0, top_k=0, top_p=0.0):
    scores = torch.tensor(logits)[None]
    if temperature != 1.0:
        scores = transformers.TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        scores = transformers.TopKLogitsWarper(top_k)(None, scores)
    if 0 < top_p < 1:
        scores = transformers.TopPLogitsWarper(top_p)(None, scores)
    theirs = torch.softmax(scores[0], -1).numpy()
    ours = np.zeros_like(theirs)
    ours[tokens] = probabilities
    assert np.abs(theirs - ours).max() < 1e-12, (theirs, ours)


def listed(logits):
    return [None if math.isinf(x) else float(x) for x in logits]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    random = np.random.default_rng(1234)
    configs = [dict(temperature=t, top_k=k, top_p=p) for t in (1.0, 0.5, 2.5) for k in (0, 1, 7) for p in (0.0, 0.3, 0.9)]
    rows = [np.round(random.normal(size=n) * scale, 6) for n, scale in ((1, 1), (5, 1), (24, 2), (24, 40))]
    rows[2][[3, 11]] = -np.inf
    filters, draws = [], []
    for row, logits in enumerate(rows):
        for config in configs:
            tokens, probabilities = candidates(logits, **config)
            check_against_transformers(logits, tokens, probabilities, **config)
            filters.append(dict(row=row, **config, tokens=tokens, probabilities=probabilities.tolist()))
    closest = math.inf
    for number in range(200):
        row, config = int(random.integers(1, len(rows))), configs[number % len(configs)]
        prompt_ids = [int(x) for x in random.integers(0, 50257, size=number % 5)]
        key = dict(seed=int(random.integers(0, 2**31)), sample=number % 3, position=int(random.integers(0, 1024)))
        token, ahead = draw(rows[row], prompt=prompt_key(prompt_ids), **key, **config)
        closest = min(closest, ahead)
        draws.append(dict(row=row, **config, **key, prompt_ids=prompt_ids, token=token))
    assert closest > 1e-6, closest
    lines = [f'"rows": {json.dumps([listed(row) for row in rows])}']
    for name, entries in (("filters", filters), ("draws", draws)):
        lines.append(f'"{name}": [\n' + ",\n".join(json.dumps(entry) for entry in entries) + "\n]")
    args.output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{args.output}: {len(filters)} filters, {len(draws)} draws, closest decision {closest:.1e}")


if __name__ == "__main__":
    main()
