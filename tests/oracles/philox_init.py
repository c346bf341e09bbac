"""Initial weights as golden values: element i of the global tensor "name" under a seed.

    .venv/bin/python tests/oracles/philox_init.py > tests/golden/philox_init.json

An implementation of its own, in Python integers: the key is splitmix64's finaliser folded over the seed and the
name's bytes; block b = i // 4 is Philox4x32-10 (Salmon et al. 2011) with the key's halves and the counter b; its four
words make four normals by Box and Muller. Also checks Philox against the known answers of its authors' kat_vectors,
and keeps values of the mixed keys and uniforms.
"""
import json
import math

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return x ^ (x >> 31)


def name_key(name, seed):
    key = mix(seed & MASK64)
    for byte in name.encode():
        key = mix(key ^ byte)
    return key


def mix_key(words):
    key = 0
    for word in words:
        key = mix(key ^ (word & MASK64))
    return key


def philox4x32_10(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c


def normal(name, seed, index, std):
    key, block = name_key(name, seed), index // 4
    words = philox4x32_10([block & MASK32, block >> 32, 0, 0], [key & MASK32, key >> 32])
    pair, second = divmod(index % 4, 2)
    radius = math.sqrt(-2 * math.log((words[2 * pair] + 0.5) / 2**32))
    angle = 2 * math.pi * (words[2 * pair + 1] + 0.5) / 2**32
    return std * radius * (math.sin(angle) if second else math.cos(angle))


def check_known_answers():
    assert philox4x32_10([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox4x32_10([MASK32] * 4, [MASK32] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = philox4x32_10([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0])
    assert pi == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def main():
    check_known_answers()
    normals = []
    for name, seed in (("embedding.word_embeddings.weight", 1234), ("decoder.layers.0.mlp.linear_fc1.weight", 0),
                       ("x", -7), ("decoder.layers.71.self_attention.query.weight", 2**40 + 3)):
        for index in (0, 1, 2, 3, 4, 5, 1023, 51200 * 3072 - 1, 2**32 * 4, 2**34 + 6):
            normals.append({"name": name, "seed": seed, "index": index, "value": normal(name, seed, index, 0.02)})
    keys = [[], [0], [1, 2, 3], [-1], [2**62, -5, 0]]
    print(json.dumps({
        "made_by": "tests/oracles/philox_init.py", "std": 0.02, "normals": normals,
        "keys": [{"words": words, "key": mix_key(words), "uniform": (mix_key(words) >> 11) / 2**53} for words in keys],
    }, indent=1))


if __name__ == "__main__":
    main()
