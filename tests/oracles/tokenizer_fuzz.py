"""Makes tests/golden/tokenizer/fuzz.jsonl: hard byte strings with the ids of the reference packages.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_fuzz.py > tests/golden/tokenizer/fuzz.jsonl

GPT-2 ids come from `tokenizers` and must equal tiktoken's, BERT ids from `tokenizers`. Bytes that are no
UTF-8 are decoded with errors="replace" first, as a Python program reading the file would.
One line a string: {"hex": ..., "gpt2": [...], "bert_uncased": [...], "bert_cased": [...]}.
"""

import json
import pathlib
import random
import sys

import tiktoken
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SEED, COUNT = 20240817, 400
GPT2_PATTERN = (
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)
WORDS = ("the of and Don't we'll I'VE it's 'tis they're naïve façade Straße ΑΣ Σίσυφος İstanbul ﬁn "
         "Война мир 東京 한국어 ประเทศ हिन्दी العربية עִבְרִית <|endoftext|> [MASK] [UNK] ##ing 3.14 1,000 "
         "http://x.org/a?b=c unbelievable electroencephalographically a'b ''s 's 't x's").split(" ")
SPACES = " \t\r\n\v\f\x1c\x85\u00a0\u1680\u2003\u2028\u3000\u200b\ufeff"
ASCII = [chr(c) for c in range(128)]
SCRIPTS = [(0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0xE00, 0x1000),
           (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2C00), (0x2C80, 0x2D00), (0x2E80, 0x3400),
           (0x4E00, 0x4F00), (0xA640, 0xA800), (0xAC00, 0xAD00), (0xF900, 0xFB50), (0xFB50, 0x10000),
           (0x10400, 0x10600), (0x11000, 0x11C00), (0x1D100, 0x1D800), (0x1E900, 0x1F000),
           (0x1F300, 0x1FB00), (0x2A6D0, 0x2A710), (0x2F800, 0x2FA20), (0xE0000, 0xE0200)]
BROKEN = [b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf0\x9f\x98",
          b"\xf4\x90\x80\x80", b"\x80", b"\xc3", b"\xe0\x80\xaf", b"\xf8\x88\x80\x80\x80"]


class Oracles:
    def __init__(self, root):
        root = pathlib.Path(root)
        vocab, merges = root / "assets/gpt2/vocab.json", root / "assets/gpt2/merges.txt"
        gpt2 = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
        gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.packages = {"gpt2": gpt2}
        for case in ("uncased", "cased"):
            file = str(root / f"tests/golden/bert-vocab/{case}.txt")
            bert = Tokenizer(models.WordPiece.from_file(file, unk_token="[UNK]",
                                                        max_input_chars_per_word=100))
            bert.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True,
                                                         strip_accents=None,
                                                         lowercase=case == "uncased")
            bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            self.packages[f"bert_{case}"] = bert
        self.tiktoken = tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, special_tokens={},
                                          mergeable_ranks=byte_ranks(vocab))

    def ids(self, name, data):
        text = data.decode("utf-8", errors="replace")
        ids = self.packages[name].encode(text, add_special_tokens=False).ids
        if name == "gpt2" and ids != self.tiktoken.encode_ordinary(text):
            sys.exit(f"tokenizers and tiktoken disagree on {data!r}")
        return ids


def byte_ranks(vocab):
    """GPT-2's vocabulary as tiktoken wants it: bytes to rank."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    entries = json.loads(vocab.read_text(encoding="utf-8"))
    return {bytes(byte_of[c] for c in token): rank for token, rank in entries.items()
            if token != "<|endoftext|>"}


def hard_piece(rng):
    kind = rng.randrange(10)
    if kind == 0:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 5))).encode()
    if kind == 1:
        return rng.choice(BROKEN) + (rng.choice(BROKEN) if rng.random() < 0.3 else b"")
    if kind == 2:
        low, high = rng.choice(SCRIPTS)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6))).encode()
    if kind == 3:
        code = rng.randrange(0x110000)
        return chr(code if not 0xD800 <= code < 0xE000 else 0x41).encode()
    if kind == 4:
        return "".join(rng.choice(ASCII) for _ in range(rng.randint(1, 6))).encode()
    if kind == 5:  # a base with many marks, whose order matters
        marks = "".join(chr(rng.choice([*range(0x300, 0x36F), 0x302E, 0x0345, 0x1D165, 0x093C, 0x0898]))
                        for _ in range(rng.randint(1, 5)))
        return (rng.choice("aEñ\uac00\u1e9eΩ") + marks).encode()
    if kind == 6:
        return bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
    if kind == 7 and rng.random() < 0.1:
        return rng.choice(WORDS).encode() * rng.randint(5, 40)
    return (" " * rng.randint(0, 2) + rng.choice(WORDS)).encode()


def hard_strings(rng, count):
    for _ in range(count):
        yield b"".join(hard_piece(rng) for _ in range(rng.randint(0, 12)))


def main():
    oracles = Oracles(pathlib.Path(__file__).resolve().parents[2])
    for data in hard_strings(random.Random(SEED), COUNT):
        row = {"hex": data.hex()} | {name: oracles.ids(name, data) for name in oracles.packages}
        print(json.dumps(row, separators=(",", ":")))


if __name__ == "__main__":
    main()
