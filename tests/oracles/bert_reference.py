"""Weights, outputs, losses and every gradient of a tiny random BERT by transformers, as a golden file.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/bert_reference.py --seed 1234 --output tests/golden

writes bert_tiny.safetensors. The numbers are those of transformers' BertForPreTraining in float64, stored as float32. Weights are under transformers' own names, so the test
that reads them maps the names itself; dropout is off. Other tensors: "input_ids", "token_type_ids", "attention_mask"
and "labels" (-1 where nothing is predicted) [3, 16], "next_sentence_label" [3]; "hidden" [3, 16, 16], "pooled" [3, 16],
"prediction_logits" [3, 16, 99] and "order_logits" [3, 2]; "masked_loss", "order_loss" and "loss" (their sum) [1];
"grad." + name for each parameter. They are of a model with erf GeLU; what the same weights give with tanh GeLU
(--openai-gelu) is under "tanh." + name, without gradients. Rows of "hidden" and "prediction_logits" in the padding are what transformers gives.
"""
import argparse
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

LAYERS, HIDDEN, HEADS, VOCABULARY, POSITIONS, TYPES, BATCH, LENGTH = 2, 16, 4, 99, 20, 2, 3, 16
LENGTHS = (16, 11, 5)
EPSILON = 1e-12


def make_model(activation, generator):
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN, hidden_act=activation, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        max_position_embeddings=POSITIONS, type_vocab_size=TYPES, layer_norm_eps=EPSILON, attn_implementation="eager")
    model = transformers.BertForPreTraining(config)
    with torch.no_grad():  # biases and norms too, so that no gradient is hidden behind a zero or a one
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_((0.1 if name.endswith("bias") else 0.2) * noise)
    return model.double().eval()


def make_batch(generator):
    # Without id 0, the padding's, for whose lookup transformers gives no gradient.
    ids = torch.randint(1, VOCABULARY, (BATCH, LENGTH), generator=generator)
    mask = torch.zeros(BATCH, LENGTH, dtype=torch.long)
    types, labels = torch.zeros_like(ids), torch.full_like(ids, -1)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        types[row, length // 2:length] = 1
        predicted = torch.randperm(length, generator=generator)[:max(1, length // 4)]
        labels[row, predicted] = torch.randint(0, VOCABULARY, predicted.shape, generator=generator)
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask, "labels": labels,
            "next_sentence_label": torch.tensor([0, 1, 1])}


def run(model, batch):
    # transformers ignores -100 where upstream's data say -1.
    output = model(**{**batch, "labels": batch["labels"].masked_fill(batch["labels"] == -1, -100)},
                   output_hidden_states=True)
    output.loss.backward()
    hidden = output.hidden_states[-1]
    losses = {
        "masked_loss": torch.nn.functional.cross_entropy(output.prediction_logits.flatten(0, 1),
                                                         batch["labels"].flatten(), ignore_index=-1),
        "order_loss": torch.nn.functional.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"])}
    assert torch.allclose(sum(losses.values()), output.loss)
    tensors = {"hidden": hidden, "pooled": model.bert.pooler(hidden), "prediction_logits": output.prediction_logits,
               "order_logits": output.seq_relationship_logits, "loss": output.loss.reshape(1)}
    tensors.update({name: loss.reshape(1) for name, loss in losses.items()})
    return {name: value.detach().float().contiguous() for name, value in tensors.items()}


def weights_and_gradients(model):
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach().float()
        tensors["grad." + name] = parameter.grad.float()
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tensors = {}
    for activation, prefix in (("gelu", ""), ("gelu_new", "tanh.")):
        generator = torch.Generator().manual_seed(args.seed)
        model, batch = make_model(activation, generator), make_batch(generator)
        tensors.update({prefix + name: value for name, value in run(model, batch).items()})
        if not prefix:
            tensors.update(batch)
            tensors.update(weights_and_gradients(model))
    path = args.output / "bert_tiny.safetensors"
    config = dict(num_layers=LAYERS, hidden_size=HIDDEN, num_attention_heads=HEADS, vocab_size=VOCABULARY,
                  max_position_embeddings=POSITIONS, norm_epsilon=EPSILON, seed=args.seed)
    save_file(tensors, path, metadata={"config": json.dumps(config), "made_by": "tests/oracles/bert_reference.py"})
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes, loss {tensors['loss'].item():.6f}")


if __name__ == "__main__":
    main()
