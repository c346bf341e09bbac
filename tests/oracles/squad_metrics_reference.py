"""SQuAD's official scores as published (evaluate-v1.1.py, evaluate-v2.0.py), and hard cases for them.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/squad_metrics_reference.py DATA \\
        > tests/golden/finetune/squad_metrics.json

DATA holds squad/xquad.en.json. 400 predictions, corrupted gold answers and strings that Python lower-cases or
splits in its own way: {"prediction", "answers", "exact", "f1_v1", "f1_v2", "normalized"}, in Python's Unicode.
"""

import collections
import json
import pathlib
import random
import re
import string
import sys

SEED = 20240901
HARD = ["The the THE", "a", "An  apple", "thé a\u0301 a", "İstanbul", "ΑΣΣ ΣΑΣ", "Straße", "a_b the_a", "a-the-b", "«a»",
        "x\u00a0a\u2003b", "a\u200bb", "\u001ca\u001d", "the\u0301", "½ a ½", "²a a²", "東京 a 東京", "a東 the京", "हिन्दी a",
        "“the” – an", "don't", "U.S.A.", "$1,000.50", "１２３ Ａ ａ", "ǅ Ǆ ǆ", "ﬁ ﬀ", "K Å", "Ꭰ ꭰ", "𝐀 a 𝟏", "𐐀𐐨", "ⓐ a Ⓐ",
        "Ⅷ a ⅷ", "a\u0308the", "the.", "...", "an", "", " ", "\u3000", "a an the", "of the a", "ẞ", "ΌΣΟΣ. Σ", "Σ", "aΣ.b aΣ."]


def normalize_answer(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact(prediction, answer):
    return int(normalize_answer(prediction) == normalize_answer(answer))


def f1(prediction, answer, version):
    found, wanted = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if version == 2 and (not found or not wanted):
        return int(found == wanted)
    same = sum((collections.Counter(found) & collections.Counter(wanted)).values())
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(found), 1.0 * same / len(wanted)
    return (2 * precision * recall) / (precision + recall)


def evaluate_v1(gold, predictions):
    exact_sum = f1_sum = 0
    for id_, answers in gold.items():
        if id_ in predictions:
            exact_sum += max(exact(predictions[id_], answer) for answer in answers)
            f1_sum += max(f1(predictions[id_], answer, 1) for answer in answers)
    return {"exact": 100.0 * exact_sum / len(gold), "f1": 100.0 * f1_sum / len(gold)}


def best_threshold(gold, predictions, scores, odds):
    score = sum(not answers for answers in gold.values())
    best, threshold = score, 0.0
    for id_ in sorted(odds, key=lambda k: odds[k]):
        score += scores[id_] if gold[id_] else (-1 if predictions[id_] else 0)
        if score > best:
            best, threshold = score, odds[id_]
    return 100.0 * best / len(scores), threshold


def counted_answers(answers, version=2):
    return answers if version == 1 else [a for a in answers if normalize_answer(a)] or [""]


def evaluate_v2(gold, predictions, odds, threshold):
    result = {}
    for name, score in (("exact", exact), ("f1", lambda p, a: f1(p, a, 2))):
        raw = {i: max(score(predictions[i], a) for a in counted_answers(gold[i])) for i in gold}
        final = {i: float(not gold[i]) if odds[i] > threshold else raw[i] for i in gold}
        result[name] = 100.0 * sum(final.values()) / len(final)
        for prefix, has in (("HasAns", True), ("NoAns", False)):
            ids = [i for i in gold if bool(gold[i]) == has]
            result[f"{prefix}_{name}"] = 100.0 * sum(final[i] for i in ids) / len(ids)
            result[f"{prefix}_total"] = len(ids)
        result[f"best_{name}"], result[f"best_{name}_thresh"] = best_threshold(gold, predictions, raw, odds)
    return result


def corrupted(rng, text):
    words = text.split()
    kind = rng.randrange(9)
    if kind == 0:
        return " ".join(words[: rng.randint(0, len(words))])
    if kind == 1:
        return " ".join(words[rng.randint(0, len(words)):])
    if kind == 2:
        return " ".join(rng.sample(words, len(words)))
    if kind == 3:
        return rng.choice(["The ", "a ", "an", "the"]) + text
    if kind == 4:
        return text.upper() + rng.choice(".,!?;:'\"`~_-/\\|()[]{}<>@#$%^&*+=")
    if kind == 5:
        return "  ".join(words + [rng.choice(words)])
    if kind == 6:
        return text + rng.choice(HARD)
    if kind == 7:
        at = rng.randint(0, len(text))
        return text[:at] + rng.choice(HARD) + text[at:]
    return text


def cases(data):
    rng = random.Random(SEED)
    answers = [qa["answers"] for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    for _ in range(300):
        gold = [rng.choice(answers)[0]["text"] for _ in range(rng.choice([1, 1, 2, 3]))]
        yield corrupted(rng, rng.choice(gold)), gold
    for _ in range(100):
        gold = [rng.choice(HARD) for _ in range(rng.choice([1, 2]))]
        yield corrupted(rng, rng.choice(gold)) if rng.random() < 0.5 and gold[0].split() and gold[-1].split() \
            else rng.choice(HARD), gold


def main():
    data = json.loads((pathlib.Path(sys.argv[1]) / "squad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    rows = []
    for prediction, gold in cases(data):
        rows.append({"prediction": prediction, "answers": gold, "normalized": normalize_answer(prediction),
                     "exact_v1": max(exact(prediction, a) for a in gold),
                     "f1_v1": max(f1(prediction, a, 1) for a in gold),
                     "exact_v2": max(exact(prediction, a) for a in counted_answers(gold)),
                     "f1_v2": max(f1(prediction, a, 2) for a in counted_answers(gold))})
    print("[" + ",\n".join(json.dumps(row) for row in rows) + "]")


if __name__ == "__main__":
    main()
