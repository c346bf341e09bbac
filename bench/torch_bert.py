"""The PyTorch peer of bench/bert.py: transformers' BertForPreTraining, trained and timed.

    .venv/bin/python bench/torch_bert.py --weights initial.safetensors --samples samples.jsonl --batch 8 --dtype bf16 \\
        [--masked-logits] [--compile] [--iterations 10] [--threads 2]

scaled_dot_product_attention, no dropout; autocast, optimizer and clipping are those of torch_loop.py. Samples without
padding come without a mask, as one leaves it out for speed. Weights carry the names of our checkpoints (norms on the
residual path); samples are lines of `megalith data samples --dataset bert`, in file order. --masked-logits runs the
language-model head on the masked positions alone; without it transformers makes the logits of every position.
"""
import pathlib
import sys

import torch
import torch_loop
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

# This file's own folder would hide the package `tokenizers` from transformers.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]
import transformers  # noqa: E402

NOT_PREDICTED = -100  # transformers'; our samples say -1
NEVER = -1e4  # the bias of a row that pads the vocabulary: its share of the softmax is 0


def our_names(layers):
    """{transformers' name: ours}; our norm before a block is theirs behind the one before."""
    names = {"bert.embeddings.LayerNorm": "encoder.layers.0.input_layernorm", "bert.pooler.dense": "pooler.dense",
             "cls.predictions.transform.dense": "lm_head.dense",
             "cls.predictions.transform.LayerNorm": "lm_head.layernorm", "cls.seq_relationship": "binary_head"}
    for i in range(layers):
        theirs, ours = f"bert.encoder.layer.{i}.", f"encoder.layers.{i}."
        after = f"encoder.layers.{i + 1}.input_layernorm" if i + 1 < layers else "encoder.final_layernorm"
        names |= {theirs + f"attention.self.{part}": ours + f"self_attention.{part}"
                  for part in ("query", "key", "value")}
        names |= {theirs + "attention.output.dense": ours + "self_attention.linear_proj",
                  theirs + "attention.output.LayerNorm": ours + "pre_mlp_layernorm",
                  theirs + "intermediate.dense": ours + "mlp.linear_fc1",
                  theirs + "output.dense": ours + "mlp.linear_fc2", theirs + "output.LayerNorm": after}
    full = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in names.items() for kind in ("weight", "bias")}
    for theirs, ours in (("word", "word"), ("position", "position"), ("token_type", "tokentype")):
        full[f"bert.embeddings.{theirs}_embeddings.weight"] = f"embedding.{ours}_embeddings.weight"
    return full


def build(weights, heads):
    words = weights["embedding.word_embeddings.weight"]
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers."))
    vocabulary = (words.shape[0] + 63) // 64 * 64  # a multiple of 64 rows, as one pads it for speed
    config = transformers.BertConfig(
        vocab_size=vocabulary, hidden_size=words.shape[1], num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * words.shape[1], hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        max_position_embeddings=weights["embedding.position_embeddings.weight"].shape[0],
        attn_implementation="sdpa")
    model = transformers.BertForPreTraining(config).train()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for theirs, ours in our_names(layers).items():
            parameter = parameters.pop(theirs)
            parameter.zero_()[: weights[ours].shape[0]] = weights[ours]
        bias = parameters.pop("cls.predictions.bias")
        bias.fill_(NEVER)[: words.shape[0]] = weights["lm_head.bias"]
    assert not parameters, f"without a value: {sorted(parameters)}"
    return model


class AllLogits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, types, mask, labels, order):
        return self.model(input_ids=ids, token_type_ids=types, attention_mask=mask, labels=labels,
                          next_sentence_label=order).loss


class MaskedLogits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, types, mask, places, labels, order):
        hidden, pooled = self.model.bert(input_ids=ids, token_type_ids=types, attention_mask=mask)[:2]
        logits = self.model.cls.predictions(hidden.flatten(0, 1).index_select(0, places))
        order_logits = self.model.cls.seq_relationship(pooled)
        return F.cross_entropy(logits.float(), labels) + F.cross_entropy(order_logits.float(), order)


def make_batch(samples, masked_logits):
    keys = ("text", "types", "padding_mask", "labels", "is_random")
    ids, types, mask, labels, order = (torch.tensor([sample[key] for sample in samples]) for key in keys)
    labels = labels.masked_fill(labels < 0, NOT_PREDICTED)
    mask = None if mask.all() else mask
    if not masked_logits:
        return ids, types, mask, labels, order
    places = (labels.flatten() != NOT_PREDICTED).nonzero().squeeze(-1)
    labels = labels.flatten()[places]
    for tensor in (places, labels):  # their number differs from batch to batch; compiled once all the same
        torch._dynamo.maybe_mark_dynamic(tensor, 0)
    return ids, types, mask, places, labels, order


def main():
    parser = torch_loop.parser(__doc__)
    parser.add_argument("--masked-logits", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = build(load_file(args.weights), args.heads)
    network = MaskedLogits(model) if args.masked_logits else AllLogits(model)
    torch_loop.train(network, lambda samples: make_batch(samples, args.masked_logits), args)


if __name__ == "__main__":
    main()
