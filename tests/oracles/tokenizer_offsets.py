"""Makes tests/golden/tokenizer/offsets.jsonl: the places of BERT's pieces, from the package `tokenizers`.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_offsets.py > tests/golden/tokenizer/offsets.jsonl

The texts are those of tricky_strings.jsonl, then those of fuzz.jsonl (decoded with errors="replace"). One line
a text: {"uncased": [begin, end, begin, end, ...], "cased": [...]}, in bytes of the text as UTF-8.
"""

import json
import pathlib

import tokenizer_fuzz

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/tokenizer"


def texts():
    for line in (GOLDEN / "tricky_strings.jsonl").read_text(encoding="utf-8").strip("\n").split("\n"):
        yield json.loads(line)["text"]
    for line in (GOLDEN / "fuzz.jsonl").read_text().splitlines():
        yield bytes.fromhex(json.loads(line)["hex"]).decode("utf-8", errors="replace")


def byte_offsets(package, text):
    bytes_before = [0]
    for character in text:
        bytes_before.append(bytes_before[-1] + len(character.encode()))
    offsets = package.encode(text, add_special_tokens=False).offsets
    return [bytes_before[at] for pair in offsets for at in pair]


def main():
    packages = tokenizer_fuzz.Oracles(ROOT).packages
    for text in texts():
        row = {case: byte_offsets(packages[f"bert_{case}"], text) for case in ("uncased", "cased")}
        print(json.dumps(row, separators=(",", ":")))


if __name__ == "__main__":
    main()
