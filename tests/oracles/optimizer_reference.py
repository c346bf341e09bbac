"""Parameters after each of many steps of torch.optim.AdamW and torch.optim.SGD, in float64.

    .venv/bin/python tests/oracles/optimizer_reference.py > tests/golden/optimizer_reference.json

Gradients and learning rates change every step; step t uses gradients[t] * gradient_scale.
"""
import json

import torch

STEPS, SIZE = 60, 7


def run(make, gradients, rates, scale, start):
    parameter = torch.nn.Parameter(start.clone())
    optimizer = make([parameter])
    states = []
    for gradient, rate in zip(gradients, rates):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = gradient * scale
        optimizer.step()
        states.append(parameter.detach().tolist())
    return states


def main():
    generator = torch.Generator().manual_seed(1234)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    start = draw(SIZE)
    gradients = draw(STEPS, SIZE) * torch.logspace(-6, 3, SIZE, dtype=torch.float64)  # tiny to huge
    rates = [0.01 * min(1, (t + 1) / 10) * (1 - t / (2 * STEPS)) for t in range(STEPS)]
    cases = []
    for decay in (0.0, 0.01, 0.1):
        for betas, epsilon in (((0.9, 0.999), 1e-8), ((0.8, 0.95), 1e-5)):
            for scale in (1.0, 0.125):
                make = lambda p: torch.optim.AdamW(p, betas=betas, eps=epsilon, weight_decay=decay)
                cases.append({"kind": "adam", "betas": betas, "epsilon": epsilon, "weight_decay": decay,
                              "scale": scale, "parameters": run(make, gradients, rates, scale, start)[::6]})
        for momentum in (0.0, 0.9):
            make = lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum, weight_decay=decay)
            cases.append({"kind": "sgd", "momentum": momentum, "weight_decay": decay, "scale": 0.5,
                          "parameters": run(make, gradients, rates, 0.5, start)[::6]})
    print(json.dumps({"made_by": "tests/oracles/optimizer_reference.py", "start": start.tolist(), "every": 6,
                      "learning_rates": rates, "gradients": gradients.tolist(), "cases": cases}))


if __name__ == "__main__":
    main()
