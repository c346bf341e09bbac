"""Encoding speed of tokenizers on one core: megalith, tiktoken and Hugging Face tokenizers.

    .venv/bin/python bench/tokenizers.py [--bench build/release/tokenizer_bench] [--blocks 7] TEXT_FILE ...
    .venv/bin/python bench/tokenizers.py --tokenizer-model tokenizer.json TEXT_FILE ...
    .venv/bin/python bench/tokenizers.py --write-models FOLDER

GPT-2's tokenizer, or with --tokenizer-model that file's (which tiktoken does not read). --write-models makes
files for it, one a family: gpt2, llama3 and qwen2 have GPT-2's published merges under the family's pattern and
normalizer, llama2 and bert are trained on assets/. All take turns on the same documents (about 10 kB each) in
the same run, so that they see the same machine. A block is one pass of each over all documents, after one pass to warm up; medians of the blocks
are printed, start-up and file reading not included. Time is processor time, so that a busy machine does
not show as a slow tokenizer. All must give the same number of ids.
Build the program with -DMEGALITH_BENCH=ON.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = pathlib.Path(__file__).resolve().parents[1]
# This file's own folder would hide the package of the same name.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != ROOT / "bench"]
sys.path.append(str(ROOT / "tests/oracles"))

from tokenizer_fuzz import Oracles  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

DOCUMENT_BYTES = 10_000


def cut_into_documents(data):
    documents, begin = [], 0
    while begin < len(data):
        end = data.find(b"\n", begin + DOCUMENT_BYTES) + 1 or len(data)
        documents.append(data[begin:end].decode("utf-8", errors="replace"))
        begin = end
    return documents


class Megalith:
    def __init__(self, words):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def run(self):
        print(file=self.process.stdin, flush=True)
        seconds, num_ids = self.process.stdout.readline().split()
        return float(seconds), int(num_ids)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def timed(encode, documents):
    start = time.process_time()
    num_ids = sum(len(encode(document)) for document in documents)
    return time.process_time() - start, num_ids


def write_models(folder):
    """What a family does to a text decides the speed: its normalizer, pattern and kind of model."""
    import tokenizer_json as oracle
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    assets = ROOT / "assets/gpt2"
    for name, pattern in {"gpt2": None, "llama3": oracle.LLAMA3, "qwen2": oracle.QWEN2}.items():
        tokenizer = Tokenizer(models.BPE.from_file(str(assets / "vocab.json"), str(assets / "merges.txt")))
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
        if pattern is None:
            tokenizer.pre_tokenizer = byte_level
        else:
            split = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        if name == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(["<|endoftext|>"])
        tokenizer.save(str(folder / f"{name}.json"))
    for name, tokenizer in (oracle.sentencepiece_bpe("llama2", 32_000, "llama2"), oracle.bert("bert", 30_522, True)):
        tokenizer.save(str(folder / f"{name}.json"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default=ROOT / "build/release/tokenizer_bench")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--tokenizer-model", help="a tokenizer.json")
    parser.add_argument("--write-models", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("files", nargs="*", default=[ROOT / "assets/tinyshakespeare/input.txt"])
    arguments = parser.parse_args()
    if arguments.write_models:
        return write_models(arguments.write_models)

    data = b"".join(pathlib.Path(name).read_bytes() for name in arguments.files)
    documents = cut_into_documents(data)
    files = [ROOT / "assets/gpt2/vocab.json", ROOT / "assets/gpt2/merges.txt"]
    runs = {}
    if arguments.tokenizer_model:
        files = [arguments.tokenizer_model]
        package = Tokenizer.from_file(arguments.tokenizer_model)
        package.no_truncation()
        package.no_padding()
    else:
        oracles = Oracles(ROOT)
        package = oracles.packages["gpt2"]
        runs["tiktoken"] = lambda: timed(oracles.tiktoken.encode_ordinary, documents)
    runs["tokenizers"] = lambda: timed(lambda d: package.encode(d, add_special_tokens=False).ids, documents)
    with tempfile.NamedTemporaryFile() as text:
        text.write(data)
        text.flush()
        megalith = Megalith([arguments.bench, *files, text.name])
        runs = {"megalith": megalith.run} | runs
        speeds = {name: [] for name in runs}
        for block in range(arguments.blocks + 1):
            results = {name: run() for name, run in runs.items()}
            counts = {num_ids for _, num_ids in results.values()}
            if len(counts) != 1:
                sys.exit(f"different numbers of ids: {results}")
            for name, (seconds, _) in results.items():
                if block > 0:
                    speeds[name].append(len(data) / seconds / 1e6)
        megalith.close()
    print(f"{len(data)} bytes, {len(documents)} documents, {counts.pop()} ids, {arguments.blocks} blocks")
    for name, values in speeds.items():
        print(f"{name:11} {statistics.median(values):8.1f} MB/s median"
              f"   ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
