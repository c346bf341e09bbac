"""The PyTorch peer of bench/finetune.py: transformers' BERT with the head of a task, in a plain loop.

    .venv/bin/python bench/torch_finetune.py --model FOLDER --features features.json --head classes --batch 16 \\
        --epochs 2 --lr 1e-4 --seed 1 --output result.json [--dropout 0.1] [--length 256] [--padding-gradient]

BertForSequenceClassification, BertForMultipleChoice or BertForQuestionAnswering as from_pretrained gives them, new
heads included; AdamW with decay on matrices alone, warm-up over a tenth of the steps and linear decay, clipping at 1,
fp32. Features come from finetune_data.py. Rows are padded to the longest of their batch, or to --length. The result:
the loss of every step, and the logits of the dev examples. --padding-gradient trains the embedding of [PAD] too, as
BERT's run_squad and megalith do; transformers gives it no gradient. It has one for spans alone, whose loss counts the
padding's places.
"""
import argparse
import json
import pathlib
import sys
import time

import torch
import torch_loop
from torch import nn

# This file's own folder would hide the package `tokenizers` from transformers.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]
import transformers  # noqa: E402

HEADS = {"classes": transformers.BertForSequenceClassification, "choices": transformers.BertForMultipleChoice,
         "spans": transformers.BertForQuestionAnswering}


def make_batch(examples, args):
    """input_ids, token_type_ids and attention_mask as the class of the head takes them."""
    rows = [row for example in examples for row in example["rows"]]
    width = args.length or max(len(ids) for ids, _ in rows)
    ids, types, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for i, (row_ids, row_types) in enumerate(rows):
        ids[i, :len(row_ids)] = torch.tensor(row_ids)
        types[i, :len(row_ids)] = torch.tensor(row_types)
        mask[i, :len(row_ids)] = 1
    if args.head == "choices":
        ids, types, mask = (x.view(len(examples), -1, width) for x in (ids, types, mask))
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def make_labels(examples, args):
    labels = torch.tensor([example["label"] for example in examples])
    if args.head == "spans":
        return {"start_positions": labels[:, 0], "end_positions": labels[:, 1]}
    return {"labels": labels}


def rate(step, steps, warm_up):
    return step / warm_up if step <= warm_up else 1 - (step - warm_up) / (steps - warm_up)


def train(model, examples, args):
    """The loss of every step."""
    optimizer = torch_loop.adamw(model, args.lr, args.weight_decay)
    per_epoch = len(examples) // args.batch  # what does not fill a batch is left out, others each time
    steps = per_epoch * args.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, 0.1 * steps))
    losses = []
    model.train()
    for _ in range(args.epochs):
        order = torch.randperm(len(examples)).tolist()
        for k in range(per_epoch):
            batch = [examples[i] for i in order[k * args.batch:(k + 1) * args.batch]]
            loss = model(**make_batch(batch, args), **make_labels(batch, args)).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
    return losses


def predict(model, examples, args):
    """Of classes and choices a list of logits an example; of spans the starts and the ends of every place."""
    logits = []
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(examples), args.batch):
            output = model(**make_batch(examples[at:at + args.batch], args))
            if args.head == "spans":
                logits += torch.stack([output.start_logits, output.end_logits], dim=1).tolist()
            else:
                logits += output.logits.tolist()
    return logits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "features", "output"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--head", choices=HEADS, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--length", type=int, default=0)
    parser.add_argument("--padding-gradient", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data = json.loads(pathlib.Path(args.features).read_text())
    words = {} if args.head == "choices" else {"num_labels": data["outputs"]}
    model = HEADS[args.head].from_pretrained(
        args.model, dtype=torch.float32, hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout,
        **words)
    if args.padding_gradient:
        model.bert.embeddings.word_embeddings.padding_idx = None
    begin = time.perf_counter()
    losses = train(model, data["train"], args)
    seconds = time.perf_counter() - begin
    result = {"losses": losses, "seconds": seconds, "logits": predict(model, data["dev"], args)}
    pathlib.Path(args.output).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
