"""Small random BERTs of every class with their outputs and gradients, by transformers.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/hugging_face_bert.py --output tests/golden/hugging_face_bert

writes a folder for each case below: the model as save_pretrained makes it, and expected.safetensors with "input_ids",
"token_type_ids" and "attention_mask" [4, 9], and what the model that from_pretrained reads back gives in float32:
"hidden" [4, 9, 8], "pooled" [4, 8] where it has a pooler, and under "lm_head", "binary_head", "classification_head",
"multichoice_head" [4, 1] and "qa_head" [4, 9, 2] the logits. Where there are gradients, "grad." + the model's own name,
they are of the sum over these outputs of (output x "weight." + name), the weights being 0 in the padding.
fixed.json holds for each case what --describe prints. Made with transformers 5.23.0.

    .venv/bin/python tests/oracles/hugging_face_bert.py --describe FOLDER [FOLDER ...]

prints for each folder, read by the class that its config.json names, the class, the tensors that from_pretrained misses
or does not expect, and on the ids (i x 7919) mod vocabulary, i below 128 or the positions, "loss", of each id predicting
itself, and "states", the mean absolute hidden state, as JSON.

    .venv/bin/python tests/oracles/hugging_face_bert.py --compare A B [C D ...]

prints for each pair the largest difference of any output of the first's class, as JSON.

    .venv/bin/python tests/oracles/hugging_face_bert.py --embed FOLDER --ids IDS.json

prints the hidden states of every row of ids (lists of token ids), as JSON.
"""
import argparse
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

HIDDEN, BATCH, LENGTH, LENGTHS = 8, 4, 9, (9, 6, 4, 9)


def config(**changes):
    return transformers.BertConfig(**{**dict(
        vocab_size=61, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20,
        hidden_act="gelu", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=12,
        type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0), **changes})


# name: (class, configuration, type of the weights, keywords, with gradients)
CASES = {
    "model": (transformers.BertModel, config(), torch.float32, {}, False),
    "encoder": (transformers.BertModel, config(num_hidden_layers=1), torch.float16, {"add_pooling_layer": False}, False),
    "pretraining": (transformers.BertForPreTraining, config(hidden_act="gelu_new", type_vocab_size=3), torch.float32,
                    {}, True),
    "masked_lm": (transformers.BertForMaskedLM, config(layer_norm_eps=1e-6), torch.bfloat16, {}, False),
    "classification": (transformers.BertForSequenceClassification,
                       config(num_labels=3, id2label={0: "entailment", 1: "neutral", 2: "contradiction"}),
                       torch.float32, {}, True),
    "multiple_choice": (transformers.BertForMultipleChoice, config(), torch.float32, {}, False),
    "question_answering": (transformers.BertForQuestionAnswering, config(), torch.float32, {}, True),
}


def randomize(model, generator):
    """Wide weights, biases and norms, so that no gradient is hidden behind a zero or a one."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm = parameter.dim() == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * noise if is_norm else (0.3 if parameter.dim() == 2 else 0.1) * noise


def load(folder, name=None):
    name = name or json.loads((folder / "config.json").read_text())["architectures"][0]
    more = {}
    if name == "BertModel":
        from safetensors import safe_open
        with safe_open(folder / "model.safetensors", "pt") as file:
            more["add_pooling_layer"] = any("pooler" in key for key in file.keys())
    model, info = getattr(transformers, name).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **more)
    return model.eval(), info


def outputs_of(model, batch):
    """Everything that the class computes, under our names."""
    if isinstance(model, transformers.BertForMultipleChoice):
        result = model(**{name: value.unsqueeze(1) for name, value in batch.items()}, output_hidden_states=True)
    else:
        result = model(**batch, output_hidden_states=True)
    bert = model if isinstance(model, transformers.BertModel) else model.bert
    found = {"hidden": result.hidden_states[-1]}
    if bert.pooler is not None:
        found["pooled"] = bert.pooler(found["hidden"])
    if isinstance(model, transformers.BertForPreTraining):
        found["lm_head"], found["binary_head"] = result.prediction_logits, result.seq_relationship_logits
    elif isinstance(model, transformers.BertForQuestionAnswering):
        found["qa_head"] = torch.stack([result.start_logits, result.end_logits], -1)
    elif not isinstance(model, transformers.BertModel):
        heads = {transformers.BertForMaskedLM: "lm_head", transformers.BertForMultipleChoice: "multichoice_head",
                 transformers.BertForNextSentencePrediction: "binary_head",
                 transformers.BertForSequenceClassification: "classification_head"}
        found[heads[type(model)]] = result.logits
    return found


def make_batch(generator, settings):
    # Without id 0, the padding's, for whose lookup transformers gives no gradient.
    ids = torch.randint(1, settings.vocab_size, (BATCH, LENGTH), generator=generator)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        types[row, length // 2:length] = settings.type_vocab_size - 1
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def write_case(folder, made_class, settings, dtype, more, with_gradients, seed):
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(seed)
    made = made_class(settings, **more)
    randomize(made, generator)
    made.tie_weights()
    made.to(dtype).save_pretrained(folder)
    model, info = load(folder)
    assert not any(info.values()), info
    batch = make_batch(generator, settings)
    found = outputs_of(model, batch)
    expected = {**batch, **{name: value.detach() for name, value in found.items()}}
    if with_gradients:
        loss = 0
        for name, value in found.items():
            weight = torch.randn(value.shape, generator=generator)
            if value.dim() == 3:
                weight = weight * batch["attention_mask"].unsqueeze(-1)
            expected["weight." + name] = weight
            loss = loss + (value * weight).sum()
        loss.backward()
        expected.update({"grad." + name: p.grad for name, p in model.named_parameters()})
    save_file({name: t.contiguous() for name, t in expected.items()}, folder / "expected.safetensors",
              {"made_by": "tests/oracles/hugging_face_bert.py"})
    return describe(folder)


def describe(folder):
    model, info = load(folder)
    settings = model.config
    ids = (torch.arange(min(128, settings.max_position_embeddings)) * 7919 % settings.vocab_size)[None]
    batch = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        found = outputs_of(model, batch)
    said = {"class": type(model).__name__, "unmatched": sorted(str(v) for v in info.values() if v)}
    said["states"] = found["hidden"].double().abs().mean().item()
    if "lm_head" in found:
        said["loss"] = torch.nn.functional.cross_entropy(found["lm_head"][0].double(), ids[0]).item()
    return said


def largest_difference(a, b):
    name = json.loads((a / "config.json").read_text())["architectures"][0]
    first, second = load(a, name)[0], load(b, name)[0]
    batch = make_batch(torch.Generator().manual_seed(3), first.config)
    with torch.no_grad():
        ours, theirs = outputs_of(first, batch), outputs_of(second, batch)
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--describe", type=pathlib.Path, nargs="+")
    parser.add_argument("--compare", type=pathlib.Path, nargs="+")
    parser.add_argument("--embed", type=pathlib.Path)
    parser.add_argument("--ids", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.describe:
        print(json.dumps([describe(folder) for folder in options.describe]))
    elif options.compare:
        pairs = zip(options.compare[::2], options.compare[1::2])
        print(json.dumps([largest_difference(*pair) for pair in pairs]))
    elif options.embed:
        model, _ = load(options.embed)
        rows = json.loads(options.ids.read_text())
        with torch.no_grad():
            print(json.dumps([outputs_of(model, {"input_ids": torch.tensor([row])})["hidden"][0].tolist()
                              for row in rows]))
    else:
        options.output.mkdir(parents=True, exist_ok=True)
        fixed = {name: write_case(options.output / name, *case, seed) for seed, (name, case) in enumerate(CASES.items())}
        (options.output / "fixed.json").write_text(json.dumps(fixed, indent=1) + "\n")


if __name__ == "__main__":
    main()
