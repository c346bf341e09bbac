"""The 8-gram overlap of real texts, by sets of tuples, as a golden file.

    .venv/bin/python tests/oracles/ngram_overlap.py --data ../shared/data --output tests/golden/ngram_overlap.json

Words are runs of letters (L) and numbers (N) by Python's unicodedata, lower-cased one character at a time; an 8-gram is
eight words in a row of one file (of a JSON line's "text"). Each case names test and training files, how many 8-grams
the test files have, at every place and different ones, and how many of both are found in the training files.
"""
import argparse
import json
import pathlib
import unicodedata


def texts(path):
    content = path.read_bytes().decode("utf-8", errors="replace")
    if path.suffix == ".jsonl":
        return [json.loads(line)["text"] for line in content.splitlines()]
    return [content]


def words_of(text):
    table = {ord(c): c.lower() if unicodedata.category(c)[0] in "LN" else " " for c in set(text)}
    return text.translate(table).split()


def ngrams(paths):
    for path in paths:
        for text in texts(path):
            words = words_of(text)
            yield from zip(*(words[i:] for i in range(8)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    books = sorted((args.data / "gutenberg").glob("*.txt"))
    wiki = args.data / "wikitext"
    cases = [([wiki / "wikitext-103.wiki.test.tokens"], [wiki / "wikitext-103.wiki.valid.tokens"]),
             ([args.data / "lambada/lambada_test.jsonl"], books)]
    cases += [([book], [other for other in books if other != book]) for book in books[:4]]
    golden = []
    for test, train in cases:
        seen, places = set(ngrams(train)), list(ngrams(test))
        golden.append(dict(test=[str(p.relative_to(args.data)) for p in test],
                           train=[str(p.relative_to(args.data)) for p in train],
                           ngrams=len(places), found=sum(p in seen for p in places),
                           distinct_ngrams=len(set(places)), distinct_found=len(set(places) & seen)))
        print(golden[-1])
    args.output.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
