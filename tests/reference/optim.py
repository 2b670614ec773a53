"""Optimizers, moving averages and learning-rate schedules, as numbers in tests/fixtures/optim.json.

adam, adamw   five steps in f64 from `start` along `gradients`: the parameters after each; `clip`: largest norm, 0: none
ema           for each configuration of diffusers' EMAModel the decay at its step k, from 1
lr            for each schedule of diffusers' optimization.py the factor on the learning rate at step k, from 0
"""

import json
from pathlib import Path

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "optim.json"
STEPS = 24
LR_STEPS = 40
LEARNING_RATE = 1e-3  # "polynomial" ends at 1e-7 whatever this is

ADAM = [
    dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, clip=0.0),
    dict(lr=1e-2, betas=(0.95, 0.999), eps=1e-6, weight_decay=0.1, clip=0.5),
]
ADAMW = [
    dict(lr=1e-4, betas=(0.95, 0.999), eps=1e-8, weight_decay=1e-6, clip=1.0),
    dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1, clip=0.0),
]
EMA = [
    dict(),
    dict(decay=0.5),
    dict(use_ema_warmup=True, inv_gamma=1.0, power=0.75),
    dict(use_ema_warmup=True, inv_gamma=2.0, power=2 / 3, decay=0.8),
    dict(update_after_step=5),
    dict(use_ema_warmup=True, update_after_step=3, min_decay=0.2),
]
LR = [
    ("constant", {}),
    ("constant_with_warmup", dict(num_warmup_steps=5)),
    ("linear", dict(num_warmup_steps=4)),
    ("linear", dict(num_warmup_steps=0)),
    ("cosine", dict(num_warmup_steps=6)),
    ("cosine", dict(num_warmup_steps=0)),
    ("piecewise_constant", dict(step_rules="1:10,0.1:20,0.01")),
    ("cosine_with_restarts", dict(num_warmup_steps=4, num_cycles=3)),
    ("polynomial", dict(num_warmup_steps=3)),
    ("polynomial", dict(num_warmup_steps=0, power=2.0)),
]


def optimizer_steps(
    kind: type, clip: float, start: torch.Tensor, gradients: torch.Tensor, **options
) -> list[list[float]]:
    parameter = torch.nn.Parameter(start.clone())
    optimizer = kind([parameter], **options)
    path = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        if clip:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        optimizer.step()
        path.append(parameter.tolist())
    return path


def ema_decays(options: dict) -> list[float]:
    """The decay of the k-th call of EMAModel.step(), which counts before it asks."""
    average = EMAModel([torch.nn.Parameter(torch.zeros(1))], **options)
    return [float(average.get_decay(k)) for k in range(1, STEPS + 1)]


def lr_factors(name: str, options: dict) -> list[float]:
    """Of a run of LR_STEPS steps; then three more, for whoever trains on."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
    schedule = get_scheduler(name, optimizer, num_training_steps=LR_STEPS, **options)
    return [schedule.lr_lambdas[0](k) for k in range(LR_STEPS + 3)]


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, generator=generator).double()
    gradients = torch.randn(5, 6, generator=generator).double()
    gradients[:, 5] *= 1e-7  # where epsilon counts

    def paths(kind: type, settings: list[dict]) -> list[dict]:
        return [
            options | {"after": optimizer_steps(kind, start=start, gradients=gradients, **options)}
            for options in settings
        ]

    sections = {
        "start": start.tolist(),
        "gradients": gradients.tolist(),
        "adam": paths(torch.optim.Adam, ADAM),
        "adamw": paths(torch.optim.AdamW, ADAMW),
        "ema": [{"options": options, "decay": ema_decays(options)} for options in EMA],
        "lr": [
            {
                "name": name,
                "learning_rate": LEARNING_RATE,
                "training_steps": LR_STEPS,
                "options": options,
                "factor": lr_factors(name, options),
            }
            for name, options in LR
        ],
    }
    lines = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sections.items())
    FIXTURE.write_text("{" + lines + "}\n")
    print(f"{len(sections)} sections, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
