"""Small tokenizer.json files of each family, and the ids that the `tokenizers` package gives for hard strings.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_json.py golden    writes tests/golden/tokenizer_json/
    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_json.py compare build/release/megalith 20000
    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/tokenizer_json.py files build/release/megalith TOKENIZER FILE...

The tokenizers are trained here by the package on assets/, with the normalizers, pre-tokenizers, decoders and
added tokens of the models they are named after. `compare` encodes and decodes that many random strings by both
and names the first that differ; `files` does the same for whole files with one tokenizer.json.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tokenizer_fuzz

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/tokenizer_json"
SEED, COUNT = 20261125, 50
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def corpus():
    """Half a megabyte of English, and some words that are not."""
    text = (ROOT / "assets/tinyshakespeare/input.txt").read_text(encoding="utf-8")[:500_000]
    return text.splitlines(keepends=True) + [" ".join(tokenizer_fuzz.WORDS) + "\n"] * 20


def special(*texts, **how):
    return [AddedToken(text, special=True, normalized=False, **how) for text in texts]


def byte_level_bpe(name, size, pattern, end_of_text, others=(), normalizer=None, **model):
    """GPT-2's family: bytes as characters, merges within the pieces of a pattern."""
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is None:
        tokenizer.pre_tokenizer = byte_level
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=ALPHABET, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens(special(end_of_text))
    tokenizer.add_tokens(list(others))
    return name, tokenizer


def sentencepiece_bpe(name, size, form):
    """Llama 2 (a normalizer that prepends, no pre-tokenizer), Mistral's newer form (Metaspace), or Gemma."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, limit_alphabet=120,
                                  special_tokens=["<unk>", "<s>", "</s>", *fallback])
    tokenizer.train_from_iterator(corpus(), trainer)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    if form == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tokenizer.decoder = decoders.Sequence(steps[:3])
    elif form == "llama2":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = None
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [entry for entry in data["added_tokens"] if entry["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens([AddedToken("user▁mark", normalized=True), AddedToken("<|tool|>", normalized=False)])
    return name, tokenizer


def bert(name, size, lower, **how):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, **how)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=size, show_progress=False,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens([AddedToken("The Word", normalized=True), AddedToken("[WORD]", single_word=True)])
    return name, tokenizer


def kitchen_sink(name, pre_tokenizer, normalizer=None, byte_level=False, **model):
    """One of the rarer components, over a small BPE of characters (or bytes)."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **model))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, limit_alphabet=150,
                                  special_tokens=["<unk>", "<pad>", "<eos>"],
                                  initial_alphabet=ALPHABET if byte_level else [])
    tokenizer.train_from_iterator(corpus(), trainer)
    return name, tokenizer


def families():
    yield byte_level_bpe("gpt2", 700, None, "<|endoftext|>", [AddedToken("  ", normalized=False)])
    yield byte_level_bpe("llama3", 700, LLAMA3, "<|end_of_text|>", [
        *special("<|begin_of_text|>", "<|finetune_right_pad_id|>"), AddedToken("<mask>", lstrip=True, special=True),
        AddedToken("<sep>", rstrip=True), AddedToken("word", single_word=True)], ignore_merges=True)
    yield byte_level_bpe("qwen2", 700, QWEN2, "<|endoftext|>", [*special("<|im_start|>", "<|im_end|>")],
                         normalizers.NFC())
    yield sentencepiece_bpe("llama2", 900, "llama2")
    yield sentencepiece_bpe("mistral", 900, "mistral")
    yield bert("bert_uncased", 700, True)
    yield bert("bert_cased", 700, False)


def rarer():
    P, N = pre_tokenizers, normalizers
    yield sentencepiece_bpe("gemma", 900, "gemma")
    yield byte_level_bpe("o200k", 700, O200K, "<|endoftext|>")
    yield bert("bert_accents", 700, True, strip_accents=False)
    yield bert("bert_raw", 700, False, clean_text=False, handle_chinese_chars=False, strip_accents=True)
    yield kitchen_sink("digits", P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=True)]),
                       byte_level=True)
    yield kitchen_sink("runs", P.Sequence([P.Digits(individual_digits=False), P.Punctuation("contiguous")]),
                       N.Sequence([N.NFKC(), N.Lowercase(), N.StripAccents()]), fuse_unk=True)
    yield kitchen_sink("space", P.WhitespaceSplit(), N.NFKD())
    yield kitchen_sink("words", P.Whitespace(), N.Sequence([N.NFD(), N.StripAccents(), N.Strip()]))
    yield kitchen_sink("always", P.Metaspace(prepend_scheme="always"))
    yield kitchen_sink("never", P.Metaspace(prepend_scheme="never", replacement="_"), N.Replace(Regex(r"\s+"), " "))
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous", "isolated"):
        for invert in (False, True):
            split = P.Split(Regex(r"\p{Lu}|[^\w\s]+|\d"), behavior, invert=invert)
            yield kitchen_sink(f"{behavior}_{invert}", split)
    yield kitchen_sink("case", P.Split(Regex(r"(?i)[k-t\p{Lu}]+|(?i:'S)"), "isolated"))
    yield kitchen_sink("around", P.Split(Regex(r"(?<=\w)\p{P}+(?=\s|$)|^\S+|[^\S\r\n]+|[\p{Ll}--]{2,3}?".replace("--", "")),
                                         "isolated"))
    yield kitchen_sink("literal", P.Sequence([P.Split(" ", "merged_with_previous"), P.Split("e", "merged_with_next")]))


def strings(rng, count, tokenizer):
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    for data in tokenizer_fuzz.hard_strings(rng, count):
        if added and rng.random() < 0.6:
            for _ in range(rng.randint(1, 4)):
                at = rng.randint(0, len(data))
                space = " " * rng.randint(0, 2)
                data = data[:at] + (space + rng.choice(added) + space).encode() + data[at:]
        yield data


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def run(binary, path, *words, data):
    command = [binary, "tokenize", "--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", path, *words]
    done = subprocess.run(command, input=data, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout


def first_difference(what, name, texts, expected, got):
    for text, wanted, given in zip(texts, expected, got, strict=True):
        if wanted != given:
            print(f"{name}: {what} differ for {text!r}\n  tokenizers {wanted!r}\n  megalith   {given!r}")
            return True
    return False


def compare(binary, count, names):
    bad = 0
    for name, tokenizer in [*families(), *rarer()]:
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/tokenizer.json"
            tokenizer.save(path)
            texts = [data.replace(b"\n", b"\r") if b"\n" in data else data
                     for data in strings(random.Random(SEED + count), count, tokenizer)]
            decoded = [data.decode("utf-8", errors="replace") for data in texts]
            expected = [encode(tokenizer, text) for text in decoded]
            lines = run(binary, path, "--lines", data=b"\n".join(texts) + b"\n").split(b"\n")[:-1]
            got = [json.loads(line) for line in lines]
            wrong = first_difference("ids", name, decoded, expected, got)
            back = [tokenizer.decode(ids, skip_special_tokens=False) for ids in expected]
            pairs = [(ids, text) for ids, text in zip(expected, back) if "\n" not in text]
            rows = "".join(json.dumps(ids) + "\n" for ids, _ in pairs).encode()
            text = run(binary, path, "--decode", "--lines", data=rows).decode().split("\n")[:-1]
            wrong |= first_difference("texts", name, [ids for ids, _ in pairs], [text for _, text in pairs], text)
            # whole texts, with line ends
            whole = b"\n".join(texts).replace(b"\r", b"\n")
            ids = json.loads(run(binary, path, data=whole))
            wrong |= ids != encode(tokenizer, whole.decode("utf-8", errors="replace"))
            print(f"{name}: {'DIFFERS' if wrong else 'equal'} ({len(texts)} strings, {len(ids)} ids as one text)",
                  flush=True)
            bad += wrong
    sys.exit(1 if bad else 0)


def files(binary, path, names):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for name in names:
        data = pathlib.Path(name).read_bytes()
        ids = json.loads(run(binary, path, data=data))
        wanted = encode(tokenizer, data.decode("utf-8", errors="replace"))
        print(f"{name}: {len(ids)} ids, {'equal' if ids == wanted else 'DIFFERENT'}")


def golden():
    GOLDEN.mkdir(exist_ok=True)
    for name, tokenizer in families():
        text = tokenizer.to_str()
        if name in ("gpt2", "bert_cased"):  # one of each kind in the older form, merges as strings
            data = json.loads(text)
            if "merges" in data["model"]:
                data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")
        rows = []
        for data in strings(random.Random(SEED), COUNT, tokenizer):
            ids = encode(tokenizer, data.decode("utf-8", errors="replace"))
            rows.append({"hex": data.hex(), "ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False)})
        lines = [json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows]
        (GOLDEN / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"tokenizers {tokenizers.__version__}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden")
    comparing = commands.add_parser("compare")
    comparing.add_argument("binary")
    comparing.add_argument("count", type=int)
    comparing.add_argument("names", nargs="*")
    whole = commands.add_parser("files")
    whole.add_argument("binary")
    whole.add_argument("tokenizer")
    whole.add_argument("names", nargs="+")
    flags = parser.parse_args()
    if flags.command == "golden":
        golden()
    elif flags.command == "compare":
        compare(flags.binary, flags.count, flags.names)
    else:
        files(flags.binary, flags.tokenizer, flags.names)


if __name__ == "__main__":
    main()
