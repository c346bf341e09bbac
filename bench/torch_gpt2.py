"""The PyTorch peer of bench/training.py: GPT-2 as a careful PyTorch user writes it today, trained and timed.

    .venv/bin/python bench/torch_gpt2.py --weights initial.safetensors --samples samples.jsonl --batch 4 --dtype bf16 \\
        [--compile] [--iterations 10] [--threads 2]

Fused query/key/value product, scaled_dot_product_attention, tanh GeLU, pre-norm blocks, tied output; autocast,
optimizer and clipping are those of torch_loop.py. Weights carry the names of our checkpoints, samples are lines of
`megalith data samples`, in file order.
"""
import torch
import torch_loop
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.query_key_value, self.projection = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.first, self.second = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        batch, sequence, hidden = x.shape
        parts = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        query, key, value = (p.view(batch, sequence, self.heads, -1).transpose(1, 2) for p in parts)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(y.transpose(1, 2).reshape(batch, sequence, hidden))
        return x + self.second(F.gelu(self.first(self.mlp_norm(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, layers, hidden, heads, vocabulary, positions):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, hidden), nn.Embedding(positions, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(hidden)

    def forward(self, ids, labels):
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.final_norm(x), self.words.weight)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), labels.reshape(-1))


def build(weights, heads):
    words, positions = weights["embedding.word_embeddings.weight"], weights["embedding.position_embeddings.weight"]
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("decoder.layers."))
    # A multiple of 64 rows, as one pads it for speed; no label ever names a row of padding, but its logit counts.
    vocabulary = (words.shape[0] + 63) // 64 * 64
    model = Gpt2(layers, words.shape[1], heads, vocabulary, positions.shape[0])
    with torch.no_grad():
        model.words.weight.zero_()[: words.shape[0]] = words
        model.positions.weight.copy_(positions)

        def norm(module, name):
            module.weight.copy_(weights[name + ".weight"])
            module.bias.copy_(weights[name + ".bias"])

        def linear(module, *names):
            for kind in ("weight", "bias"):
                getattr(module, kind).copy_(torch.cat([weights[f"{name}.{kind}"] for name in names]))

        norm(model.final_norm, "decoder.final_layernorm")
        for i, block in enumerate(model.blocks):
            name = f"decoder.layers.{i}"
            norm(block.attention_norm, name + ".input_layernorm")
            norm(block.mlp_norm, name + ".pre_mlp_layernorm")
            linear(block.query_key_value, *(f"{name}.self_attention.{part}" for part in ("query", "key", "value")))
            linear(block.projection, name + ".self_attention.linear_proj")
            linear(block.first, name + ".mlp.linear_fc1")
            linear(block.second, name + ".mlp.linear_fc2")
    return model


def make_batch(samples):
    return [torch.tensor([sample[key] for sample in samples]) for key in ("tokens", "labels")]


def main():
    args = torch_loop.parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    torch_loop.train(build(load_file(args.weights), args.heads), make_batch, args)


if __name__ == "__main__":
    main()
