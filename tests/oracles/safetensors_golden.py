"""Small safetensors files written by the safetensors package, read by the checkpoint tests.

HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/safetensors_golden.py tests/golden/safetensors

all_types.safetensors: every supported type with NaN payloads, a scalar and an empty tensor.
all_types.json: for each tensor its type, shape and bytes as hexadecimal text.
With --check FILE: opens a file of ours by the package and prints what it finds, as JSON.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}


def raw(tensor):
    return tensor.detach().clone().contiguous().flatten().view(torch.uint8).numpy().tobytes().hex()


def describe(tensors):
    return {name: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "bytes": raw(t)}
            for name, t in tensors.items()}


def from_bits(bits, integer, dtype):
    return torch.tensor(bits, dtype=integer).view(dtype)


def make(folder):
    generator = torch.Generator().manual_seed(1234)
    tensors = {
        "weights.f32": torch.randn(3, 5, generator=generator),
        "weights.f64": torch.randn(2, 2, 3, generator=generator, dtype=torch.float64),
        "weights.f16": torch.randn(7, generator=generator).half(),
        "weights.bf16": torch.randn(5, 2, generator=generator).bfloat16(),
        "nan.f32": from_bits([0x7FC00001, 0x7F800001, -0x400000 + 5, 0x7F800000], torch.int32,
                             torch.float32),
        "nan.bf16": from_bits([0x7FC1, 0x7F81, -0x3F, 0x7F80], torch.int16, torch.bfloat16),
        "ids.i64": torch.tensor([0, -1, 2**62, -(2**63)]),
        "ids.i32": torch.arange(-3, 3, dtype=torch.int32).reshape(2, 3),
        "ids.i16": torch.tensor([-32768, 32767], dtype=torch.int16),
        "ids.i8": torch.tensor([-128, 127, 0], dtype=torch.int8),
        "bytes.u8": torch.arange(250, 256, dtype=torch.uint8),
        "mask.bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "all_types.safetensors", metadata={"origin": "safetensors package"})
    (folder / "all_types.json").write_text(json.dumps(describe(tensors), indent=1) + "\n")


def check(path):
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        print(json.dumps({"metadata": file.metadata(), "tensors": describe(tensors)}))


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        make(Path(sys.argv[1]))
