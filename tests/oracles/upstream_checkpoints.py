"""Checkpoints of tiny random models as Megatron-LM's releases laid them out, with golden weights and logits.

    HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/upstream_checkpoints.py --output tests/golden/upstream-checkpoints

writes one save folder per entry of COMMITTED, and gpt2.safetensors and llama.safetensors: the weights under this
project's names, "input_ids" [2, 16] and "logits" [2, 16, 91] of transformers' GPT2LMHeadModel and LlamaForCausalLM in
float64, stored as float32. With --all it writes every combination instead, for a run by hand:

    .venv/bin/python tests/oracles/upstream_checkpoints.py --all --output DIR --program build/release/megalith

converts each with the program and compares all bits of the result with the weights.

Sources of the layouts: Megatron-LM v1.0 (megatron/checkpointing.py, megatron/model), its releases since
(fix_query_key_value_ordering: row orders by checkpoint_version), core (names, shards); torch.save writes the files.
"""
import argparse
import collections
import enum
import itertools
import json
import pathlib
import random
import subprocess
import sys
import types

import numpy
import torch
from safetensors.torch import load_file, save_file

import gpt2_reference as reference

reference.HIDDEN, reference.HEADS, reference.KV_HEADS = 8, 4, 2
reference.VOCABULARY, reference.POSITIONS, reference.SWIGLU = 91, 16, 12
HEAD, PADDED, ITERATION = 2, 96, 7
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Layout = collections.namedtuple("Layout", "name llama layers tensor pipeline chunks version naming stream dtype")
COMMITTED = [
    Layout("v1-stream", False, 2, 2, 1, 1, 0, "v1", True, "fp32"),
    Layout("version1-fp16", False, 2, 2, 1, 1, 1.0, "legacy", False, "fp16"),
    Layout("version2-bf16-stream", False, 2, 4, 1, 1, 2.0, "legacy", True, "bf16"),
    Layout("core-pipeline", False, 2, 1, 2, 1, 3.0, "core", False, "fp32"),
    Layout("legacy-interleaved", False, 4, 2, 2, 2, 3.0, "legacy", False, "fp16"),
    Layout("core-llama", True, 2, 2, 1, 1, 3.0, "core", False, "fp32"),
]


def fake_class(module, name, base=object):
    """A class of Megatron-LM's, as far as the pickle is concerned."""
    sys.modules.setdefault(module, types.ModuleType(module))
    made = type(name, (base,), {"__module__": module, "__qualname__": name})
    setattr(sys.modules[module], name, made)
    return made


for parent in ("megatron", "megatron.fp16", "megatron.model"):
    sys.modules.setdefault(parent, types.ModuleType(parent))
LossScaler = fake_class("megatron.fp16.loss_scaler", "DynamicLossScaler")
MaskType = enum.Enum("AttnMaskType", "padding causal", module="megatron.model.enums")
sys.modules.setdefault("megatron.model.enums", types.ModuleType("megatron.model.enums")).AttnMaskType = MaskType


def fuse(layout, query, key, value):
    """One rank's query, key and value rows in the order of its checkpoint_version."""
    rest = query.shape[1:]
    if layout.version == 0:
        return torch.cat([query, key, value])
    groups = key.shape[0] // HEAD
    parts = [query.view(groups, -1, HEAD, *rest), key.view(groups, 1, HEAD, *rest), value.view(groups, 1, HEAD, *rest)]
    fused = torch.cat(parts, 1)  # [groups, queries + 2, head, ...]
    if layout.version == 1.0:
        fused = fused.transpose(1, 2)  # [heads, head, 3, ...]
    return fused.reshape(-1, *rest).contiguous()


def shard(tensor, layout, rank, dim):
    return tensor.chunk(layout.tensor, dim)[rank].contiguous()


def layer_tensors(weights, layout, rank, layer):
    """One rank's tensors of a layer under core names."""
    name = f"decoder.layers.{layer}."
    made = {}
    for kind in ("weight", "bias"):
        if f"{name}input_layernorm.{kind}" in weights:
            made[f"input_layernorm.{kind}"] = weights[f"{name}input_layernorm.{kind}"]
            made[f"pre_mlp_layernorm.{kind}"] = weights[f"{name}pre_mlp_layernorm.{kind}"]
        if f"{name}self_attention.query.{kind}" not in weights:
            continue
        made[f"self_attention.linear_qkv.{kind}"] = fuse(layout, *(
            shard(weights[f"{name}self_attention.{part}.{kind}"], layout, rank, 0)
            for part in ("query", "key", "value")))
        for part in ("self_attention.linear_proj", "mlp.linear_fc2"):
            whole = weights[f"{name}{part}.{kind}"]
            made[f"{part}.{kind}"] = shard(whole, layout, rank, 1) if kind == "weight" else whole
        parts = ("gate", "up") if layout.llama else ("linear_fc1",)
        made[f"mlp.linear_fc1.{kind}"] = torch.cat(
            [shard(weights[f"{name}mlp.{part}.{kind}"], layout, rank, 0) for part in parts])
    return made


LEGACY_NAMES = {"linear_qkv": "query_key_value", "self_attention.linear_proj": "self_attention.dense",
                "pre_mlp_layernorm": "post_attention_layernorm", "linear_fc1": "dense_h_to_4h",
                "linear_fc2": "dense_4h_to_h"}


def legacy_name(name, layout):
    for ours, theirs in LEGACY_NAMES.items():
        name = name.replace(ours, theirs)
    return name.replace("self_attention", "attention") if layout.naming == "v1" else name


def core_name(name):
    """As the layers with fused norms of Transformer Engine name them."""
    return (name.replace("input_layernorm.", "self_attention.linear_qkv.layer_norm_")
            .replace("pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_"))


def vocabulary_rows(tensor, layout, rank):
    padding = torch.full((PADDED - tensor.shape[0], tensor.shape[1]), 9.0, dtype=tensor.dtype)
    return shard(torch.cat([tensor, padding]), layout, rank, 0)


def model_state(weights, layout, rank, layers, first, last):
    """The "model" of one rank's file: some layers, renumbered from 0, with the ends that are there."""
    embedding, body = collections.OrderedDict(), collections.OrderedDict()
    word = vocabulary_rows(weights["embedding.word_embeddings.weight"], layout, rank)
    positions = weights.get("embedding.position_embeddings.weight")
    for local, layer in enumerate(layers):
        for name, tensor in layer_tensors(weights, layout, rank, layer).items():
            name = core_name(name) if layout.naming == "core" else legacy_name(name, layout)
            body[f"layers.{local}.{name}"] = tensor
        if layout.naming == "core":
            body[f"layers.{local}.self_attention.core_attention._extra_state"] = None
    if last:
        for kind in ("weight", "bias"):
            if f"decoder.final_layernorm.{kind}" in weights:
                body[f"final_layernorm.{kind}"] = weights[f"decoder.final_layernorm.{kind}"]
    output = weights.get("output_layer.weight")
    if layout.naming == "core":
        state = collections.OrderedDict((f"decoder.{name}", tensor) for name, tensor in body.items())
        if first:
            state["embedding.word_embeddings.weight"] = word
            if positions is not None:
                state["embedding.position_embeddings.weight"] = positions
        if last and (output is not None or layout.pipeline > 1):
            state["output_layer.weight"] = word if output is None else vocabulary_rows(output, layout, rank)
        return state
    language = {"transformer" if layout.naming == "v1" else "encoder": body}
    if first:
        embedding["word_embeddings"] = collections.OrderedDict(weight=word)
        embedding["position_embeddings"] = collections.OrderedDict(weight=positions)
        language["embedding"] = embedding
    state = {"language_model": language}
    if last and layout.pipeline > 1:
        state["word_embeddings_for_head"] = collections.OrderedDict(weight=word)
    return state


def arguments(layout):
    args = argparse.Namespace(
        num_layers=layout.layers, hidden_size=reference.HIDDEN, num_attention_heads=reference.HEADS,
        max_position_embeddings=reference.POSITIONS, make_vocab_size_divisible_by=8, padded_vocab_size=PADDED,
        tokenizer_type="NullTokenizer", vocab_size=reference.VOCABULARY - 1, hidden_dropout=0.1, lr=1.5e-4,
        data_path=["some", "where"], save=None, params_dtype=torch.half, attn_mask_type=MaskType.causal)
    if layout.naming == "v1":
        args.model_parallel_size, args.batch_size, args.world_size = layout.tensor, 4, 3 * layout.tensor
        args.bias_gelu_fusion, args.openai_gelu, args.layernorm_epsilon = True, False, 1e-5
        return args
    args.tensor_model_parallel_size, args.pipeline_model_parallel_size = layout.tensor, layout.pipeline
    args.consumed_train_samples, args.add_bias_linear = 1234, not layout.llama
    args.position_embedding_type, args.normalization = "learned_absolute", "LayerNorm"
    args.bias_gelu_fusion, args.swiglu, args.norm_epsilon = not layout.llama, layout.llama, 1e-5
    args.ffn_hidden_size, args.kv_channels = 4 * reference.HIDDEN, HEAD
    args.untie_embeddings_and_output_weights = layout.llama
    if layout.llama:
        args.position_embedding_type, args.normalization = "rope", "RMSNorm"
        args.rotary_base, args.rotary_percent, args.ffn_hidden_size = 10000, 1.0, reference.SWIGLU
        args.group_query_attention, args.num_query_groups = True, reference.KV_HEADS
    return args


def rank_state(weights, layout, rank, stage):
    state = {"args": arguments(layout), "iteration": ITERATION}
    if layout.version != 0:
        state["checkpoint_version"] = layout.version
    per_chunk = layout.layers // (layout.pipeline * layout.chunks)
    for chunk in range(layout.chunks):
        start = (chunk * layout.pipeline + stage) * per_chunk
        made = model_state(weights, layout, rank, range(start, start + per_chunk), start == 0,
                           start + per_chunk == layout.layers)
        state["model" if layout.chunks == 1 else f"model{chunk}"] = made
    if rank == 0 and stage == 0:  # what a reader of weights has to step over
        scaler = LossScaler()
        scaler.cur_scale, scaler.last = 65536.0, None
        moments = {"step": 7, "exp_avg": torch.zeros(3)}
        state["optimizer"] = {"optimizer": {"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0]}]},
                              "loss_scaler": scaler}
        state["lr_scheduler"] = {"num_iters": ITERATION, "decay_style": "cosine"}
        state["random_rng_state"] = random.Random(1).getstate()
        state["np_rng_state"] = numpy.random.RandomState(1).get_state()
        state["torch_rng_state"] = torch.arange(16, dtype=torch.uint8)
        state["seen"] = {1, 2}
    return state


def write(folder, weights, layout):
    converted = {name: tensor.to(DTYPES[layout.dtype]) for name, tensor in weights.items()}
    for rank, stage in itertools.product(range(layout.tensor), range(layout.pipeline)):
        name = f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if layout.pipeline > 1 else "")
        path = folder / f"iter_{ITERATION:07d}" / name / "model_optim_rng.pt"
        path.parent.mkdir(parents=True)
        torch.save(rank_state(converted, layout, rank, stage), path, _use_new_zipfile_serialization=not layout.stream)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(ITERATION))


def make_model(llama, layers):
    reference.LAYERS = layers
    weights = reference.make_weights(torch.Generator().manual_seed(20 + layers), llama)
    if llama:
        model, renamed = reference.llama_model(), reference.to_llama_names(weights)
    else:
        model, renamed = reference.gpt2_model("gelu_new"), reference.to_gpt2_names(weights)
    missing = model.load_state_dict({name: tensor.double() for name, tensor in renamed.items()}, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    tokens = torch.randint(0, reference.VOCABULARY, (2, reference.POSITIONS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(tokens).logits
    return weights, tokens, logits


def all_layouts():
    for tensor, version, naming, stream, dtype in itertools.product(
            (1, 2, 4), (0, 1.0, 2.0, 3.0), ("v1", "legacy", "core"), (False, True), DTYPES):
        name = f"t{tensor}-v{version}-{naming}-{'stream' if stream else 'zip'}-{dtype}"
        yield Layout(name, False, 4, tensor, 1, 1, version, naming, stream, dtype)
    for tensor, pipeline, chunks, naming in itertools.product((1, 2), (2, 4), (1, 2), ("legacy", "core")):
        if pipeline * chunks <= 4:
            name = f"t{tensor}-p{pipeline}-c{chunks}-{naming}"
            yield Layout(name, False, 4, tensor, pipeline, chunks, 3.0, naming, False, "fp16")
    for tensor, stream in itertools.product((1, 2), (False, True)):
        yield Layout(f"llama-t{tensor}-{stream}", True, 4, tensor, 1, 1, 3.0, "core", stream, "bf16")


def convert_all(output, program):
    count = 0
    for layout in all_layouts():
        weights, _, _ = make_model(layout.llama, layout.layers)
        write(output / layout.name, weights, layout)
        save = output / (layout.name + "-converted")
        done = subprocess.run([program, "checkpoint", "convert", "--load", output / layout.name, "--save", save],
                              capture_output=True, text=True)
        assert done.returncode == 0, (layout, done.stderr)
        found = load_file(save / f"iter_{ITERATION:07d}" / "model_00000.safetensors")
        assert found.keys() == weights.keys(), (layout, found.keys() ^ weights.keys())
        for name, tensor in weights.items():
            expected = tensor.to(DTYPES[layout.dtype])
            assert found[name].dtype == expected.dtype and torch.equal(found[name], expected), (layout, name)
        count += 1
    print(f"{count} layouts converted, every weight equal bit for bit")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--program")
    options = parser.parse_args()
    if options.all:
        return convert_all(options.output, options.program)
    for layout in COMMITTED:
        weights, tokens, logits = make_model(layout.llama, layout.layers)
        write(options.output / layout.name, weights, layout)
        name = "llama" if layout.llama else f"gpt2_{layout.layers}"
        save_file({**weights, "input_ids": tokens, "logits": logits.float()},
                  options.output / f"{name}.safetensors",
                  {"made_by": "tests/oracles/upstream_checkpoints.py",
                   "config": json.dumps({"layers": layout.layers, "hidden": reference.HIDDEN})})


if __name__ == "__main__":
    main()
