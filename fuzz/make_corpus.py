"""Makes fuzz/corpus/TARGET/ anew: small valid files from which `./run fuzz` starts.

    python fuzz/make_corpus.py

Needs what tests/reference/requirements.txt lists.
"""

import collections
import gzip
import io
import json
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from PIL import Image, PngImagePlugin
from safetensors.torch import save

CORPUS = Path(__file__).resolve().parent / "corpus"
FIXTURES = CORPUS.parent.parent / "tests" / "fixtures"


def state_dict() -> dict[str, torch.Tensor]:
    """Every type and layout that is read."""
    torch.manual_seed(0)
    return collections.OrderedDict(
        f32=torch.randn(2, 3),
        f16=torch.randn(3).half(),
        bf16=torch.randn(3).bfloat16(),
        f64=torch.randn(2).double(),
        i64=torch.arange(2),
        u8=torch.arange(3, dtype=torch.uint8),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 2),
    )


def views() -> dict[str, torch.Tensor]:
    whole = torch.randn(4, 3)
    last = torch.randn(1, 2, 2, 2).to(memory_format=torch.channels_last)
    return {"whole": whole, "rows": whole[1:3], "turned": whole.t(), "last": last, "p": torch.nn.Parameter(whole[0])}


def saved(tensors: dict[str, torch.Tensor], **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer, **options)
    return buffer.getvalue()


def deflated(archive: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as to:
        for name in source.namelist():
            to.writestr(name, source.read(name))
    return buffer.getvalue()


def safetensors() -> dict[str, bytes]:
    return {
        "types": save(dict(state_dict())),
        "metadata": save({"w": torch.ones(2)}, {"format": "pt"}),
        "none": save({}),
    }


def torch_files() -> dict[str, bytes]:
    zipped = saved(state_dict())
    return {
        "zip": zipped,
        "zip-views": saved(views()),
        "zip-deflated": deflated(saved({"w": torch.zeros(64)})),
        "zip-protocol-4": saved({"w": torch.ones(2)}, pickle_protocol=4),
        "stream": saved(state_dict(), _use_new_zipfile_serialization=False),
        "stream-views": saved(views(), _use_new_zipfile_serialization=False),
        "stream-module": saved(torch.nn.Linear(1, 1).state_dict(), _use_new_zipfile_serialization=False),
    }


def configs() -> dict[str, bytes]:
    made = {
        "unet": UNet2DModel(block_out_channels=(8, 8), norm_num_groups=4, sample_size=(8, 16), layers_per_block=1,
                            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                            up_block_types=("AttnUpBlock2D", "UpBlock2D")),
        "ddpm": DDPMScheduler(),
        "ddim": DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
        "dpm": DPMSolverMultistepScheduler(use_karras_sigmas=True),
        "betas": DDPMScheduler(num_train_timesteps=2, trained_betas=[0.1, 0.2]),
    }
    files = {name: dict(module.config) for name, module in made.items()}
    files["conditioning"] = {"class_conditioning": "channels", "classes": 3, "planes": 2, "label_dropout": True,
                             "class_names": ["a", "b", "c"]}
    files["model_index"] = {"_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
                            "unet": ["diffusers", "UNet2DModel"], "class_names": [None, None]}
    return {name: json.dumps(config).encode() for name, config in files.items()}


def weight_indices() -> dict[str, bytes]:
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "shard.safetensors", "b": "shard.safetensors"}}
    return {"index": json.dumps(index).encode(), "outside": json.dumps({"weight_map": {"a": "../x"}}).encode()}


def picture(mode: str, kind: str, size: tuple[int, int] = (9, 7), **options) -> bytes:
    gradient = Image.linear_gradient("L").resize(size)
    image = gradient.convert(mode) if mode != "I;16" else Image.frombytes(mode, size, bytes(2 * size[0] * size[1]))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def interlaced() -> bytes:
    """Pillow writes none: 1 x 1, grey, of which Adam7's first pass is all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


def pictures() -> dict[str, bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "Steps: 50")
    text.add_itxt("title", "grün")
    exif = Image.Exif()
    exif[0x0112] = 6
    modes = {mode.replace(";", ""): picture(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")}
    return {f"png-{mode}": bytes_ for mode, bytes_ in modes.items()} | {
        "png-text": picture("L", "PNG", pnginfo=text),
        "png-exif": picture("L", "PNG", exif=exif),
        "png-interlaced": interlaced(),
        "jpeg-grey": picture("L", "JPEG"),
        "jpeg-exif": picture("RGB", "JPEG", exif=exif),
        "jpeg-444": picture("RGB", "JPEG", subsampling=0, optimize=True),
        "jpeg-progressive": picture("RGB", "JPEG", progressive=True),
        "jpeg-restarts": picture("RGB", "JPEG", size=(33, 17), restart_marker_blocks=1),
        "jpeg-damaged": (FIXTURES / "images" / "damaged.jpg").read_bytes(),
        "bmp": picture("RGB", "BMP"),
        "bmp-palette": picture("P", "BMP"),
    }


def idx_files() -> dict[str, bytes]:
    images = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\1\2"
    return {"images": images, "labels": labels, "images-gzip": gzip.compress(images, mtime=0)}


if __name__ == "__main__":
    made = {
        "safetensors": safetensors(),
        "torch_file": torch_files(),
        "config": configs(),
        "weight_index": weight_indices(),
        "picture": pictures(),
        "idx": idx_files(),
    }
    for target, files in made.items():
        shutil.rmtree(CORPUS / target, ignore_errors=True)
        (CORPUS / target).mkdir(parents=True)
        for name, content in files.items():
            (CORPUS / target / name).write_bytes(content)
