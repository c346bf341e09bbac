"""Prints number and SHA-256 of GPT-2 ids over corpora, for tests/tokenizer/gpt2_bpe_test.cpp.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_counts.py ../shared/data/lambada/lambada_test.jsonl

A .jsonl file is encoded text by text, any other as one text. The hash is over the ids as little-endian
int32, one text after the other. `tokenizers` and tiktoken must agree.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np

from tokenizer_fuzz import Oracles


def main():
    oracles = Oracles(pathlib.Path(__file__).resolve().parents[2])
    for name in sys.argv[1:]:
        data = pathlib.Path(name).read_bytes()
        texts = [data]
        if name.endswith(".jsonl"):
            texts = [json.loads(line)["text"].encode() for line in data.split(b"\n") if line]
        ids = [i for text in texts for i in oracles.ids("gpt2", text)]
        digest = hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()
        print(f"{name}: {len(texts)} texts, {len(ids)} ids, {digest}")


if __name__ == "__main__":
    main()
