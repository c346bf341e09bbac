"""Writes megalith/tokenizer/unicode_tables.cpp and unicode_categories.cpp from what the `tokenizers` package does.

    .venv/bin/python tools/make_unicode_tables.py > megalith/tokenizer/unicode_tables.cpp
    .venv/bin/python tools/make_unicode_tables.py categories > megalith/tokenizer/unicode_categories.cpp

Token ids must not depend on the Unicode version of the system's ICU, and the reference itself mixes
several versions. So every code point is put through the package once and what comes out is written down
as ranges. For the GPT-2 classes tiktoken is asked as well; the script stops if the two disagree.
"""

import sys

import tiktoken
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
GPT2_PATTERN = (
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)


def gpt2_classes():
    """L, N, O (other) or S (space) of each code point: what it joins to tells its class."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str
    ranks = {bytes([i]): i for i in range(256)}
    ranks |= {bytes([a, b]): 256 * (k + 1) + b for k, a in enumerate(b"a1!") for b in range(256)}
    encode = tiktoken.Encoding("p", pat_str=GPT2_PATTERN, mergeable_ranks=ranks,
                               special_tokens={}).encode_ordinary
    classes = {}
    for code in CODE_POINTS:
        char = chr(code)
        probes = [("a", "L"), ("1", "N"), ("!", "O")]
        by_package = next((k for a, k in probes if len(split(a + char)) == 1), "S")
        by_tiktoken = next((k for a, k in probes if encode(a + char)[0] >= 256), "S")
        if by_package != by_tiktoken:
            sys.exit(f"U+{code:04X}: tokenizers says {by_package}, tiktoken {by_tiktoken}")
        classes[code] = by_package
    return classes


def bert_classes():
    """Code points that BERT's cleaning drops, turns to spaces or surrounds by spaces; punctuation."""
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True,
                                       strip_accents=False, lowercase=False).normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False,
                                       strip_accents=True, lowercase=False).normalize_str
    nfd = normalizers.NFD().normalize_str
    sets = {"dropped": [], "spaces": [], "ideographs": [], "punctuation": [], "marks": []}
    for code in CODE_POINTS:
        char = chr(code)
        cleaned = clean(f"a{char}b")
        if cleaned == "ab":
            sets["dropped"].append(code)
        elif cleaned == "a b":
            sets["spaces"].append(code)
        elif cleaned == f"a {char} b":
            sets["ideographs"].append(code)
        elif cleaned != f"a{char}b":
            sys.exit(f"U+{code:04X} becomes {cleaned!r}")
        if len(split(f"a{char}b")) == 3:
            sets["punctuation"].append(code)
        if nfd(char) == char and strip(f"a{char}b") == "ab":
            sets["marks"].append(code)
    return sets


def word_classes():
    """What the package takes for a word character, and what it drops as an accent, of any kind."""
    split = pre_tokenizers.Whitespace().pre_tokenize_str
    strip = normalizers.StripAccents().normalize_str
    return {"words": [c for c in CODE_POINTS if len(split(f"a{chr(c)}a")) == 1],
            "marks": [c for c in CODE_POINTS if strip(f"a{chr(c)}b") == "ab"]}


def categories():
    """Code points of each general category, as the package's regular expressions know them."""
    names = ("Cc Cf Co Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs").split()
    text = "".join(chr(c) for c in CODE_POINTS)
    found = {}
    for name in names:
        split = pre_tokenizers.Split(Regex(rf"\p{{{name}}}+"), "removed", invert=True)
        found[name] = [ord(c) for piece, _ in split.pre_tokenize_str(text) for c in piece]
    return found


def lower_case():
    """(code, lower) of the single-character mappings; U+0130 never gets there, NFD splits it."""
    lower = normalizers.Lowercase().normalize_str
    pairs = [(c, lower(chr(c))) for c in CODE_POINTS if lower(chr(c)) != chr(c)]
    return [(c, ord(text)) for c, text in pairs if len(text) == 1]


def ranges(codes):
    found = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def case_ranges(pairs):
    """Runs [first, last, step, delta]: every step-th code point from first to last maps to + delta."""
    found = []
    for code, lower in pairs:
        delta = lower - code
        if found and found[-1][3] == delta:
            first, last, step, _ = found[-1]
            gap = code - last
            if gap <= 2 and (first == last or gap == step):
                found[-1][1], found[-1][2] = code, gap
                continue
        found.append([code, code, 1, delta])
    return found


def write_rows(rows):
    line = " "
    for row in rows:
        text = " {" + ", ".join(str(x) if i == 3 else (hex(x) if i < 2 else str(x))
                                for i, x in enumerate(row)) + "},"
        if len(line) + len(text) > 100:
            print(line)
            line = " "
        line += text
    print(line)


def constant_name(name):
    return "k" + "".join(part.capitalize() for part in name.split("_"))


def write_table(name, rows, kind="CodePointRange"):
    print(f"constexpr {kind} {constant_name(name)}[] = {{")
    write_rows(rows)
    print("};\n")


def write_head(about):
    print("// Generated by tools/make_unicode_tables.py; do not edit.")
    print(f"// Measured on tokenizers {tokenizers.__version__} and tiktoken {tiktoken.__version__}.")
    print(f"//\n// {about}")
    print('#include "megalith/tokenizer/unicode_tables.hpp"\n')
    print("// clang-format off\nnamespace megalith::unicode {\nnamespace {\n")


def main():
    if sys.argv[1:] == ["categories"]:
        write_categories()
    else:
        write_tables()


def write_categories():
    write_head("The general categories; why they are tables of our own stands in unicode_tables.hpp.")
    found = categories()
    for name, codes in found.items():
        write_table(name, ranges(codes))
    print("constexpr NamedRanges kCategories[] = {")
    print("\n".join(f'  {{"{name}", {constant_name(name)}}},' for name in found) + "\n};\n")
    print("}  // namespace\n")
    print("std::span<const NamedRanges> categories() { return kCategories; }")
    print("\n}  // namespace megalith::unicode")


def write_tables():
    gpt2, bert, words = gpt2_classes(), bert_classes(), word_classes()
    tables = {
        "letters": ranges(c for c in CODE_POINTS if gpt2[c] == "L"),
        "numbers": ranges(c for c in CODE_POINTS if gpt2[c] == "N"),
        "spaces": ranges(c for c in CODE_POINTS if gpt2[c] == "S"),
        "words": ranges(words["words"]),
        "marks": ranges(words["marks"]),
    }
    names = {"dropped": "bert_dropped", "spaces": "bert_spaces", "ideographs": "bert_ideographs",
             "punctuation": "bert_punctuation", "marks": "bert_marks"}
    write_head("What each table means, and why these are tables of our own, stands in unicode_tables.hpp.")
    for name, rows in tables.items():
        write_table(name, rows)
    for key, name in names.items():
        write_table(name, ranges(bert[key]))
    write_table("lowercase", case_ranges(lower_case()), "CaseRange")
    print("}  // namespace\n")
    for name in [*tables, *names.values()]:
        print(f"std::span<const CodePointRange> {name}() {{ return {constant_name(name)}; }}")
    print("std::span<const CaseRange> lowercase() { return kLowercase; }")
    print("\n}  // namespace megalith::unicode")


if __name__ == "__main__":
    main()
