"""Training of GPT-2 124M on this machine's CPU: megalith beside PyTorch, and on two ranks beside one process.

    make bench                          (or, after `make build` and `tools/setup --bench`:)
    .venv/bin/python bench/training.py [--blocks 5] [--only fp32-4x64 bf16-4x64 fp32-1x1024 bf16-1x1024 ranks]

Turns, medians and memory are told in side_by_side.py; the text is tiny Shakespeare, 2 threads in all. The peer
(torch_gpt2.py) runs with malloc told to keep its memory, and compiled by torch.compile with the same malloc; ours runs
as it comes. The last lines put two ranks of one thread beside one process of two threads. Needs about 35 minutes of an
otherwise idle machine of two cores; writes runs/bench/.
"""
import argparse

import side_by_side
from side_by_side import KEEP_MEMORY, ROOT

RUN = ROOT / "runs/bench"
TOKENIZER = ["--tokenizer-type", "GPT2BPETokenizer", "--vocab-file", "assets/gpt2/vocab.json",
             "--merge-file", "assets/gpt2/merges.txt"]
CASES = {  # name: (dtype, batch, sequence, iterations of a block)
    "fp32-4x64": ("fp32", 4, 64, 9),
    "bf16-4x64": ("bf16", 4, 64, 11),
    "fp32-1x1024": ("fp32", 1, 1024, 4),
    "bf16-1x1024": ("bf16", 1, 1024, 6),
}


class Gpt2(side_by_side.Case):
    family, peer_script = "gpt", "torch_gpt2.py"

    def model_flags(self):
        return ["--config", "configs/gpt2_124m.toml", "--max-position-embeddings", 1024,
                "--data-path", RUN / "text_text_document"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalith", default="build/release/megalith")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*CASES, "ranks"], default=[*CASES, "ranks"])
    parser.add_argument("--as-it-comes", action="store_true", help="also the peer without its malloc settings")
    args = parser.parse_args()
    side_by_side.empty_folder(RUN)
    side_by_side.run([args.megalith, "preprocess", "--input", "assets/tinyshakespeare/input.txt", "--output-prefix",
                      RUN / "text", *TOKENIZER, "--document-separator", "blank-line", "--append-eod"])
    side_by_side.print_header(args.blocks)
    for name in args.only:
        if name == "ranks":
            continue
        case = Gpt2(args.megalith, RUN, name, *CASES[name])
        case.prepare()
        case.check_losses()
        peers = {"PyTorch, malloc kept": lambda: case.peer(case.iterations, KEEP_MEMORY),
                 "PyTorch, compiled, malloc kept": lambda: case.peer(case.iterations, KEEP_MEMORY, "--compile")}
        if args.as_it_comes:
            peers["PyTorch as it comes"] = lambda: case.peer(case.iterations, {})
        ours = {"megalith": lambda: case.ours(case.iterations)}
        side_by_side.report(case, side_by_side.take_turns(ours | peers, args.blocks), best=list(peers))
    if "ranks" in args.only:
        for name in CASES:
            case = Gpt2(args.megalith, RUN, name, *CASES[name])
            case.prepare()
            programs = {"one process, 2 threads": lambda: case.ours(case.iterations),
                        "tensor 2, 1 thread a rank": lambda: case.ours(case.iterations, 2, 2, 1)}
            if case.batch > 1:
                programs["data 2, 1 thread a rank"] = lambda: case.ours(case.iterations, 2, 1, 1)
            side_by_side.report(case, side_by_side.take_turns(programs, args.blocks), best=["one process, 2 threads"])


if __name__ == "__main__":
    main()
