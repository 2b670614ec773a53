"""The colour guidance of Hugging Face's diffusion course (unit 2, "Fine-Tuning and Guidance"), both routes, on small U-Nets.

tests/fixtures/guidance.json         {"color", "cases": numbered NNN by their place: {"unet": a folder of fixtures/unets,
                                     "config": what scheduler_config.json would hold, "steps", "route", "scale",
                                     "labels" and "guidance_scale" of classifier-free guidance where there is one}}
tests/fixtures/guidance.safetensors  noise, noise.KKK                where every case starts, and what its k-th step draws
                                     case.NNN.step.KKK, .x0.KKK      the state and the predicted clean image after it
                                     case.NNN.loss                   [steps], before every step

Networks and images are f64; schedulers' tables are f32, as the library has them.
"""

import json
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

from schedulers import COSINE, V, X0, begin, clean_image, step

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COLOR = "#55FFAA"
STEPS = 8
NO_LABEL = 4
LABELS = dict(unet="class_embedding", labels=[1, 3], guidance_scale=2.5)

CASES = [
    dict(scheduler="DDIMScheduler", route="x0"),
    dict(scheduler="DDIMScheduler", route="unet"),
    dict(scheduler="DDIMScheduler", route="x0", **LABELS),
    dict(scheduler="DDIMScheduler", route="unet", **LABELS),
    dict(scheduler="DDIMScheduler", route="unet", keys=COSINE | V, scale=5.0),
    dict(scheduler="DDIMScheduler", route="unet", keys=COSINE | X0 | dict(clip_sample_range=2.0)),
    dict(scheduler="DDPMScheduler", route="unet"),
    dict(scheduler="DPMSolverMultistepScheduler", route="x0", keys=dict(thresholding=True)),
    dict(scheduler="EulerDiscreteScheduler", route="x0", scale=0.02),
    dict(scheduler="EulerDiscreteScheduler", route="unet", scale=0.02),
]


def distance_to_color(images: torch.Tensor) -> torch.Tensor:
    values = [int(COLOR[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    target = torch.tensor(values, dtype=images.dtype) * 2 - 1
    return torch.abs(images - target[None, :, None, None])


def color_loss(images: torch.Tensor) -> torch.Tensor:
    return distance_to_color(images).mean()


def predict(unet, x: torch.Tensor, t: torch.Tensor, case: dict) -> torch.Tensor:
    if not case["labels"]:
        return unet(x, t).sample
    labels = torch.tensor(case["labels"])
    without = unet(x, t, torch.full_like(labels, NO_LABEL)).sample
    return without + case["guidance_scale"] * (unet(x, t, labels).sample - without)


def predicted_clean(scheduler, prediction: torch.Tensor, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """As step() has it; where step() remembers that it was called, what it computes without that."""
    if isinstance(scheduler, diffusers.DPMSolverMultistepScheduler):
        if scheduler.step_index is None:
            scheduler._init_step_index(t)
        return scheduler.convert_model_output(prediction, sample=x)
    if isinstance(scheduler, diffusers.EulerDiscreteScheduler):
        return x - scheduler.sigmas[scheduler.step_index] * prediction
    return step(scheduler, prediction, t, x, torch.zeros_like(x), {}).pred_original_sample


def guided_step(unet, scheduler, case: dict, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor):
    """What the scheduler's step() answers, and the loss before it."""
    x = x.detach().requires_grad_()
    prediction = predict(unet, scheduler.scale_model_input(x, t), t, case)
    if case["route"] == "x0":
        prediction = prediction.detach()
    loss = color_loss(predicted_clean(scheduler, prediction, t, x))
    gradient = torch.autograd.grad(loss * case["scale"], x)[0]
    if isinstance(scheduler, diffusers.EulerDiscreteScheduler):  # not the course's: a scale means the same to all
        gradient = gradient * (scheduler.sigmas[scheduler.step_index] ** 2 + 1)
    return step(scheduler, prediction.detach(), t, x.detach() - gradient, noise, {}), loss.detach()


def guided(unet, scheduler, case: dict, start: torch.Tensor, noise: list) -> dict[str, torch.Tensor]:
    begin(scheduler, STEPS)
    x, found, losses = start * scheduler.init_noise_sigma, {}, []
    for k, t in enumerate(scheduler.timesteps):
        answer, loss = guided_step(unet, scheduler, case, x, t, noise[k])
        x = answer.prev_sample
        losses.append(loss)
        found[f"step.{k:03}"], found[f"x0.{k:03}"] = x, clean_image(scheduler, answer)
    return {"loss": torch.stack(losses)} | found


def walk(case: dict, start: torch.Tensor, noise: list) -> dict[str, torch.Tensor]:
    unet = diffusers.UNet2DModel.from_pretrained(FIXTURES / "unets" / case["unet"]).eval().double()
    scheduler = getattr(diffusers, case["config"]["_class_name"]).from_config(case["config"])
    return guided(unet.requires_grad_(False), scheduler, case, start, noise)


def filled(case: dict) -> dict:
    defaults = dict(unet="default", scale=40.0, labels=[], guidance_scale=1.0)
    config = {"_class_name": case["scheduler"]} | case.get("keys", {})
    rest = {key: value for key, value in case.items() if key not in ("scheduler", "keys")}
    return {"config": config, "steps": STEPS} | defaults | rest


def main() -> None:
    diffusers.utils.logging.set_verbosity_error()
    generator = torch.Generator().manual_seed(0)
    start, *noise = torch.randn(1 + STEPS, 2, 3, 8, 8, generator=generator).double()
    tensors = {"noise": start} | {f"noise.{k:03}": n for k, n in enumerate(noise)}
    cases = [filled(case) for case in CASES]
    for number, case in enumerate(cases):
        path = walk(case, start, noise)
        print(f"{number:3} {case['route']:5}", " ".join(f"{loss:.3f}" for loss in path["loss"].tolist()))
        tensors |= {f"case.{number:03}.{key}": y for key, y in path.items()}
    save_file({name: y.float().contiguous() for name, y in tensors.items()}, FIXTURES / "guidance.safetensors")
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    (FIXTURES / "guidance.json").write_text(f'{{"color": "{COLOR}", "cases": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
