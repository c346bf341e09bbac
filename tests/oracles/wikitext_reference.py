"""Detokenised WikiText and its counts by Python's regular expressions, as a golden file.

    .venv/bin/python tests/oracles/wikitext_reference.py --data ../shared/data/wikitext --output tests/golden/wikitext.json

The rules are those that the published counts were made with (245,566 words and 270,330 tokens of the test file, ratio
1.1008449901248143; asserted). "texts" are small strings, made up here, with what becomes of them; "files" are the
splits with their words, GPT-2 tokens (the tokenizers package) and the SHA-256 of the detokenised text.
"""
import argparse
import hashlib
import json
import pathlib
import re

from tokenizers import ByteLevelBPETokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    " \n = Title = \n \n = = Part = = \n = = = Deeper = = = \n = = = = Deepest = = = = \n",
    "a two @-@ part , 1 @,@ 200 @.@ 5 km , x @-@ y @-@ z",
    "Stop ! Why ? Because ; thus : yes . No , . , end . ",
    "He ( or she , ( perhaps ) ) said [ sic ] { \n braces } ( ) [",
    "a \" quoted \" word and \" an open one",
    "it 's James ' book , the boys ' ' and 'tis ' inner ' ",
    "20 \u00b0 C and \u00b0 F ; 45 \u00b0 N , 3 \u00b0 E N x N y",
    "(\u00a0wide\u2003spaces\u3000) \" \u0085 \" ' \u001c '",
    "caf\u00e9 ( \u00e9t\u00e9 ) \u65e5\u672c [ \u8a9e ]",
    "", " ", "=", "= = = = =", ". . . . ", " , , , ", "\n \n \n", "s ' s '",
]


def detokenize(text):
    text = text.replace("s '", "s'")
    for mark in "-,.":
        text = text.replace(f" @{mark}@ ", mark)
    for mark in ":;.!?,":
        text = text.replace(f" {mark} ", f"{mark} ")
    for first, last in ("()", "[]", "{}", '""', "''"):
        a, b = re.escape(first), re.escape(last)
        text = re.sub(rf"{a}\s*([^{b}]*?)\s*{b}", lambda match: first + match[1] + last, text)
    for count in (4, 3, 2):
        text = text.replace(" ".join("=" * count), "=" * count)
    for old, new in ((" \u00b0 ", "\u00b0"), (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")):
        text = text.replace(old, new)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    tokenizer = ByteLevelBPETokenizer(str(ROOT / "assets/gpt2/vocab.json"), str(ROOT / "assets/gpt2/merges.txt"))
    files = []
    for name in ("wikitext-103.wiki.test.tokens", "wikitext-103.wiki.valid.tokens", "wikitext.wiki.test.raw"):
        original = (args.data / name).read_bytes().decode()
        text = detokenize(original)
        files.append(dict(file=f"wikitext/{name}", original_tokens=len(original.strip().split(" ")),
                          ids=len(tokenizer.encode(text).ids), sha256=hashlib.sha256(text.encode()).hexdigest()))
    assert (files[0]["original_tokens"], files[0]["ids"]) == (245566, 270330)
    assert (270330 - 1) / (245566 - 1) == 1.1008449901248143
    texts = [dict(text=text, detokenized=detokenize(text), original_tokens=len(text.strip().split(" "))) for text in TEXTS]
    args.output.write_text(json.dumps(dict(texts=texts, files=files), indent=1) + "\n")
    print(files)


if __name__ == "__main__":
    main()
