"""Continuations of the tiny GPT-2 by transformers, greedy and sampled, as a golden file.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/generate_reference.py --output tests/golden/gpt2_tiny_generate.json

The weights are those of tests/golden/gpt2_tiny.safetensors (gpt2_reference.py), run by GPT2LMHeadModel in float64. "greedy"
is generate()'s own greedy search; "sampled" are transformers' logits with the draws of sampling_reference.py. Every
prompt runs alone and without padding. No decision is closer than 1e-4 (checked), so the tokens are certain.
"""
import argparse
import json
import math
import pathlib

import torch
from safetensors.torch import load_file

import gpt2_reference
import sampling_reference

POSITIONS, VOCABULARY, END_OF_TEXT = gpt2_reference.POSITIONS, gpt2_reference.VOCABULARY, 13


def tiny_gpt2(path):
    tensors = load_file(path)
    weights = {name: tensor.double() for name, tensor in tensors.items() if name.startswith(("embedding.", "decoder."))}
    model = gpt2_reference.gpt2_model("gelu_new")
    missing, unexpected = model.load_state_dict(gpt2_reference.to_gpt2_names(weights), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def sampled(model, prompt, count, sample, seed, config):
    """New tokens up to the end of text, and the closest decision."""
    ids, closest, key = list(prompt), math.inf, sampling_reference.prompt_key(prompt)
    for _ in range(count):
        logits = model(torch.tensor([ids])).logits[0, -1].numpy()
        token, ahead = sampling_reference.draw(logits, seed, key, sample, len(ids), **config)
        closest = min(closest, ahead)
        if token == END_OF_TEXT:
            break
        ids.append(token)
    return ids[len(prompt):], closest


@torch.no_grad()
def greedy(model, prompt, count):
    output = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False,
                            max_new_tokens=count, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    best = torch.stack(output.logits)[:, 0].topk(2).values
    return output.sequences[0, len(prompt):].tolist(), (best[:, 0] - best[:, 1]).min().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = tiny_gpt2(pathlib.Path(__file__).parent.parent / "golden" / "gpt2_tiny.safetensors")
    random = torch.Generator().manual_seed(1234)
    prompts = [torch.randint(0, VOCABULARY, (n,), generator=random).tolist() for n in (1, 6, 3, 2, 6)]
    count, seed, config = POSITIONS - 6, 99, dict(temperature=1.5, top_k=40, top_p=0.95)
    greedy_tokens, sampled_tokens, closest = [], [], math.inf
    for prompt in prompts:
        tokens, gap = greedy(model, prompt, count)
        closest = min(closest, gap)
        greedy_tokens.append(tokens)
        for sample in range(3):
            tokens, gap = sampled(model, prompt, count, sample, seed, config)
            closest = min(closest, gap)
            sampled_tokens.append(tokens)
    assert closest > 1e-4, closest
    golden = dict(prompts=prompts, max_new_tokens=count, greedy=greedy_tokens, seed=seed, **config, num_samples=3,
                  end_of_text=END_OF_TEXT, sampled=sampled_tokens)
    lines = [f'"{name}": {json.dumps(value)}' for name, value in golden.items()]
    args.output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{args.output}: closest decision {closest:.1e}, sampled lengths {[len(x) for x in sampled_tokens]}")


if __name__ == "__main__":
    main()
