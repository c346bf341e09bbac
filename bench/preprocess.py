"""Preprocessing speed, text to an indexed dataset: megalith with 1 and 2 workers, beside Hugging Face tokenizers.

    .venv/bin/python bench/preprocess.py [--megalith build/release/megalith] [--blocks 5] [TEXT_FILE ...]

The text (by default tiny Shakespeare twenty times, 22 MB) becomes JSON lines of about 10 kB each. Ours is the whole
program: reading, parsing, encoding, writing both files. The other side only encodes the texts, already in memory, with
encode_batch on as many threads. The two take turns; wall-clock medians of the blocks are printed, with the smallest
and largest. Both must find the same number of ids.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# This file's own folder would hide the package `tokenizers`.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != ROOT / "bench"]
DOCUMENT_BYTES = 10_000
OTHER = """
import json, sys, time
sys.path = [p for p in sys.path if p]
from tokenizers import ByteLevelBPETokenizer
tokenizer = ByteLevelBPETokenizer(sys.argv[1], sys.argv[2])
texts = [json.loads(line)["text"] for line in open(sys.argv[3])]
tokenizer.encode_batch(texts[:10])
begin = time.perf_counter()
encoded = tokenizer.encode_batch(texts)
print(time.perf_counter() - begin, sum(len(one.ids) for one in encoded))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", type=pathlib.Path, default=ROOT / "build/release/megalith")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    text = "".join(pathlib.Path(name).read_text(errors="replace") for name in args.files)
    text = text or (ROOT / "assets/tinyshakespeare/input.txt").read_text() * 20
    vocabulary, merges = ROOT / "assets/gpt2/vocab.json", ROOT / "assets/gpt2/merges.txt"
    with tempfile.TemporaryDirectory() as folder:
        lines = pathlib.Path(folder) / "text.jsonl"
        documents = [text[i : i + DOCUMENT_BYTES] for i in range(0, len(text), DOCUMENT_BYTES)]
        lines.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
        size = sum(len(document.encode()) for document in documents)

        def ours(workers):
            prefix = pathlib.Path(folder) / "ids"
            words = [args.megalith, "preprocess", "--input", lines, "--output-prefix", prefix, "--workers", workers,
                     "--tokenizer-type", "GPT2BPETokenizer", "--vocab-file", vocabulary, "--merge-file", merges]
            begin = time.perf_counter()
            subprocess.run([str(word) for word in words], check=True, capture_output=True)
            return time.perf_counter() - begin, (pathlib.Path(folder) / "ids_text_document.bin").stat().st_size // 2

        def other(workers):
            environment = os.environ | {"RAYON_NUM_THREADS": str(workers), "TOKENIZERS_PARALLELISM": "true"}
            words = [sys.executable, "-c", OTHER, vocabulary, merges, lines]
            output = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True,
                                    env=environment, cwd=folder).stdout
            seconds, ids = output.split()
            return float(seconds), int(ids)

        programs = {f"{name}, {workers} worker{'s' * (workers > 1)}": (run, workers)
                    for name, run in (("megalith preprocess", ours), ("tokenizers encode_batch", other))
                    for workers in (1, 2)}
        speeds, counts = {name: [] for name in programs}, set()
        for _ in range(args.blocks):
            for name, (run, workers) in programs.items():
                seconds, ids = run(workers)
                counts.add(ids)
                speeds[name].append(size / seconds / 1e6)
        if len(counts) != 1:
            sys.exit(f"different numbers of ids: {counts}")
    print(f"{size} bytes, {len(documents)} documents, {counts.pop()} ids, {args.blocks} blocks")
    for name, values in speeds.items():
        print(f"{name:36} {statistics.median(values):7.1f} MB/s   ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
