#!/usr/bin/env python3
"""Opens index files with NumPy and computes the orders again with NumPy alone.

Run after `megalith data index`, for a dataset of any size:
    megalith data index --data-path PREFIX --seq-length S --num-samples N,0,0 --split 1,0,0 \
        --data-cache-path DIR
    python tests/oracles/index_cache.py PREFIX DIR S N [SEED]
"""
import glob
import io
import struct
import sys

import numpy


def sequence_lengths(prefix):
    with open(prefix + ".idx", "rb") as file:
        assert file.read(9) == b"MMIDIDX\x00\x00"
        _, _, count, _ = struct.unpack("<QBQQ", file.read(25))
        return numpy.frombuffer(file.read(4 * count), "<i4")


def orders(lengths, size, wanted, seed):
    """Document, sample and shuffle index by the written rules, without a loop over tokens."""
    tokens = int(lengths.sum(dtype=numpy.int64))
    epochs = max(1, -(-(wanted * size + 1) // tokens))
    before = ((epochs - 1) * tokens - 1) // size
    separate = epochs > 1 and wanted - before < int(0.80 * ((tokens - 1) // size))
    random = numpy.random.RandomState(seed)
    parts = [epochs - 1, 1] if separate else [epochs]
    documents = []
    for part in parts:
        ids = numpy.tile(numpy.arange(len(lengths), dtype=numpy.int32), part)
        random.shuffle(ids)
        documents.append(ids)
    documents = numpy.concatenate(documents)
    ends = numpy.cumsum(lengths[documents], dtype=numpy.int64)
    count = (epochs * tokens - 1) // size
    starts = numpy.arange(count + 1, dtype=numpy.int64) * size
    # A window starts on the last token of the one before, in the document that holds that token.
    position = numpy.searchsorted(ends, starts, side="right")
    offset = starts - (ends - lengths[documents])[position]
    samples = numpy.stack([position, offset], axis=1).astype(numpy.int32)
    first = before if separate else count
    shuffle = numpy.arange(count, dtype=numpy.uint32)
    random.shuffle(shuffle[:first])
    random.shuffle(shuffle[first:])
    return documents, samples, shuffle


def main():
    prefix, folder, size, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1234
    expected = orders(sequence_lengths(prefix), size, wanted, seed)
    for name, array in zip(("document_index", "sample_index", "shuffle_index"), expected):
        (path,) = glob.glob(f"{folder}/*-GPTDataset-train-{name}.npy")
        loaded = numpy.load(path, allow_pickle=False, mmap_mode="r")
        assert loaded.dtype == array.dtype and loaded.shape == array.shape, (name, loaded.dtype)
        assert numpy.array_equal(loaded, array), name
        again = io.BytesIO()
        numpy.save(again, array)
        assert again.getvalue() == open(path, "rb").read(), f"{name}: other bytes than numpy.save"
        print(f"{name}: {loaded.dtype} {loaded.shape} equal")


if __name__ == "__main__":
    main()
