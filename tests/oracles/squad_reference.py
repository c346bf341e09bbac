"""Makes the golden files of SQuAD in tests/golden/finetune from transformers 4's own processing of SQuAD.

    pip install --no-deps --target TF4 transformers==4.46.3 tokenizers==0.20.3 huggingface_hub==0.26.5 requests \\
        urllib3 charset_normalizer certifi
    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/squad_reference.py TF4 DATA

DATA holds squad/xquad.en.json. Later releases of transformers no longer have this processing.
squad_windows.txt: a line for each window at length 384, stride 128, question 64: question, ids, CRC-32 of the ids
(int32), CRC-32 of the types (int8), first context piece, pieces, start, end, CRC-32 of the max-context flags.
squad.json: the SHA-256 of such lines at length 128, stride 40, question 20; of the predictions made from logits
that logits() below gives, as SQuAD 1.1 and as SQuAD 2.0 with every third question made unanswerable, with the
scores of the published scripts; the n-best lists of some questions.
"""

import hashlib
import json
import logging
import math
import pathlib
import sys
import types
import zlib

TF4, DATA = sys.argv[1], pathlib.Path(sys.argv[2])
sys.path.insert(0, TF4)
import numpy as np  # noqa: E402
from tokenizers import BertWordPieceTokenizer  # noqa: E402
from transformers import BertTokenizer  # noqa: E402
from transformers.data.metrics import squad_metrics  # noqa: E402
from transformers.data.processors import squad  # noqa: E402

import squad_metrics_reference as official  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCAB = str(ROOT / "tests/golden/bert-vocab/uncased.txt")
GOLDEN = ROOT / "tests/golden/finetune"
N_BEST, ANSWER = 20, 30
# What this release asks of NumPy 1: np.where of a single truth value.
squad.np = types.SimpleNamespace(**vars(np) | {"where": lambda condition: np.where(np.atleast_1d(condition))})


def questions(unanswerable):
    data = json.loads((DATA / "squad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    index = 0
    for article in data:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = [] if unanswerable and index % 3 == 0 else qa["answers"]
                yield qa["id"], qa["question"], paragraph["context"], answers
                index += 1


def examples(unanswerable=False):
    for id_, question, context, answers in questions(unanswerable):
        first = answers[0] if answers else None
        yield squad.SquadExample(id_, question, context, first and first["text"], first and first["answer_start"],
                                 "", answers=answers, is_impossible=not answers)


def features(all_examples, length, stride, query, training):
    tokenizer = BertTokenizer(VOCAB)
    squad.squad_convert_example_to_features_init(tokenizer)
    unique = 1000000000
    for index, example in enumerate(all_examples):
        for feature in squad.squad_convert_example_to_features(example, length, stride, query, "max_length", training):
            feature.example_index, feature.unique_id = index, unique
            unique += 1
            yield feature


def window_line(feature, first_piece):
    ids = np.array(feature.input_ids[:len(feature.tokens)], dtype="<i4")
    types = np.array(feature.token_type_ids[:len(feature.tokens)], dtype=np.int8)
    flags = bytes(feature.token_is_max_context[place] for place in sorted(feature.token_is_max_context))
    return " ".join(str(x) for x in (feature.example_index, len(ids), zlib.crc32(ids.tobytes()), zlib.crc32(types.tobytes()),
                                     first_piece, feature.paragraph_len, feature.start_position, feature.end_position,
                                     zlib.crc32(flags)))


def window_lines(all_features, stride):
    number, last = 0, None
    for feature in all_features:
        number = number + 1 if feature.example_index == last else 0
        last = feature.example_index
        yield window_line(feature, number * stride)


def noise(window, place, kind):
    x = (window * 1000003 + place * 8191 + kind * 131071 + 12345) & 0xFFFFFFFF
    x = (x * 2654435761) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    return (x >> 12) / 2**17 - 4


def logits(window, feature, unanswerable):
    """Noise, with peaks: at the answer for three questions in four, and in 2.0 at [CLS] for every third."""
    size, question = len(feature.tokens), feature.example_index
    both = [[noise(window, place, kind) for place in range(size)] for kind in (0, 1)]
    if feature.start_position > 0 and question % 4 != 0:
        both[0][feature.start_position] += 6
        both[1][feature.end_position] += 6
    if unanswerable and question % 3 == 0:
        both[0][0] += 5
        both[1][0] += 5
    return both


def own_words(context, fast, feature, first_piece, start, end):
    offsets = fast[context]
    at = first_piece - min(feature.token_to_orig_map)
    return context[offsets[at + start][0]:offsets[at + end][1]]


def n_best(example, its_features, its_logits, first_pieces, offsets, unanswerable):
    """run_squad's algorithm, answers being parts of the context."""
    spans, null = [], None
    for feature, (starts, ends), first in zip(its_features, its_logits, first_pieces):
        def top(x):
            return sorted(range(len(x)), key=lambda i: x[i], reverse=True)[:N_BEST]
        if unanswerable and (null is None or starts[0] + ends[0] < null[0] + null[1]):
            null = (starts[0], ends[0], "")
        for start in top(starts):
            for end in top(ends):
                if (start in feature.token_to_orig_map and end in feature.token_to_orig_map
                        and feature.token_is_max_context[start] and start <= end < start + ANSWER):
                    text = own_words(example.context_text, offsets, feature, first, start, end)
                    spans.append((starts[start], ends[end], text))
    if null:
        spans.append(null)
    best, seen = [], set()
    for span in sorted(spans, key=lambda s: s[0] + s[1], reverse=True):
        if len(best) < N_BEST and span[2] not in seen:
            seen.add(span[2])
            best.append(span)
    if null and "" not in seen:
        best.append(null)
    total = sum(math.exp(s[0] + s[1] - (best[0][0] + best[0][1])) for s in best)
    rows = [[s[2], math.exp(s[0] + s[1] - (best[0][0] + best[0][1])) / total, s[0], s[1]] for s in best]
    answer = next(row for row in rows if row[0])
    odds = null[0] + null[1] - answer[2] - answer[3] if null else None
    return rows, answer[0], odds


def predictions(all_features, all_examples, offsets, unanswerable):
    first, number, last, by_example = [], 0, None, {}
    for window, feature in enumerate(all_features):
        number = number + 1 if feature.example_index == last else 0
        last = feature.example_index
        entry = by_example.setdefault(last, ([], [], []))
        entry[0].append(feature)
        entry[1].append(logits(window, feature, unanswerable))
        entry[2].append(number * 128)
    return {example.qas_id: n_best(example, *by_example[i], offsets, unanswerable)
            for i, example in enumerate(all_examples)}


def packages_predictions(all_features, all_examples, unanswerable, folder):
    results = [squad.SquadResult(f.unique_id, *logits(w, f, unanswerable)) for w, f in enumerate(all_features)]
    return squad_metrics.compute_predictions_logits(
        all_examples, all_features, results, N_BEST, ANSWER, True, None, str(folder / "n_best.json"),
        str(folder / "odds.json"), False, unanswerable, 0.0, BertTokenizer(VOCAB))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def reference(unanswerable, offsets):
    all_examples = list(examples(unanswerable))
    all_features = list(features(all_examples, 384, 128, 64, True))
    found = predictions(all_features, all_examples, offsets, unanswerable)
    best = {id_: answer for id_, (_, answer, _) in found.items()}
    odds = {id_: o for id_, (_, _, o) in found.items()} if unanswerable else None
    final = {id_: "" if unanswerable and odds[id_] > 0 else answer for id_, answer in best.items()}
    theirs = packages_predictions(all_features, all_examples, unanswerable, pathlib.Path("/tmp"))
    differ = [id_ for id_ in final if final[id_] != theirs[id_]]
    normal = [id_ for id_ in differ
              if official.normalize_answer(final[id_]) != official.normalize_answer(theirs[id_])]
    print(f"unanswerable={unanswerable}: {len(differ)} of {len(final)} answers are not transformers', "
          f"{len(normal)} after normalising:", [(final[i], theirs[i]) for i in differ[:12]])
    gold = {e.qas_id: [a["text"] for a in e.answers] for e in all_examples}
    if unanswerable:
        scores = official.evaluate_v2(gold, best, odds, 0.0)
        package = squad_metrics.squad_evaluate(all_examples, best, odds, 0.0)
        assert all(scores[key] == package[key] for key in scores), (scores, package)
    else:
        scores = official.evaluate_v1(gold, best)
    ids = list(found)[::100]
    return {"predictions": digest(json.dumps(final, indent=4) + "\n"), "scores": scores,
            "odds": {id_: odds[id_] for id_ in ids} if unanswerable else {},
            "n_best": {id_: found[id_][0][:6] for id_ in ids}}


def main():
    logging.disable(logging.WARNING)
    fast = BertWordPieceTokenizer(VOCAB, lowercase=True)
    offsets = {context: fast.encode(context, add_special_tokens=False).offsets
               for context in {c for _, _, c, _ in questions(False)}}
    all_examples = list(examples())
    lines = list(window_lines(features(all_examples, 384, 128, 64, True), 128))
    (GOLDEN / "squad_windows.txt").write_text("\n".join(lines) + "\n")
    short = list(window_lines(features(all_examples, 128, 40, 20, True), 40))
    result = {"short_windows": len(short), "short_windows_sha256": digest("\n".join(short) + "\n"),
              "v1": reference(False, offsets), "v2": reference(True, offsets)}
    (GOLDEN / "squad.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
