"""Writes tests/fixtures/safetensors_python.safetensors: every dtype stipple reads, as the reference implementation saves it."""
import pathlib

import torch
from safetensors.torch import save_file

fixtures = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
save_file(
    {
        "f32": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
        "f64": torch.tensor([0.1, -2.5], dtype=torch.float64),
        "bf16": torch.tensor([1.0, -0.5, 3.140625], dtype=torch.bfloat16),
        "i64": torch.tensor([[-1], [2**40]]),
        "i32": torch.tensor([7, -8, 9], dtype=torch.int32),
        "u8": torch.tensor([0, 128, 255], dtype=torch.uint8),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        'a "quoted" näme': torch.ones(1),
    },
    fixtures / "safetensors_python.safetensors",
    metadata={"format": "pt"},
)
