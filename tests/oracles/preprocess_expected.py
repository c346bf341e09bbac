"""Datasets as an independent reading of the rules makes them, for tests/data/preprocess_test.cpp.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/preprocess_expected.py > tests/golden/preprocess/expected.json

Tokenizes assets/tinyshakespeare/input.txt with the `tokenizers` package: as one document, and by paragraphs
(runs of lines that are not blank, joined by their line ends, without the last one), each with the end-of-text id;
writes .bin and .idx bytes with NumPy and prints counts and SHA-256. "corpus" is JSON lines for the test to feed in,
with documents that are empty, hold several strings, escapes and two keys.
"""

import hashlib
import json
import re

import numpy as np
from tokenizers import ByteLevelBPETokenizer

EOD = 50256
tokenizer = ByteLevelBPETokenizer("assets/gpt2/vocab.json", "assets/gpt2/merges.txt")


def dataset(documents, append_eod):
    """documents: lists of strings; each string that has tokens is a sequence."""
    ids, lengths, bounds = [], [], [0]
    for strings in documents:
        sequences = [s for s in (tokenizer.encode(text).ids for text in strings) if s]
        if sequences and append_eod:
            sequences[-1] = sequences[-1] + [EOD]
        ids += [i for s in sequences for i in s]
        lengths += [len(s) for s in sequences]
        bounds.append(len(lengths))
    pointers = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64) * 2)])[:-1] if lengths else []
    tokens = np.array(ids, dtype="<u2").tobytes()
    index = (
        b"MMIDIDX\x00\x00" + np.array([1], "<u8").tobytes() + bytes([8])
        + np.array([len(lengths), len(bounds)], "<u8").tobytes() + np.array(lengths, "<i4").tobytes()
        + np.array(pointers, "<i8").tobytes() + np.array(bounds, "<i8").tobytes()
    )
    return {
        "documents": len(documents), "sequences": len(lengths), "tokens": len(ids),
        "bin_bytes": len(tokens), "bin_sha256": hashlib.sha256(tokens).hexdigest(),
        "idx_bytes": len(index), "idx_sha256": hashlib.sha256(index).hexdigest(),
    }


CORPUS = [
    {"text": "Hello, world!", "title": "One"},
    {"text": "", "title": "An empty text"},
    {"text": "caf\u00e9 \u2013 na\u00efve \U0001f600 \"quoted\" back\\slash\ttab\nnewline", "title": ""},
    {"title": "keys in another order", "text": "  leading and trailing  ", "more": [1, {"text": "not this"}]},
    {"text": ["a list of strings", "", "gives a sequence each."], "title": "List"},
    {"text": [], "title": "Empty list"},
    {"text": "<|endoftext|> is ordinary text", "title": "\u4f60\u597d"},
]

shakespeare = open("assets/tinyshakespeare/input.txt", encoding="utf-8", newline="").read()
paragraphs = [p.strip("\n") for p in re.split(r"\n(?:[ \t]*\n)+", shakespeare)]
paragraphs = [p for p in paragraphs if p]


def texts(key):
    return [d[key] if isinstance(d[key], list) else [d[key]] for d in CORPUS]


print(json.dumps({
    "corpus": [json.dumps(d, ensure_ascii=i % 2 == 0) for i, d in enumerate(CORPUS)],
    "corpus_text": dataset(texts("text"), True),
    "corpus_text_without_eod": dataset(texts("text"), False),
    "corpus_title": dataset(texts("title"), True),
    "shakespeare_file": dataset([[shakespeare]], True),
    "shakespeare_paragraphs": dataset([[p] for p in paragraphs], True),
}, indent=1, ensure_ascii=True))
