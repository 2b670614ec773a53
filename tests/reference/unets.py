"""Small random U-Nets that differ in all that a UNet2DModel's config can say, each with one forward and backward pass.

tests/fixtures/unets/NAME/
  config.json, diffusion_pytorch_model.safetensors    as diffusers saves them
  forward.safetensors    the input of `stipple forward` (sample, timestep, class_labels, grad_output) and, beside it,
                         what must come out (output, grad.sample, grad.<parameter>): computed in f64, stored in f32
  tolerance.json         the relative error allowed where it is more than 1e-5 (tolerance.py)
"""

import json
import shutil
import zlib
from pathlib import Path

import torch
from diffusers import UNet2DModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

import forward
import tolerance

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "unets"

# What a network below does not mention. 8 + 4 channels in 2 groups: one straddles the seam of the concatenation.
PLAIN = dict(
    in_channels=3,
    out_channels=3,
    layers_per_block=1,
    block_out_channels=(4, 8),
    norm_num_groups=2,
    attention_head_dim=4,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)

NETWORKS = {
    # As the library's defaults have it.
    "default": dict(sample_size=8, block_out_channels=(6, 10)),
    # As google/ddpm-*: padding at the bottom and right only, one head as wide as the block, sin before cos.
    "google": dict(
        sample_size=(8, 12),
        layers_per_block=2,
        block_out_channels=(4, 4, 8),
        attention_head_dim=None,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
    ),
    # As the course's digits: classes come as four more input channels.
    "digits": dict(
        sample_size=12,
        in_channels=5,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(4, 4, 8),
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    ),
    "class_embedding": dict(sample_size=8, num_class_embeds=5, attention_head_dim=8, time_embedding_dim=24),
    "class_timestep": dict(sample_size=(4, 6), class_embed_type="timestep", freq_shift=1, attention_head_dim=2),
    "class_identity": dict(sample_size=(6, 4), class_embed_type="identity", time_embedding_dim=20),
    # Heads of one channel; attention at both resolutions.
    "head_width_1": dict(
        sample_size=4,
        attention_head_dim=1,
        down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"),
    ),
    # 8 channels in heads of 3: two heads, six inner channels.
    "head_width_3": dict(sample_size=(4, 8), attention_head_dim=3, norm_eps=1e-6),
    # Scale and shift: the mid attention loses its group norm.
    "scale_shift": dict(sample_size=8, resnet_time_scale_shift="scale_shift", mid_block_scale_factor=1.25),
    "scale_shift_attention_norm": dict(
        sample_size=(8, 4), resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2, act_fn="swish"
    ),
    # Residual blocks that resample, of both kinds.
    "resnet_resampling": dict(
        sample_size=(8, 12),
        block_out_channels=(4, 4, 8),
        downsample_type="resnet",
        upsample_type="resnet",
        mid_block_scale_factor=1.5,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    ),
    "resnet_resampling_scale_shift": dict(
        sample_size=8,
        add_attention=False,
        act_fn="gelu",
        resnet_time_scale_shift="scale_shift",
        down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
    ),
    "without_attention": dict(
        sample_size=(4, 12),
        add_attention=False,
        center_input_sample=True,
        act_fn="relu",
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ),
    # An odd width: the time embedding ends in a zero. One group a channel at the top; 10 + 5 channels straddle.
    "odd_channels": dict(
        sample_size=(6, 10),
        block_out_channels=(5, 10),
        norm_num_groups=5,
        attention_head_dim=5,
        time_embedding_dim=18,
        act_fn="gelu",
        downsample_padding=0,
    ),
    "one_level": dict(
        sample_size=(5, 7),
        layers_per_block=3,
        block_out_channels=(4,),
        in_channels=2,
        out_channels=4,
        down_block_types=("AttnDownBlock2D",),
        up_block_types=("UpBlock2D",),
        attn_norm_num_groups=2,
    ),
    "without_mid_block": dict(
        sample_size=8,
        block_out_channels=(6, 10),
        mid_block_type=None,
        act_fn="mish",
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        time_embedding_dim=16,
    ),
    "fourier_time": dict(sample_size=4, time_embedding_type="fourier", flip_sin_to_cos=False),
    "learned_time": dict(sample_size=4, time_embedding_type="learned", num_train_timesteps=20),
}

MORE_NETWORKS = {
    # The picture goes down beside two levels of three, and up again from the second.
    "skip": dict(
        sample_size=(8, 12),
        block_out_channels=(4, 8, 8),
        down_block_types=("SkipDownBlock2D", "SkipDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("UpBlock2D", "SkipUpBlock2D", "SkipUpBlock2D"),
        mid_block_scale_factor=2**0.5,
        center_input_sample=True,
    ),
    # Skip blocks alone need no number of groups.
    "skip_alone": dict(
        sample_size=4,
        block_out_channels=(4, 8),
        down_block_types=("SkipDownBlock2D", "SkipDownBlock2D"),
        up_block_types=("SkipUpBlock2D", "SkipUpBlock2D"),
        norm_num_groups=None,
        resnet_time_scale_shift="scale_shift",
        time_embedding_type="fourier",
        act_fn="mish",
    ),
    # 32 groups: no fewer channels.
    "attn_skip": dict(
        sample_size=(6, 4),
        block_out_channels=(32,),
        down_block_types=("AttnSkipDownBlock2D",),
        up_block_types=("AttnSkipUpBlock2D",),
        mid_block_type=None,
        time_embedding_dim=16,
        attention_head_dim=5,
    ),
    # Timesteps and classes share one table, one set of frequencies.
    "learned_classes": dict(
        sample_size=4,
        block_out_channels=(4, 4),
        time_embedding_type="learned",
        num_train_timesteps=6,
        class_embed_type="timestep",
    ),
    "fourier_classes": dict(
        sample_size=(4, 6), block_out_channels=(4, 4), time_embedding_type="fourier", class_embed_type="timestep"
    ),
    # As the first releases wrote them: attention under other names, few keys in the config.
    "old_names": dict(
        sample_size=4,
        block_out_channels=(4, 4),
        dropout=0.1,
        down_block_types=("UNetResDownBlock2D", "UNetResAttnDownBlock2D"),
        up_block_types=("UNetResAttnUpBlock2D", "UNetResUpBlock2D"),
    ),
}

FRACTIONAL_TIMESTEPS = {"scale_shift", "fourier_time", "skip_alone"}  # as Euler's sampler asks for them
WITHOUT_GRADIENTS = {"attn_skip"}  # for their size
IN_F16 = {"attn_skip"}
OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def build(name: str) -> UNet2DModel:
    torch.manual_seed(sorted(NETWORKS).index(name) if name in NETWORKS else zlib.crc32(name.encode()))
    model = UNet2DModel(**(PLAIN | (NETWORKS | MORE_NETWORKS)[name]))
    forward.randomise(model)
    return model.half() if name in IN_F16 else model


def make_old(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    kept = {key: config[key] for key in (*PLAIN, "sample_size", "dropout")}
    (folder / "config.json").write_text(json.dumps(kept, indent=2) + "\n")
    weights = folder / "diffusion_pytorch_model.safetensors"
    save_file({old_name(name): x for name, x in load_file(weights).items()}, weights)


def old_name(name: str) -> str:
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


def write(name: str) -> None:
    model = build(name)
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if name == "old_names":
        make_old(folder)

    size = model.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(1)
    inputs = forward.draw_inputs(model, generator, 2, height, width, name in FRACTIONAL_TIMESTEPS)
    if name in WITHOUT_GRADIENTS:
        del inputs["grad_output"]
    in_f32 = forward.run(model, inputs, torch.float32)
    exact = forward.run(model, inputs, torch.float64)

    expected = {key: x.float().contiguous() for key, x in exact.items()}
    save_file(inputs | expected, folder / "forward.safetensors")
    errors = tolerance.relative_errors(in_f32, exact)
    (folder / "tolerance.json").write_text(json.dumps(tolerance.exceptions(errors), indent=1) + "\n")
    worst = max(errors, key=errors.get)
    print(f"{name:30} {model.num_parameters():6} parameters, worst f32 error {errors[worst]:.1e} ({worst})")


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)  # the same bytes again
    for each in NETWORKS | MORE_NETWORKS:
        write(each)
