"""The splits of bench/finetune.py, and their features for the PyTorch peer.

Files in the layouts that megalith reads, and beside them what the peer trains on: token ids and types of every
sequence. Pairs and choices are made by tests/oracles/finetune_features.py, windows of SQuAD and answers from logits by
the algorithm of BERT's run_squad; check_windows() holds the windows to those that transformers 4 made of all of XQuAD
(tests/golden/finetune/squad_windows.txt). No text of a dev set is trained on: pairs, passages and contexts are compared
by their letters and digits alone, and what would be in both is left out of training.
"""
import csv
import json
import pathlib
import random
import re
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/oracles"))
import finetune_features as features  # noqa: E402

import numpy as np  # noqa: E402

N_BEST, LONGEST_ANSWER = 20, 30
STRIDE, QUERY = 128, 64
LONGEST_CHOICE = 128


def key(*texts):
    return tuple(re.sub(r"[\W_]", "", text.lower()) for text in texts)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shuffled(items):
    items = list(items)
    random.Random(1).shuffle(items)
    return items


def write_lines(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def example(rows, label):
    return {"rows": rows, "label": label}


def mnli(data, folder, length, sizes):
    """Trained on pairs of the mismatched genres, whose labels are those of one annotator; scored on gold labels."""
    lines = (data / "mnli/textfooler_1k_matched.tsv").read_text(encoding="utf-8").strip("\n").split("\n")
    dev = [dict(zip(("label", "premise", "hypothesis"), line.split("\t"))) for line in lines][:sizes[1]]
    seen = {key(row["premise"]) for row in dev} | {key(row["hypothesis"]) for row in dev}
    rows = [row for row in read_csv(data / "mnli/dev.csv")[9815:]
            if not seen & {key(row["premise"]), key(row["hypothesis"])}]
    train = shuffled(rows)[:sizes[0]]
    classes = ("contradiction", "entailment", "neutral")
    for name, part in (("train", train), ("dev", dev)):
        write_lines(folder / f"{name}.tsv", ["index\tsentence1\tsentence2\tgold_label"] + [
            "\t".join((str(i), row["premise"], row["hypothesis"], row["label"])) for i, row in enumerate(part)])
    return {"files": ("train.tsv", "dev.tsv"), "outputs": 3, **{
        name: [example([features.longer_part(features.ids(row["premise"]), features.ids(row["hypothesis"]), length)],
                       classes.index(row["label"])) for row in part]
        for name, part in (("train", train), ("dev", dev))}}


def boolq(data, folder, length, sizes):
    lines = (data / "boolq/boolq.jsonl").read_text(encoding="utf-8").strip("\n").split("\n")
    rows = []
    for row in map(json.loads, lines):
        passage, question = row["query"].removeprefix("Passage: ").rsplit("\nQuestion: ", 1)
        rows.append({"question": question, "passage": passage, "label": row["choices"][row["gold"]]})
    rows = shuffled(rows)
    dev = rows[:sizes[1]]
    seen = {key(row["passage"]) for row in dev}
    train = [row for row in rows[sizes[1]:] if key(row["passage"]) not in seen][:sizes[0]]
    for name, part in (("train", train), ("dev", dev)):
        write_lines(folder / f"{name}.jsonl", map(json.dumps, part))
    return {"files": ("train.jsonl", "dev.jsonl"), "outputs": 2, **{
        name: [example([features.longer_part(features.ids(row["question"]), features.ids(row["passage"]), length)],
                       ("no", "yes").index(row["label"])) for row in part]
        for name, part in (("train", train), ("dev", dev))}}


def cosmosqa(data, folder, length, sizes):
    rows = shuffled(read_csv(data / "cosmosqa/valid.csv"))
    dev = rows[:sizes[1]]
    seen = {key(row["context"]) for row in dev}
    train = [row for row in rows[sizes[1]:] if key(row["context"]) not in seen][:sizes[0]]
    both = (("train", train), ("dev", dev))
    for row in train + dev:
        row["choices"], row["label"] = [row[f"answer{i}"] for i in range(4)], int(row["label"])
    for name, part in both:
        write_lines(folder / f"{name}.jsonl", (
            json.dumps({k: row[k] for k in ("context", "question", "choices", "label")}) for row in part))
    return {"files": ("train.jsonl", "dev.jsonl"), "outputs": 4, **{
        name: [example(list(features.choices(row["question"], row["choices"], row["context"], length, LONGEST_CHOICE)),
                       row["label"]) for row in part] for name, part in both}}


def words_of(context):
    return [match.span() for match in re.finditer(r"[^ \t\r\n\u202f]+", context)]


def answer_pieces(context, offsets, ids, answer):
    """First and last piece of the words that hold the answer, or of the answer's own pieces within them."""
    first, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    words = [(a, b) for a, b in words_of(context) if b > first and a < end]
    begin = next(i for i, (a, _) in enumerate(offsets) if a >= words[0][0])
    last = max(i for i, (a, _) in enumerate(offsets) if a < words[-1][1])
    wanted = features.ids(answer["text"])
    for i in range(begin, last - len(wanted) + 2):
        if ids[i:i + len(wanted)] == wanted:
            return i, i + len(wanted) - 1
    return begin, last


def most_context(spans, piece):
    def score(span):
        first, count = span
        return min(piece - first, first + count - 1 - piece) + 0.01 * count
    return max((i for i, (first, count) in enumerate(spans) if first <= piece < first + count),
               key=lambda i: (score(spans[i]), -i))


def windows(paragraph, question, length, stride, query_length):
    """A question's windows, each with its place in the context, which pieces it sees best, and the answer's places."""
    encoding = features.FAST.encode(paragraph["context"], add_special_tokens=False)
    query = features.ids(question["question"])[:query_length]
    place, spans, first = len(query) + 2, [], 0
    while True:
        spans.append((first, min(len(encoding.ids) - first, length - place - 1)))
        if sum(spans[-1]) >= len(encoding.ids):
            break
        first += min(spans[-1][1], stride)
    start, end = answer_pieces(paragraph["context"], encoding.offsets, encoding.ids, question["answers"][0])
    for number, (first, count) in enumerate(spans):
        row = features.cut_end(query, encoding.ids[first:first + count], length)
        inside = first <= start and end < first + count
        yield {"rows": [row], "label": [place + start - first, place + end - first] if inside else [0, 0],
               "id": question["id"], "place": place, "first": first, "count": count,
               "best": [most_context(spans, piece) == number for piece in range(first, first + count)],
               "offsets": encoding.offsets[first:first + count]}


def questions(articles):
    for article in articles:
        for paragraph in article["paragraphs"]:
            yield from ((paragraph, question) for question in paragraph["qas"])


def check_windows(articles):
    """The windows of all questions are those of transformers 4."""
    expected = (ROOT / "tests/golden/finetune/squad_windows.txt").read_text().splitlines()
    found = []
    for index, (paragraph, question) in enumerate(questions(articles)):
        for window in windows(paragraph, question, 384, STRIDE, QUERY):
            ids, types = (np.array(x, dtype=kind) for x, kind in zip(window["rows"][0], ("<i4", np.int8)))
            found.append(" ".join(map(str, (
                index, len(ids), zlib.crc32(ids.tobytes()), zlib.crc32(types.tobytes()), window["first"],
                window["count"], *window["label"], zlib.crc32(bytes(window["best"]))))))
    assert found == expected, [pair for pair in zip(found, expected) if pair[0] != pair[1]][:5]


def xquad(data, folder, length, sizes):
    """Whole articles, five paragraphs each, are trained on or scored."""
    articles = json.loads((data / "squad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    check_windows(articles)
    articles = shuffled(articles)
    parts = {"train": articles[:sizes[0]], "dev": articles[len(articles) - sizes[1]:]}
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps({"version": "1.1", "data": part}), encoding="utf-8")
    gold = {question["id"]: [answer["text"] for answer in question["answers"]]
            for _, question in questions(parts["dev"])}
    contexts = {question["id"]: paragraph["context"] for paragraph, question in questions(parts["dev"])}
    return {"files": ("train.json", "dev.json"), "outputs": 2, "gold": gold, "contexts": contexts, **{
        name: [window for pair in questions(part) for window in windows(*pair, length, STRIDE, QUERY)]
        for name, part in parts.items()}}


def answers(dev, contexts, logits):
    """run_squad's best answer of each question: {id: text}. logits: of each window, the starts and the ends."""
    best = {}
    for window, (starts, ends) in zip(dev, logits):
        def top(values):
            return sorted(range(len(window["rows"][0][0])), key=lambda i: values[i], reverse=True)[:N_BEST]
        place, count = window["place"], window["count"]
        for start in top(starts):
            for end in top(ends):
                if not (place <= start <= end < place + count and end < start + LONGEST_ANSWER
                        and window["best"][start - place]):
                    continue
                score = starts[start] + ends[end]
                if window["id"] not in best or score > best[window["id"]][0]:
                    span = slice(window["offsets"][start - place][0], window["offsets"][end - place][1])
                    best[window["id"]] = score, contexts[window["id"]][span]
    return {id_: best.get(id_, (0, ""))[1] for id_ in contexts}
