"""Makes tests/golden/finetune/features.json: token features of pairs and choices of real data.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/finetune_features.py DATA > tests/golden/finetune/features.json

DATA holds mnli/dev.csv, cosmosqa/valid.csv and boolq/boolq.jsonl. Ids come from the package `tokenizers`, pairs and
their truncation from it too where the recipes agree; the layouts are those of Megatron-LM's tasks (v1.0 to v2.x,
tasks/data_utils.py, tasks/race/data.py) and of BERT's run_classifier. Every entry: number of sequences, ids in
all, SHA-256 of all ids (int32) and of all types (int8), one sequence after the other, and the first sequence.
"""

import csv
import hashlib
import json
import pathlib
import sys

import numpy as np
from tokenizers import BertWordPieceTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(next(iter(sys.argv[1:]), "."))  # none when bench/finetune_data.py imports this
FAST = BertWordPieceTokenizer(str(ROOT / "tests/golden/bert-vocab/uncased.txt"), lowercase=True)
CLS, SEP = 101, 102
CACHE = {}


def ids(text):
    if text not in CACHE:
        CACHE[text] = FAST.encode(text, add_special_tokens=False).ids
    return CACHE[text]


def longer_part(a, b, length):
    a, b = list(a), list(b)
    while len(a) + len(b) > length - 3:
        (a if len(a) > len(b) else b).pop()
    return [CLS, *a, SEP, *b, SEP], [0] * (len(a) + 2) + [1] * (len(b) + 1)


def cut_end(a, b, length):
    row = [CLS, *a, SEP, *b][: length - 1] + [SEP]
    types = ([0] * (len(a) + 2) + [1] * len(b))[: length - 1] + [1]
    return row, types


def single(a, length):
    a = a[: length - 2]
    return [CLS, *a, SEP], [0] * (len(a) + 2)


def summary(rows):
    all_ids, all_types, first, count = hashlib.sha256(), hashlib.sha256(), None, [0, 0]
    for row, types in rows:
        assert len(row) == len(types)
        first = first or row
        count = [count[0] + 1, count[1] + len(row)]
        all_ids.update(np.array(row, dtype="<i4").tobytes())
        all_types.update(np.array(types, dtype=np.int8).tobytes())
    return {"rows": count[0], "num_ids": count[1], "ids_sha256": all_ids.hexdigest(),
            "types_sha256": all_types.hexdigest(), "first": first}


def mnli(build, length):
    with open(DATA / "mnli/dev.csv", newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            yield build(ids(row["premise"]), ids(row["hypothesis"]), length)


def check_against_package(length):
    """Whole pairs as the package makes them."""
    FAST.no_truncation()
    with open(DATA / "mnli/dev.csv", newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            row_ids, types = longer_part(ids(row["premise"]), ids(row["hypothesis"]), length)
            if len(row_ids) < length:
                encoded = FAST.encode(row["premise"], row["hypothesis"])
                assert (encoded.ids, encoded.type_ids) == (row_ids, types)


def choices(question, answers, context, length, qa_length):
    for answer in answers:
        qa = question.replace("_", answer) if "_" in question else " ".join([question, answer])
        yield cut_end(ids(qa)[:qa_length], ids(context), length)


def cosmos(length, qa_length):
    with open(DATA / "cosmosqa/valid.csv", newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            answers = [row[f"answer{i}"] for i in range(4)]
            yield from choices(row["question"], answers, row["context"], length, qa_length)


def boolq(length):
    for line in (DATA / "boolq/boolq.jsonl").read_text(encoding="utf-8").strip("\n").split("\n"):
        yield single(ids(json.loads(line)["query"]), length)


def main():
    check_against_package(512)
    print(json.dumps({
        "mnli_longer_part_128": summary(mnli(longer_part, 128)),
        "mnli_longer_part_31": summary(mnli(longer_part, 31)),
        "mnli_cut_end_30": summary(mnli(cut_end, 30)),
        "cosmos_512_128": summary(cosmos(512, 128)),
        "cosmos_100_16": summary(cosmos(100, 16)),
        "boolq_256": summary(boolq(256)),
    }, indent=1))


if __name__ == "__main__":
    main()
