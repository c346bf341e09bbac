"""GPT-2 and a Llama-like decoder as plain PyTorch functions over a dictionary of global tensors.

The names and shapes are those of our checkpoints: weights as [out, in], query, key and value apart. No layer
class and no framework beyond torch, so that a reader can compare it with the paper's figure line by line; the
oracle scripts check it against transformers before they trust it. Computes in the dtype of the weights.
"""
import torch
from torch.nn import functional as F


def linear(weights, name, x):
    return F.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))


def layer_norm(weights, name, x, epsilon):
    return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], epsilon)


def rms_norm(weights, name, x, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weights[name + ".weight"]


def rotate(x, base):
    """Rotary positions on [B, heads, S, D] with the two halves of D as the pairs' members (not interleaved)."""
    sequence, size = x.shape[-2:]
    inverse = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(sequence, dtype=torch.float64), inverse)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attention(weights, name, x, heads, kv_heads, rotary_base=None):
    batch, sequence, hidden = x.shape
    size = hidden // heads

    def split(part, count):
        return linear(weights, f"{name}.{part}", x).view(batch, sequence, count, size).transpose(1, 2)

    query, key, value = split("query", heads), split("key", kv_heads), split("value", kv_heads)
    if rotary_base is not None:
        query, key = rotate(query, rotary_base), rotate(key, rotary_base)
    key = key.repeat_interleave(heads // kv_heads, dim=1)  # query head i reads kv head i // (heads / kv_heads)
    value = value.repeat_interleave(heads // kv_heads, dim=1)
    context = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return linear(weights, name + ".linear_proj", context.transpose(1, 2).reshape(batch, sequence, hidden))


def num_layers(weights):
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("decoder.layers."))


def gpt2_logits(weights, ids, heads, gelu="tanh", epsilon=1e-5, positions=None):
    """[B, S] -> [B, S, V]; `gelu` is tanh (--openai-gelu) or none (erf); output tied unless output_layer.weight."""
    if positions is None:
        positions = torch.arange(ids.shape[1]).expand_as(ids)
    x = weights["embedding.word_embeddings.weight"][ids] + weights["embedding.position_embeddings.weight"][positions]
    for layer in range(num_layers(weights)):
        name = f"decoder.layers.{layer}"
        y = layer_norm(weights, name + ".input_layernorm", x, epsilon)
        x = x + attention(weights, name + ".self_attention", y, heads, heads)
        y = layer_norm(weights, name + ".pre_mlp_layernorm", x, epsilon)
        y = F.gelu(linear(weights, name + ".mlp.linear_fc1", y), approximate=gelu)
        x = x + linear(weights, name + ".mlp.linear_fc2", y)
    x = layer_norm(weights, "decoder.final_layernorm", x, epsilon)
    return F.linear(x, weights.get("output_layer.weight", weights["embedding.word_embeddings.weight"]))


def llama_logits(weights, ids, heads, kv_heads, rotary_base=10000.0, epsilon=1e-5):
    """[B, S] -> [B, S, V]: RMSNorm, rotary positions, SwiGLU, grouped queries, no biases, untied output."""
    x = weights["embedding.word_embeddings.weight"][ids]
    for layer in range(num_layers(weights)):
        name = f"decoder.layers.{layer}"
        y = rms_norm(weights, name + ".input_layernorm", x, epsilon)
        x = x + attention(weights, name + ".self_attention", y, heads, kv_heads, rotary_base)
        y = rms_norm(weights, name + ".pre_mlp_layernorm", x, epsilon)
        y = F.silu(linear(weights, name + ".mlp.gate", y)) * linear(weights, name + ".mlp.up", y)
        x = x + linear(weights, name + ".mlp.linear_fc2", y)
    x = rms_norm(weights, "decoder.final_layernorm", x, epsilon)
    return F.linear(x, weights["output_layer.weight"])
