"""Checkpoints of a tiny random BERT as Megatron-LM's releases laid them out, with golden weights and outputs.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/upstream_bert.py --output tests/golden/upstream-checkpoints

writes a save folder per entry of LAYOUTS, and bert.safetensors: the weights under this project's names, "input_ids",
"token_type_ids" and "attention_mask" [2, 16], and "hidden" [2, 16, 8], "pooled" [2, 8], "lm_logits" [2, 16, 91] and
"order_logits" [2, 2] of transformers' BertForPreTraining in float64, stored as float32. The model has the original
order of norms (--apply-residual-connection-post-layernorm) and the exact GeLU (--no-bias-gelu-fusion).

The layouts, and what makes the files, are those of upstream_checkpoints.py; BERT's own parts are those of Megatron-LM,
megatron/model/bert_model.py (lm_head, binary_head) and megatron/core/models/bert.
"""
import argparse
import collections
import pathlib

import torch
import transformers
from safetensors.torch import save_file

import upstream_checkpoints as upstream
from upstream_checkpoints import Layout, reference

LAYOUTS = [Layout("bert-v1-stream", False, 2, 2, 1, 1, 0, "v1", True, "fp32"),
           Layout("bert-legacy-fp16", False, 2, 2, 1, 1, 3.0, "legacy", False, "fp16"),
           Layout("bert-core", False, 2, 1, 1, 1, 3.0, "core", False, "fp32")]
HEADS = ("lm_head.", "binary_head.", "pooler.", "embedding.tokentype_embeddings.")


def make_model():
    config = transformers.BertConfig(
        vocab_size=reference.VOCABULARY, hidden_size=reference.HIDDEN, num_hidden_layers=2,
        num_attention_heads=reference.HEADS, intermediate_size=4 * reference.HIDDEN, hidden_act="gelu",
        hidden_dropout_prob=0, attention_probs_dropout_prob=0, max_position_embeddings=reference.POSITIONS,
        type_vocab_size=2, layer_norm_eps=1e-5, attn_implementation="eager")
    model = transformers.BertForPreTraining(config).double().eval()
    generator = torch.Generator().manual_seed(31)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_norm else (0.3 if parameter.dim() == 2 else 0.1) * noise)
    return model


def with_our_names(model):
    """The layers under "decoder.", as the writer of GPT's layouts wants them."""
    names = {"bert.embeddings.word_embeddings": "embedding.word_embeddings",
             "bert.embeddings.position_embeddings": "embedding.position_embeddings",
             "bert.embeddings.token_type_embeddings": "embedding.tokentype_embeddings",
             "bert.embeddings.LayerNorm": "decoder.layers.0.input_layernorm", "bert.pooler.dense": "pooler.dense",
             "cls.predictions": "lm_head", "cls.predictions.transform.dense": "lm_head.dense",
             "cls.predictions.transform.LayerNorm": "lm_head.layernorm", "cls.seq_relationship": "binary_head"}
    for layer in range(2):
        theirs, ours = f"bert.encoder.layer.{layer}.", f"decoder.layers.{layer}."
        for part in ("query", "key", "value"):
            names[f"{theirs}attention.self.{part}"] = f"{ours}self_attention.{part}"
        names[theirs + "attention.output.dense"] = ours + "self_attention.linear_proj"
        names[theirs + "attention.output.LayerNorm"] = ours + "pre_mlp_layernorm"
        names[theirs + "intermediate.dense"] = ours + "mlp.linear_fc1"
        names[theirs + "output.dense"] = ours + "mlp.linear_fc2"
        names[theirs + "output.LayerNorm"] = (f"decoder.layers.{layer + 1}.input_layernorm" if layer == 0
                                              else "decoder.final_layernorm")
    weights = {}
    for name, parameter in model.named_parameters():
        base, kind = name.rsplit(".", 1)
        weights[f"{names[base]}.{kind}"] = parameter.detach().float()
    return weights


def vocabulary_bias(bias, layout, rank):
    padded = torch.cat([bias, torch.full((upstream.PADDED - bias.shape[0],), 9.0, dtype=bias.dtype)])
    return upstream.shard(padded, layout, rank, 0)


def add_bert(state, weights, layout, rank):
    """BERT's own parts of a rank's model."""
    if layout.naming == "core":
        made = {("encoder" + name[len("decoder"):] if name.startswith("decoder.") else name): tensor
                for name, tensor in state.items()}
        made.update({name.replace("lm_head.layernorm", "lm_head.layer_norm"): weights[name] for name in weights
                     if name.startswith(HEADS) and name != "lm_head.bias"})
        made["output_layer.weight"] = made["embedding.word_embeddings.weight"]
        made["output_layer.bias"] = vocabulary_bias(weights["lm_head.bias"], layout, rank)
        return collections.OrderedDict(made)
    language = state["language_model"]
    language["embedding"]["tokentype_embeddings"] = {"weight": weights["embedding.tokentype_embeddings.weight"]}
    language["pooler"] = {f"dense.{kind}": weights[f"pooler.dense.{kind}"] for kind in ("weight", "bias")}
    state["lm_head"] = {name[len("lm_head."):]: tensor for name, tensor in weights.items()
                        if name.startswith("lm_head.")}
    state["lm_head"]["bias"] = vocabulary_bias(weights["lm_head.bias"], layout, rank)
    state["binary_head"] = {kind: weights[f"binary_head.{kind}"] for kind in ("weight", "bias")}
    return state


def bert_arguments(layout):
    args = gpt_arguments(layout)
    args.bias_gelu_fusion, args.openai_gelu, args.apply_residual_connection_post_layernorm = False, False, True
    args.attn_mask_type = upstream.MaskType.padding
    return args


def bert_state(weights, layout, rank, layers, first, last):
    return add_bert(gpt_state(weights, layout, rank, layers, first, last), weights, layout, rank)


gpt_arguments, gpt_state = upstream.arguments, upstream.model_state
upstream.arguments, upstream.model_state = bert_arguments, bert_state


def outputs_of(model):
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, reference.VOCABULARY, (2, reference.POSITIONS), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    types = torch.zeros_like(ids)
    types[:, 5:] = mask[:, 5:]
    with torch.no_grad():
        found = model(ids, mask, types, output_hidden_states=True)
        hidden = found.hidden_states[-1]
        outputs = {"hidden": hidden, "pooled": model.bert.pooler(hidden), "lm_logits": found.prediction_logits,
                   "order_logits": found.seq_relationship_logits}
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask,
            **{name: value.float().contiguous() for name, value in outputs.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model()
    weights = with_our_names(model)
    for layout in LAYOUTS:
        upstream.write(options.output / layout.name, weights, layout)
    ours = {("encoder" + name[len("decoder"):] if name.startswith("decoder.") else name): tensor
            for name, tensor in weights.items()}
    save_file({**ours, **outputs_of(model)}, options.output / "bert.safetensors",
              {"made_by": "tests/oracles/upstream_bert.py"})


if __name__ == "__main__":
    main()
