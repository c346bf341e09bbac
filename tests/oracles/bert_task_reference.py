"""Outputs, losses and every gradient of a tiny random BERT with each task's head by transformers, as a golden file.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/bert_task_reference.py --seed 1234 --output tests/golden

writes bert_tasks_tiny.safetensors. The numbers are those of transformers' BertForSequenceClassification (3 classes),
BertForMultipleChoice (4 choices) and BertForQuestionAnswering with the same encoder in float64, stored as float32;
dropout is off. Weights are under transformers' own names, without the head's prefix of the task. Tensors by task
("classes.", "choices.", "spans."): "input_ids", "token_type_ids", "attention_mask" [rows, length], "labels" (of spans
[rows, 2]), "logits" ([rows, 3]; [examples, 4]; [rows, length, 2], start and end), "loss" [1], and "grad." + name for
each parameter. Rows are padded, and the places of the padding are candidates of spans, as in transformers.
"""
import argparse
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

LAYERS, HIDDEN, HEADS, VOCABULARY, POSITIONS, TYPES, LENGTH = 2, 8, 2, 40, 14, 2, 12
CLASSES, CHOICES = 3, 4


def config(num_labels=CLASSES):
    return transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        max_position_embeddings=POSITIONS, type_vocab_size=TYPES, layer_norm_eps=1e-12, num_labels=num_labels,
        attn_implementation="eager")


def fill(model, generator):
    with torch.no_grad():  # biases and norms too, so that no gradient is hidden behind a zero or a one
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_((0.1 if name.endswith("bias") else 0.3) * noise)


def make_rows(count, generator):
    # Without id 0, the padding's, for whose lookup transformers gives no gradient.
    ids = torch.randint(1, VOCABULARY, (count, LENGTH), generator=generator)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row in range(count):
        length = LENGTH - 3 * (row % 3)
        mask[row, :length] = 1
        types[row, length // 2:length] = 1
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def run(task, model, rows, labels):
    model = model.double().eval()
    if task == "choices":
        shaped = {name: value.view(-1, CHOICES, LENGTH) for name, value in rows.items()}
        output = model(**shaped, labels=labels)
    elif task == "spans":
        output = model(**rows, start_positions=labels[:, 0], end_positions=labels[:, 1])
    else:
        output = model(**rows, labels=labels)
    output.loss.backward()
    logits = torch.stack([output.start_logits, output.end_logits], dim=2) if task == "spans" else output.logits
    tensors = {task + "." + name: value for name, value in rows.items()}
    tensors.update({task + ".labels": labels, task + ".logits": logits.detach().float().contiguous(),
                    task + ".loss": output.loss.detach().float().reshape(1)})
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            tensors[task + ".grad." + name] = parameter.grad.float()
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(args.seed)
    body = transformers.BertModel(config())
    fill(body, generator)
    tensors = {"bert." + name: value.detach().float() for name, value in body.named_parameters()}
    tasks = {"classes": (transformers.BertForSequenceClassification, 5, torch.tensor([0, 2, 1, 1, 0])),
             "choices": (transformers.BertForMultipleChoice, 3 * CHOICES, torch.tensor([3, 0, 2])),
             "spans": (transformers.BertForQuestionAnswering, 4, torch.tensor([[0, 0], [3, 5], [4, 4], [7, 11]]))}
    for task, (kind, count, labels) in tasks.items():
        model = kind(config(2 if task == "spans" else CLASSES))
        fill(model, generator)
        model.bert.load_state_dict(body.state_dict(), strict=False)
        for name, parameter in model.named_parameters():
            if not name.startswith("bert."):
                tensors[task + "." + name] = parameter.detach().float().clone()
        tensors.update(run(task, model, make_rows(count, generator), labels))
    path = args.output / "bert_tasks_tiny.safetensors"
    shape = dict(num_layers=LAYERS, hidden_size=HIDDEN, num_attention_heads=HEADS, vocab_size=VOCABULARY,
                 max_position_embeddings=POSITIONS, num_classes=CLASSES, seed=args.seed)
    save_file(tensors, path, metadata={"config": json.dumps(shape), "made_by": "tests/oracles/bert_task_reference.py"})
    losses = ", ".join(f"{task} {tensors[task + '.loss'].item():.6f}" for task in tasks)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes, losses {losses}")


if __name__ == "__main__":
    main()
