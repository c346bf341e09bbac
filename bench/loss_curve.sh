#!/usr/bin/env bash
# Trains a small GPT-2 on tiny Shakespeare for 200 iterations here and in plain PyTorch, from the same initial
# weights, on the same samples, without dropout, and prints both loss curves and their largest difference.
#
#   bench/loss_curve.sh            after `make build` and `tools/setup --oracles`; writes runs/loss_curve/
set -euo pipefail
cd "$(dirname "$0")/.."
megalith=${MEGALITH:-build/release/megalith}
run=runs/loss_curve
rm -rf "$run"
mkdir -p "$run"
tokenizer=(--tokenizer-type GPT2BPETokenizer --vocab-file assets/gpt2/vocab.json
  --merge-file assets/gpt2/merges.txt)
$megalith preprocess --input assets/tinyshakespeare/input.txt --output-prefix "$run/text" \
  "${tokenizer[@]}" --document-separator blank-line --append-eod 2>/dev/null
shape=(--num-layers 2 --hidden-size 128 --num-attention-heads 4 --seq-length 64 --openai-gelu
  --hidden-dropout 0 --attention-dropout 0 --make-vocab-size-divisible-by 1)
schedule=(--global-batch-size 8 --lr 1e-3 --min-lr 1e-4 --lr-decay-style cosine --lr-decay-iters 200
  --lr-warmup-iters 20)
train=("${shape[@]}" "${schedule[@]}" "${tokenizer[@]}" --micro-batch-size 8 --eval-iters 0
  --data-path "$run/text_text_document" --split 90,5,5)
$megalith pretrain gpt "${train[@]}" --train-iters 200 --exit-interval 1 --lr 1e-30 --min-lr 0 \
  --weight-decay 0 --save "$run/initial" >/dev/null
$megalith data samples "${train[@]}" --train-iters 200 --which train --first 0 --count 1600 \
  >"$run/samples.jsonl"
$megalith pretrain gpt "${train[@]}" --train-iters 200 --log-interval 20 --save "$run/ours"
HF_HUB_OFFLINE=1 .venv/bin/python tests/oracles/train_reference.py \
  --weights "$run/initial/iter_0000001/model_00000.safetensors" --samples "$run/samples.jsonl" \
  --num-attention-heads 4 --openai-gelu "${schedule[@]}" --train-iters 200 --output "$run/torch.json"
.venv/bin/python - "$run" <<'PY'
import json, sys
run = sys.argv[1]
ours = [json.loads(l)["lm_loss"] for l in open(f"{run}/ours/metrics.jsonl") if "lm_loss" in json.loads(l)]
torch = json.load(open(f"{run}/torch.json"))["losses"]
assert len(ours) == len(torch) == 200
print("iteration  megalith   PyTorch")
for i in [0, 19, 39, 59, 79, 99, 119, 139, 159, 179, 199]:
    print(f"{i + 1:9d}  {ours[i]:.6f}  {torch[i]:.6f}")
print("largest difference", max(abs(a - b) for a, b in zip(ours, torch)))
PY
