"""Weights, logits, loss and every gradient of a tiny GPT-2 and a tiny Llama-like model, as golden files.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/gpt2_reference.py --seed 1234 --output tests/golden

writes gpt2_tiny.safetensors and llama_tiny.safetensors. The numbers are computed in float64 by plain_models.py,
must agree with transformers' GPT2LMHeadModel (float64) and LlamaForCausalLM (which insists on float32 in places),
and are stored as float32. Tensors: the weights under their checkpoint names, "input_ids" and "labels" [2, 16],
"logits" [2, 16, 96], "token_losses" [2, 16], "loss" [1] (mean over all tokens) and "grad." + name. The GPT-2 file
was run with tanh GeLU (--openai-gelu); the same weights with erf GeLU are under "erf.logits", "erf.grad." + name
and so on. The file's metadata holds the configuration. The gradient of a key bias is 0 in exact arithmetic (softmax
ignores a constant), so compare those absolutely.
"""
import argparse
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F

import plain_models

LAYERS, HIDDEN, HEADS, KV_HEADS, VOCABULARY, POSITIONS, BATCH, SWIGLU = 2, 32, 4, 2, 96, 16, 2, 48
EPSILON, ROTARY_BASE = 1e-5, 10000.0


def matrix(generator, rows, columns):
    return torch.randn(rows, columns, generator=generator) * 0.2


def add_norm(weights, name, generator, bias):
    weights[name + ".weight"] = 1 + 0.2 * torch.randn(HIDDEN, generator=generator)
    if bias:
        weights[name + ".bias"] = 0.1 * torch.randn(HIDDEN, generator=generator)


def add_linear(weights, name, generator, rows, columns, bias):
    weights[name + ".weight"] = matrix(generator, rows, columns)
    if bias:
        weights[name + ".bias"] = 0.1 * torch.randn(rows, generator=generator)


def make_weights(generator, llama):
    """Random everywhere, biases and norms too, so that no gradient is hidden behind a zero or a one."""
    weights = {"embedding.word_embeddings.weight": matrix(generator, VOCABULARY, HIDDEN)}
    bias, kv_size = not llama, (KV_HEADS if llama else HEADS) * HIDDEN // HEADS
    if not llama:
        weights["embedding.position_embeddings.weight"] = matrix(generator, POSITIONS, HIDDEN)
    for layer in range(LAYERS):
        name = f"decoder.layers.{layer}"
        add_norm(weights, name + ".input_layernorm", generator, bias)
        for part, rows in (("query", HIDDEN), ("key", kv_size), ("value", kv_size), ("linear_proj", HIDDEN)):
            add_linear(weights, f"{name}.self_attention.{part}", generator, rows, HIDDEN, bias)
        add_norm(weights, name + ".pre_mlp_layernorm", generator, bias)
        if llama:
            add_linear(weights, name + ".mlp.gate", generator, SWIGLU, HIDDEN, bias)
            add_linear(weights, name + ".mlp.up", generator, SWIGLU, HIDDEN, bias)
            add_linear(weights, name + ".mlp.linear_fc2", generator, HIDDEN, SWIGLU, bias)
        else:
            add_linear(weights, name + ".mlp.linear_fc1", generator, 4 * HIDDEN, HIDDEN, bias)
            add_linear(weights, name + ".mlp.linear_fc2", generator, HIDDEN, 4 * HIDDEN, bias)
    add_norm(weights, "decoder.final_layernorm", generator, bias)
    if llama:
        weights["output_layer.weight"] = matrix(generator, VOCABULARY, HIDDEN)
    return weights


def to_gpt2_names(tensors):
    """Our tensors (weights or gradients) as GPT2LMHeadModel names and lays them out: Conv1D is [in, out]."""
    renamed = {"transformer.wte.weight": tensors["embedding.word_embeddings.weight"],
               "transformer.wpe.weight": tensors["embedding.position_embeddings.weight"]}

    def put(theirs, names, transpose):
        for kind in ("weight", "bias"):
            joined = torch.cat([tensors[f"{name}.{kind}"] for name in names])
            renamed[f"transformer.{theirs}.{kind}"] = joined.t() if transpose and kind == "weight" else joined

    for layer in range(LAYERS):
        ours, theirs = f"decoder.layers.{layer}", f"h.{layer}"
        put(theirs + ".ln_1", [ours + ".input_layernorm"], False)
        put(theirs + ".attn.c_attn", [f"{ours}.self_attention.{part}" for part in ("query", "key", "value")], True)
        put(theirs + ".attn.c_proj", [ours + ".self_attention.linear_proj"], True)
        put(theirs + ".ln_2", [ours + ".pre_mlp_layernorm"], False)
        put(theirs + ".mlp.c_fc", [ours + ".mlp.linear_fc1"], True)
        put(theirs + ".mlp.c_proj", [ours + ".mlp.linear_fc2"], True)
    put("ln_f", ["decoder.final_layernorm"], False)
    return renamed


LLAMA_LAYER_NAMES = {"input_layernorm": "input_layernorm", "self_attention.query": "self_attn.q_proj",
                     "self_attention.key": "self_attn.k_proj", "self_attention.value": "self_attn.v_proj",
                     "self_attention.linear_proj": "self_attn.o_proj", "mlp.gate": "mlp.gate_proj",
                     "pre_mlp_layernorm": "post_attention_layernorm", "mlp.up": "mlp.up_proj",
                     "mlp.linear_fc2": "mlp.down_proj"}


def to_llama_names(tensors):
    renamed = {"model.embed_tokens.weight": tensors["embedding.word_embeddings.weight"],
               "model.norm.weight": tensors["decoder.final_layernorm.weight"],
               "lm_head.weight": tensors["output_layer.weight"]}
    for layer in range(LAYERS):
        for ours, theirs in LLAMA_LAYER_NAMES.items():
            renamed[f"model.layers.{layer}.{theirs}.weight"] = tensors[f"decoder.layers.{layer}.{ours}.weight"]
    return renamed


def gpt2_model(activation):
    config = transformers.GPT2Config(
        n_layer=LAYERS, n_embd=HIDDEN, n_head=HEADS, vocab_size=VOCABULARY, n_positions=POSITIONS,
        activation_function=activation, layer_norm_epsilon=EPSILON, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        attn_implementation="eager", bos_token_id=None, eos_token_id=None)
    return transformers.GPT2LMHeadModel(config).double()


def llama_model():
    config = transformers.LlamaConfig(
        num_hidden_layers=LAYERS, hidden_size=HIDDEN, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        intermediate_size=SWIGLU, vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, rms_norm_eps=EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE}, tie_word_embeddings=False,
        attention_dropout=0, attn_implementation="eager")
    return transformers.LlamaForCausalLM(config).float()


def loss_and_gradients(logits, labels, parameters):
    """Label i belongs to position i: nothing is shifted here. `parameters` maps names to leaf tensors."""
    token_losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    loss = token_losses.mean()
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    outputs = {"logits": logits.detach(), "token_losses": token_losses.detach(), "loss": loss.detach().reshape(1)}
    return outputs, dict(zip(parameters, gradients))


def run_plain(forward, weights, ids, labels):
    leaves = {name: tensor.double().requires_grad_() for name, tensor in weights.items()}
    return loss_and_gradients(forward(leaves, ids), labels, leaves)


def check_against_transformers(model, rename, weights, ids, labels, plain, tolerance):
    """Every output and gradient, relative to the tensor's largest element."""
    missing, unexpected = model.load_state_dict(rename(weights), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    theirs, their_gradients = loss_and_gradients(model(input_ids=ids).logits, labels, dict(model.named_parameters()))
    ours, our_gradients = plain[0], rename(plain[1])
    assert their_gradients.keys() == our_gradients.keys()
    worst = 0.0
    for name, value in {**theirs, **their_gradients}.items():
        expected = {**ours, **our_gradients}[name]
        worst = max(worst, ((value - expected).abs().max() / expected.abs().max()).item())
    print(f"{type(model).__name__}: largest relative difference to transformers {worst:.1e}, allowed {tolerance:.0e}")
    assert worst <= tolerance


def golden(plain, prefix=""):
    outputs, gradients = plain
    tensors = {prefix + name: value for name, value in outputs.items()}
    tensors.update({f"{prefix}grad.{name}": value for name, value in gradients.items()})
    return {name: value.float().contiguous() for name, value in tensors.items()}


def write(path, tensors, **config):
    metadata = {"config": json.dumps(config), "made_by": "tests/oracles/gpt2_reference.py"}
    save_file(tensors, path, metadata=metadata)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes, loss {tensors['loss'].item():.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the two files")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(args.seed)
    sizes = dict(num_layers=LAYERS, hidden_size=HIDDEN, num_attention_heads=HEADS, vocab_size=VOCABULARY,
                 norm_epsilon=EPSILON, seed=args.seed)

    def random_ids():
        return torch.randint(0, VOCABULARY, (BATCH, POSITIONS), generator=generator)

    weights, ids, labels = make_weights(generator, llama=False), random_ids(), random_ids()
    tensors = {**weights, "input_ids": ids, "labels": labels}
    for gelu, activation, prefix in (("tanh", "gelu_new", ""), ("none", "gelu", "erf.")):
        plain = run_plain(lambda w, x: plain_models.gpt2_logits(w, x, HEADS, gelu, EPSILON), weights, ids, labels)
        check_against_transformers(gpt2_model(activation), to_gpt2_names, weights, ids, labels, plain, 1e-12)
        tensors.update(golden(plain, prefix))
    write(args.output / "gpt2_tiny.safetensors", tensors, max_position_embeddings=POSITIONS,
          ffn_hidden_size=4 * HIDDEN, **sizes)

    weights, ids, labels = make_weights(generator, llama=True), random_ids(), random_ids()
    plain = run_plain(lambda w, x: plain_models.llama_logits(w, x, HEADS, KV_HEADS, ROTARY_BASE, EPSILON), weights,
                      ids, labels)
    check_against_transformers(llama_model(), to_llama_names, weights, ids, labels, plain, 1e-5)
    write(args.output / "llama_tiny.safetensors", {**weights, "input_ids": ids, "labels": labels, **golden(plain)},
          num_query_groups=KV_HEADS, ffn_hidden_size=SWIGLU, rotary_base=ROTARY_BASE, **sizes)


if __name__ == "__main__":
    main()
