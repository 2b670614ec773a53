"""Loads a pipeline with diffusers and draws one picture; prints seconds and memory as one line of JSON.

    python bench/pytorch/load.py FOLDER STEPS THREADS
    python bench/pytorch/load.py --make FOLDER        # the 256-pixel network of google/ddpm-*-256, random weights

Memory is what the process took at most (VmHWM) beyond what it had after its imports, in MiB. Seconds count from
from_pretrained on; "first_step_at" is the system's monotonic clock at the end of the first step.
"""

import json
import sys
import time

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils import logging


def most_memory() -> float:
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def make(folder: str) -> None:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=256,
        attention_head_dim=None,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)


def draw(folder: str, steps: int) -> dict[str, float]:
    imported, began = most_memory(), time.perf_counter()
    pipeline = DDIMPipeline.from_pretrained(folder)
    loaded = time.perf_counter() - began
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    finished: list[float] = []
    at: list[float] = []
    step = pipeline.scheduler.step

    def timed_step(*arguments, **options):
        finished.append(time.perf_counter() - began)
        at.append(time.monotonic())
        return step(*arguments, **options)

    pipeline.scheduler.step = timed_step
    pipeline(num_inference_steps=steps, generator=torch.Generator().manual_seed(0))
    return {"load": loaded, "first_step": finished[0], "first_step_at": at[0], "total": time.perf_counter() - began,
            "memory": most_memory() - imported}  # fmt: skip


if __name__ == "__main__":
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if sys.argv[1] == "--make":
        make(sys.argv[2])
    else:
        torch.set_num_threads(int(sys.argv[3]))
        print(json.dumps(draw(sys.argv[1], int(sys.argv[2]))))
