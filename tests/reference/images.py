"""Writes the picture fixtures of tests/image.cpp (needs Pillow and NumPy): python tests/reference/images.py

All show the ramp of `ramp()`: red 30 x, green 40 y, blue 128. Prints what Pillow makes of it when it resizes.
"""
from pathlib import Path

import numpy as np
from PIL import Image

folder = Path(__file__).parent.parent / "fixtures" / "images"


def ramp(height=6, width=8):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([30 * x, 40 * y, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def noise(height, width, channels):
    i = np.arange(height * width * channels, dtype=np.uint32)
    return ((i * 2654435761 & 0xFFFFFFFF) >> 24).astype(np.uint8).reshape(height, width, channels)


def main():
    folder.mkdir(parents=True, exist_ok=True)
    rgb = Image.fromarray(ramp())
    y, x = np.mgrid[0:6, 0:8]
    rgb.save(folder / "rgb.bmp")
    rgb.quantize(64).save(folder / "palette.png")
    Image.fromarray((x * 8000 + y * 100).astype(np.uint16)).save(folder / "grey16.png")
    Image.fromarray(np.dstack([ramp(), 50 * y]).astype(np.uint8), "RGBA").save(folder / "rgba.png")
    Image.fromarray(np.dstack([30 * x, 50 * y]).astype(np.uint8), "LA").save(folder / "grey_alpha.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "picture.webp", lossless=True)
    rgb.save(folder / "rgb.jpg", quality=95, subsampling=0)
    rgb.resize((32, 24)).save(folder / "progressive.jpg", quality=90, progressive=True)
    rgb.convert("L").save(folder / "grey.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    rgb.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.jpg", quality=95, subsampling=0, exif=exif)
    for height, width, channels, to in ((7, 9, 3, (4, 3)), (5, 4, 1, (7, 9))):
        picture = noise(height, width, channels)
        source = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
        print(height, width, channels, to, np.asarray(source.resize(to, Image.Resampling.BILINEAR)).ravel().tolist())
    print("L", np.asarray(Image.fromarray(noise(1, 4, 3)).convert("L")).ravel().tolist())


main()
