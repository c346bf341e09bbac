"""Training of BERT base on this machine's CPU: megalith beside transformers' BERT in PyTorch.

    make bench                          (or, after `make build` and `tools/setup --bench`:)
    .venv/bin/python bench/bert.py [--blocks 5] [--only fp32-8x128 bf16-8x128 fp32-2x512 bf16-2x512]

12 layers, 768 wide, the norms on the residual path as in the original BERT, masked words and sentence order. Turns,
medians and memory are told in side_by_side.py; 2 threads in all. The text is tiny Shakespeare as one document, with a
vocabulary of its words in BERT's size, so that samples are full: nothing is gained from padding. The peers
(torch_bert.py) run with malloc told to keep its memory: BertForPreTraining as it comes, with the logits of every
position; BertModel with the same heads on the masked positions alone, as ours; and that compiled by torch.compile.
Losses are compared with the first of --peers. Needs about 25 minutes of an otherwise idle machine of two cores; writes
runs/bench-bert/.
"""
import argparse
import re

import side_by_side
from side_by_side import KEEP_MEMORY, ROOT

RUN = ROOT / "runs/bench-bert"
TEXT = ROOT / "assets/tinyshakespeare/input.txt"
TOKENIZER = ["--tokenizer-type", "BertWordPieceLowerCase", "--vocab-file", RUN / "vocab.txt"]
VOCABULARY = 30522
CASES = {  # name: (dtype, batch, sequence, iterations of a block)
    "fp32-8x128": ("fp32", 8, 128, 4),
    "bf16-8x128": ("bf16", 8, 128, 5),
    "fp32-2x512": ("fp32", 2, 512, 4),
    "bf16-2x512": ("bf16", 2, 512, 5),
}
PEERS = {  # name: words for torch_bert.py
    "BertForPreTraining": [],
    "BertModel, masked logits": ["--masked-logits"],
    "BertModel, masked, compiled": ["--masked-logits", "--compile"],
}


class Bert(side_by_side.Case):
    family, peer_script, sample_flags = "bert", "torch_bert.py", ["--dataset", "bert"]

    def model_flags(self):
        return ["--num-layers", 12, "--hidden-size", 768, "--num-attention-heads", 12, "--max-position-embeddings", 512,
                "--apply-residual-connection-post-layernorm", "--norm-epsilon", "1e-12", "--short-seq-prob", 0,
                "--data-path", RUN / "text_text_sentence", *TOKENIZER]


def write_vocabulary(path):
    """Every word of the text is an entry; entries that no text gives fill it up to BERT's size."""
    words = sorted(set(re.findall(r"[a-z]+|[^a-z\s]", TEXT.read_text().lower())))
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    entries += [f"[unused{i}]" for i in range(VOCABULARY - len(entries))]
    path.write_text("\n".join(entries) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", default="build/release/megalith")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--compared", type=int, default=20, help="iterations whose losses are compared; 0: times alone")
    parser.add_argument("--iterations", type=int, help="of a block, instead of each case's own")
    args = parser.parse_args()
    side_by_side.empty_folder(RUN)
    write_vocabulary(RUN / "vocab.txt")
    side_by_side.run([args.megalith, "preprocess", "--input", TEXT, "--output-prefix", RUN / "text",
                      "--split-sentences", *TOKENIZER])
    side_by_side.print_header(args.blocks)
    for name in args.only:
        case = Bert(args.megalith, RUN, name, *CASES[name])
        case.iterations = args.iterations or case.iterations
        case.compared = max(args.compared, case.iterations)
        case.prepare()
        if args.compared:
            case.check_losses(*PEERS[args.peers[0]])
        programs = {"megalith": lambda: case.ours(case.iterations)}
        for peer in args.peers:
            programs[peer] = lambda words=PEERS[peer]: case.peer(case.iterations, KEEP_MEMORY, *words)
        side_by_side.report(case, side_by_side.take_turns(programs, args.blocks), best=args.peers)


if __name__ == "__main__":
    main()
