"""Small random models of Hugging Face families with their logits, loss and gradients, by transformers.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/hugging_face_reference.py --output tests/golden/hugging_face

writes a folder for each case below: the model as save_pretrained makes it, and expected.safetensors with "input_ids"
[2, 16], "logits" [2, 16, 96], "loss" [1] (labels=input_ids) and "grad." + the model's own name for each weight, all
computed in float32 by the model that from_pretrained reads back. fixed.json holds for each case what --logits prints
and the greedy continuation of PROMPT. rope_frequencies.json holds what transformers' ROPE_INIT_FUNCTIONS give for
published settings. Made with transformers 5.23.0.

    .venv/bin/python tests/oracles/hugging_face_reference.py --logits FOLDER

prints, for a folder that megalith exported, the class, the loss on the ids (i x 7919) mod vocabulary, i below 128 or
the positions, and the tensors that from_pretrained misses or does not expect, as JSON.

    .venv/bin/python tests/oracles/hugging_face_reference.py --compare A B [C D ...]

prints the pairs of folders that do not give the same logits to the last bit on the ids of --logits, as JSON.
"""
import argparse
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

TINY = dict(vocab_size=96, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=32, attention_dropout=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=None)


PROMPT, NEW_TOKENS = [5, 1, 44, 2, 17], 12


def rope(kind, theta=10000.0, **settings):
    return {"rope_type": kind, "rope_theta": theta, **settings}


# name: (configuration, type of the weights, size of a shard, config.json of the generation before)
CASES = {
    "gpt2": (transformers.GPT2Config(vocab_size=96, n_positions=32, n_embd=16, n_layer=2, n_head=4, resid_pdrop=0.0,
                                     embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=95, eos_token_id=95),
             torch.float32, "5GB", False),
    "llama": (transformers.LlamaConfig(**TINY, num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=rope(
        "llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16)), torch.float32, "5GB", False),
    "llama_biases": (transformers.LlamaConfig(**TINY, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                              rope_parameters=rope("linear", factor=2.5)),
                     torch.float32, "5GB", True),
    "mistral": (transformers.MistralConfig(**TINY, num_key_value_heads=2, head_dim=8, sliding_window=None,
                                           rope_parameters=rope("default", 1000000.0)),
                torch.float16, "6KB", False),
    "qwen2": (transformers.Qwen2Config(**TINY, num_key_value_heads=2, tie_word_embeddings=True, rope_parameters=rope(
        "yarn", 1000000.0, factor=4.0, original_max_position_embeddings=8)), torch.bfloat16, "5GB", True),
    "qwen3": (transformers.Qwen3Config(**TINY, num_key_value_heads=2, head_dim=8, rope_parameters=rope(
        "default", 1000000.0)), torch.float32, "5GB", False),
    "qwen3_biases": (transformers.Qwen3Config(**TINY, num_key_value_heads=4, head_dim=4, attention_bias=True,
                                              tie_word_embeddings=True, rope_parameters=rope("dynamic", factor=2.0)),
                     torch.float32, "5GB", False),
}

ROPES = {
    "default": (128, rope("default", 10000.0)),
    "linear": (128, rope("linear", 10000.0, factor=2.5)),
    "dynamic": (64, rope("dynamic", 10000.0, factor=2.0)),
    "llama-3.1": (128, rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                            original_max_position_embeddings=8192)),
    "llama-3.2": (64, rope("llama3", 500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                           original_max_position_embeddings=8192)),
    "qwen2.5-yarn": (128, rope("yarn", 1000000.0, factor=4.0, original_max_position_embeddings=32768)),
    "yarn-betas": (64, rope("yarn", 10000.0, factor=16.0, original_max_position_embeddings=4096, beta_fast=24.0,
                            beta_slow=2.0, attention_factor=1.25)),
    "yarn-mscale": (64, rope("yarn", 10000.0, factor=40.0, original_max_position_embeddings=4096, mscale=1.0,
                             mscale_all_dim=0.7)),
    "yarn-narrow": (4, rope("yarn", 1000000.0, factor=4.0, original_max_position_embeddings=8)),
}


def randomize(model, generator):
    """Wide weights, biases and norms, so that no gradient is hidden behind a zero or a one."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm = parameter.dim() == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * noise if is_norm else (0.3 if parameter.dim() == 2 else 0.1) * noise


def make_older(folder):
    """config.json as transformers 4 wrote it: rope_theta, rope_scaling, torch_dtype."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    parameters["type"] = parameters.pop("rope_type")
    config["rope_scaling"] = parameters
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.37.0"
    path.write_text(json.dumps(config, indent=2) + "\n")


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                             output_loading_info=True)


def write_case(folder, config, dtype, shard, older, seed):
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(seed)
    made = transformers.AutoModelForCausalLM.from_config(config)
    randomize(made, generator)
    made.tie_weights()
    made.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink()
    if older:
        make_older(folder)
    model, info = load(folder)
    assert not any(info.values()), info
    ids = torch.randint(0, 96, (2, 16), generator=generator)
    output = model.eval()(ids, labels=ids)
    output.loss.backward()
    expected = {"input_ids": ids, "logits": output.logits.detach(), "loss": output.loss.detach().reshape(1)}
    expected.update({"grad." + name: p.grad for name, p in model.named_parameters()})
    save_file({name: t.contiguous() for name, t in expected.items()}, folder / "expected.safetensors")
    return {**describe(folder), "greedy": greedy(model)}


def greedy(model):
    """By argmax of the whole sequence each time; the two best logits are never within 1e-3."""
    ids = list(PROMPT)
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            logits = model(torch.tensor([ids])).logits[0, -1]
            best = logits.topk(2).values
            assert best[0] - best[1] > 1e-3, best
            ids.append(logits.argmax().item())
    return ids[len(PROMPT):]


def write_ropes(path):
    cases = {}
    for name, (size, parameters) in ROPES.items():
        config = transformers.LlamaConfig(hidden_size=4 * size, num_attention_heads=4, max_position_embeddings=2048,
                                          rope_parameters=dict(parameters))
        kind = parameters["rope_type"]
        function = ROPE_INIT_FUNCTIONS.get(kind) or (
            transformers.models.llama.modeling_llama.LlamaRotaryEmbedding.compute_default_rope_parameters)
        frequencies, factor = function(config)
        cases[name] = {"size": size, "rope": parameters, "frequencies": frequencies.tolist(), "factor": factor}
    path.write_text(json.dumps(cases, indent=1) + "\n")


def fixed_ids(config):
    count = min(128, config.max_position_embeddings)
    return (torch.arange(count) * 7919 % config.vocab_size)[None]


def same_logits(a, b):
    first, second = (load(folder)[0].eval() for folder in (a, b))
    ids = fixed_ids(first.config)
    with torch.no_grad():
        return torch.equal(first(ids).logits, second(ids).logits)


def describe(folder):
    model, info = load(folder)
    ids = fixed_ids(model.config)
    with torch.no_grad():
        loss = model.eval()(ids, labels=ids).loss.item()
    return {"class": type(model).__name__, "loss": loss, "unmatched": sorted(str(v) for v in info.values() if v)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--logits", type=pathlib.Path)
    parser.add_argument("--compare", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.logits:
        print(json.dumps(describe(arguments.logits)))
    elif arguments.compare:
        names = [str(folder) for folder in arguments.compare]
        print(json.dumps([pair for pair in zip(names[::2], names[1::2]) if not same_logits(*pair)]))
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        fixed = {name: write_case(arguments.output / name, *case, seed)
                 for seed, (name, case) in enumerate(CASES.items())}
        (arguments.output / "fixed.json").write_text(json.dumps(fixed, indent=1) + "\n")
        write_ropes(arguments.output / "rope_frequencies.json")


if __name__ == "__main__":
    main()
