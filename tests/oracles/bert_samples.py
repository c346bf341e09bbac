#!/usr/bin/env python3
"""Computes BERT's sentence mapping and masked samples again with NumPy, and compares.

    megalith data index --dataset bert --data-path PREFIX --seq-length S --num-samples N,0,0 --split 1,0,0 \
        --data-cache-path DIR --tokenizer-type BertWordPieceLowerCase --vocab-file VOCAB
    megalith data samples ... (the same flags) --count K > SAMPLES
    python tests/oracles/bert_samples.py PREFIX VOCAB DIR SAMPLES S N [SEED]

Follows the written rules, list by list as Python would: shuffles nested lists, draws by numpy.random.choice. Shares no
code and no shortcut with the program. With NO_HEAD=1 in the environment: --bert-no-binary-head.
"""
import glob
import json
import os
import struct
import sys

import numpy

HEAD = os.environ.get("NO_HEAD") != "1"
TYPES = {4: "<i4", 8: "<u2"}


def mt19937_64(seed):
    """The published 64-bit Mersenne twister."""
    full = (1 << 64) - 1
    state = [seed & full]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & full)
    while True:
        for i in range(312):
            x = (state[i] & 0xFFFFFFFF80000000) | (state[(i + 1) % 312] & 0x7FFFFFFF)
            state[i] = state[(i + 156) % 312] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0)
        for x in state:
            x ^= (x >> 29) & 0x5555555555555555
            x ^= (x << 17) & 0x71D67FFFEDA60000
            x ^= (x << 37) & 0xFFF7EEE000000000
            yield x ^ (x >> 43)


def mt19937(seed):
    random = numpy.random.RandomState(seed)
    while True:
        yield from random.randint(0, 2**32, size=4096, dtype=numpy.uint32).tolist()


def open_dataset(prefix):
    raw = open(prefix + ".idx", "rb").read()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    _, code, sequences, bounds = struct.unpack("<QBQQ", raw[9:34])
    lengths = numpy.frombuffer(raw, "<i4", sequences, 34).tolist()
    documents = numpy.frombuffer(raw, "<i8", bounds, 34 + 12 * sequences).tolist()
    tokens = numpy.fromfile(prefix + ".bin", TYPES[code])
    return lengths, documents, tokens


def mapping(lengths, documents, size, wanted, seed):
    fewest = 2 if HEAD else 1
    longest = size - 3
    draws = mt19937(seed)

    def target():
        draw = next(draws)
        return 2 + draw % (longest - 1) if draw % 10 == 0 else longest

    rows = []
    while len(rows) < wanted:
        for first, end in zip(documents, documents[1:]):
            if end - first < fewest or (end - first > 1 and max(lengths[first:end]) > 512):
                continue
            start, goal, total = first, target(), 0
            for sentence in range(first, end):
                total += lengths[sentence]
                left = end - sentence - 1
                if left == 0 or (total >= goal and left > 1 and sentence - start + 1 >= fewest):
                    rows.append((start, sentence + 1, goal))
                    start, goal, total = sentence + 1, target(), 0
    draws = mt19937_64(seed + 1)
    for i in range(len(rows) - 1, 0, -1):
        j = next(draws) % (i + 1)
        rows[i], rows[j] = rows[j], rows[i]
    return numpy.array(rows, dtype=numpy.uint32)


def masked(tokens, target, vocabulary, special, random, probability=0.15, longest=3):
    words = []
    for position, token in enumerate(tokens):
        if token in (special["[CLS]"], special["[SEP]"]):
            continue
        if vocabulary[token].startswith("##") and words:
            words[-1].append(position)
        else:
            words.append([position])
    wanted = min(probability * target, max(1, int(round(len(tokens) * probability))))
    numbers = numpy.arange(1, longest + 1)
    shares = 1.0 / numbers
    shares = shares / shares.sum()
    runs = [[words[i : i + n] for n in numbers] for i in range(len(words))]
    random.shuffle(runs)
    hidden = {}
    for run in runs:
        if len(hidden) >= wanted:
            break
        n = random.choice(numbers, p=shares / shares.sum())
        while n > 0 and len(hidden) + sum(map(len, run[n - 1])) > wanted:
            n -= 1
        if n == 0:
            continue
        positions = sum(run[n - 1], [])
        if any(p in hidden for p in positions):
            continue
        for p in positions:
            hidden[p] = tokens[p]
            if random.random() < 0.8:
                tokens[p] = special["[MASK]"]
            elif random.random() >= 0.5:
                tokens[p] = random.randint(0, len(vocabulary))
    return hidden


def sample(k, row, sentences, size, seed, vocabulary, special):
    random = numpy.random.RandomState((seed + k) % 2**32)
    first, end, target = (int(x) for x in row)
    parts = [list(sentences(i)) for i in range(first, end)]
    a, b, swapped = sum(parts, []), [], False
    if HEAD:
        pivot = random.randint(1, len(parts)) if len(parts) >= 3 else 1
        a, b = sum(parts[:pivot], []), sum(parts[pivot:], [])
        swapped = random.random() < 0.5
        if swapped:
            a, b = b, a
    cut = len(a) + len(b) > target
    while len(a) + len(b) > target:
        longer = a if len(a) > len(b) else b
        del longer[0 if random.random() < 0.5 else -1]
    tokens = [special["[CLS]"], *a, special["[SEP]"]]
    types = [0] * len(tokens)
    if b:
        tokens += [*b, special["[SEP]"]]
        types += [1] * (len(b) + 1)
    hidden = masked(tokens, target, vocabulary, special, random)
    padding = size - len(tokens)
    return {
        "index": k, "text": [int(t) for t in tokens] + [special["[PAD]"]] * padding,
        "types": types + [0] * padding, "labels": [int(hidden.get(i, -1)) for i in range(size)],
        "is_random": int(swapped), "padding_mask": [1] * len(tokens) + [0] * padding,
        "loss_mask": [int(i in hidden) for i in range(size)], "truncated": int(cut),
    }


def main():
    prefix, vocab_file, folder, samples, size, wanted = *sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6])
    seed = int(sys.argv[7]) if len(sys.argv) > 7 else 1234
    vocabulary = open(vocab_file, encoding="utf-8").read().splitlines()
    special = {text: vocabulary.index(text) for text in ("[CLS]", "[SEP]", "[MASK]", "[PAD]")}
    lengths, documents, tokens = open_dataset(prefix)
    starts = numpy.concatenate([[0], numpy.cumsum(lengths)])
    rows = mapping(lengths, documents, size, wanted, seed)
    (path,) = glob.glob(f"{folder}/*-BERTMaskedWordPieceDataset-sample_index.npy")
    stored = numpy.load(path, allow_pickle=False)
    assert stored.dtype == rows.dtype and numpy.array_equal(stored, rows)
    print(f"mapping: {stored.dtype} {stored.shape} equal")
    count = 0
    for line in open(samples):
        given = json.loads(line)
        k = given["index"]
        expected = sample(k, rows[k], lambda i: tokens[starts[i] : starts[i + 1]].tolist(), size, seed, vocabulary, special)
        assert given == expected, (k, rows[k], given, expected)
        count += 1
    print(f"samples: {count} equal")


if __name__ == "__main__":
    main()
