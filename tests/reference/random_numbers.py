"""What PyTorch's CPU generator draws, in tests/fixtures/random.safetensors.

CALL.SEED.N: the N numbers of CALL right after torch.manual_seed(SEED), where CALL is
  randn, rand, randn_f64, rand_f64
  randint_HIGH            integers in [0, HIGH), i64
  randperm                i64
sequence.K: in this order after torch.manual_seed(7), from one generator: randn(3), randn(3), randn(20), rand(5),
  randn(1), randint(0, 10, (4,)), randn(16), randperm(6), randn(2)
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "random.safetensors"

CALLS = {
    "randn": torch.randn,
    "rand": torch.rand,
    "randn_f64": lambda n: torch.randn(n, dtype=torch.float64),
    "rand_f64": lambda n: torch.rand(n, dtype=torch.float64),
    "randint_10": lambda n: torch.randint(0, 10, (n,)),
    "randint_1000": lambda n: torch.randint(0, 1000, (n,)),
    "randperm": torch.randperm,
}
SEQUENCE = [
    lambda: torch.randn(3),
    lambda: torch.randn(3),
    lambda: torch.randn(20),
    lambda: torch.rand(5),
    lambda: torch.randn(1),
    lambda: torch.randint(0, 10, (4,)),
    lambda: torch.randn(16),
    lambda: torch.randperm(6),
    lambda: torch.randn(2),
]

if __name__ == "__main__":
    found = {}
    for seed in (0, 42):
        for name, call in CALLS.items():
            for n in (1, 3, 8, 15, 16, 20, 32, 100):
                torch.manual_seed(seed)
                found[f"{name}.{seed}.{n}"] = call(n)
    torch.manual_seed(7)
    found |= {f"sequence.{k}": call() for k, call in enumerate(SEQUENCE)}
    save_file(found, FIXTURE)
    print(f"{len(found)} tensors, {FIXTURE.stat().st_size} bytes")
