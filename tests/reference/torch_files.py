"""Writes tests/fixtures/torch/: small files of torch.save, and among them some that nobody should load.

    python tests/reference/torch_files.py

zip.bin, stream.bin and deflated.bin hold the tensors of values.json: {name: {"dtype", "shape", "values"}}.
"""

import collections
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "torch"


class Harmful:
    """Unpickled, it would run a command."""

    def __reduce__(self):
        return os.system, ("true",)


def tensors() -> dict[str, torch.Tensor]:
    whole = torch.arange(12, dtype=torch.float32).reshape(4, 3) / 4
    return collections.OrderedDict(
        f32=whole,
        rows=whole[1:3],
        turned=whole.t(),
        channels_last=torch.arange(16.0).reshape(1, 4, 2, 2).to(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(torch.tensor([1.5, -2.0])),
        f16=torch.tensor([0.5, -65504.0, 6e-8]).half(),
        bf16=torch.tensor([1.0, -0.5, 3.140625]).bfloat16(),
        f64=torch.tensor([0.1], dtype=torch.float64),
        i64=torch.tensor([-1, 1 << 40]),
        i32=torch.tensor([7, -8], dtype=torch.int32),
        u8=torch.tensor([0, 255], dtype=torch.uint8),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 4),
    )


def describe(tensor: torch.Tensor) -> dict:
    name = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64", "int64": "i64", "int32": "i32",
            "uint8": "u8"}[str(tensor.dtype).removeprefix("torch.")]
    values = tensor.detach().double().flatten().tolist()
    return {"dtype": name, "shape": list(tensor.shape), "values": values}


def deflated(archive: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as to:
        for name in source.namelist():
            to.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def save(name: str, content: object, **options) -> None:
    torch.save(content, FOLDER / name, **options)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    known = tensors()
    save("zip.bin", known)
    save("protocol4.bin", known, pickle_protocol=4)
    save("stream.bin", known, _use_new_zipfile_serialization=False)
    (FOLDER / "deflated.bin").write_bytes(deflated((FOLDER / "zip.bin").read_bytes()))
    (FOLDER / "values.json").write_text(json.dumps({name: describe(t) for name, t in known.items()}, indent=1) + "\n")
    save("harmful.bin", {"weight": Harmful()})
    (FOLDER / "harmful_pickle.bin").write_bytes(pickle.dumps(Harmful(), protocol=2))
    save("module.bin", torch.nn.Linear(1, 1))
    save("expanded.bin", {"weight": torch.zeros(1).expand(1 << 40)})
    save("nested.bin", {"state_dict": {"weight": torch.zeros(1)}})
    save("bool.bin", {"weight": torch.zeros(1, dtype=torch.bool)})
