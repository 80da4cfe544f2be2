"""Render docs/masks.png: every kind of invalid pixels, planted in photographs and found again."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from pytest_gradcam import masks

SIZE = 200
FOUND = (255, 0, 255)


def cuttings(count):
    rng = np.random.default_rng(9)
    photos = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry")]
    for i in range(count):
        photo = photos[i % len(photos)]
        y, x = (int(rng.integers(side - SIZE + 1)) for side in photo.shape[:2])
        yield photo[y : y + SIZE, x : x + SIZE].copy()


def examples():
    """The title of a panel, the image, what was found in it."""
    chelsea, coffee = data.chelsea()[20:220, 120:320], data.coffee()[100:300, 200:400].copy()
    framed = np.pad(chelsea[30:170, 20:180], ((30, 30), (20, 20), (0, 0)))
    for kind in ("letterbox", "pillarbox"):
        yield kind, framed, masks.invalid_pixels(framed, kinds=[kind])
    for y, x in ((30, 60), (90, 150), (150, 40)):
        coffee[y, x], coffee[y + 20, x + 10] = 0, 255
    coffee[:, 120], coffee[:, 20] = 0, 128
    for kind in ("dead", "saturated", "stuck"):
        yield kind, coffee, masks.dilate(masks.invalid_pixels(coffee, kinds=[kind]), 1)
    frames = list(cuttings(10))
    for frame in frames:
        picture = Image.fromarray(frame)
        style = {"font": ImageFont.load_default(18), "fill": "white", "stroke_width": 1, "stroke_fill": "black"}
        ImageDraw.Draw(picture).text((10, 170), "CAM 03 2024-05-17", **style)
        frame[:] = np.asarray(picture)
    yield "burnt_in", frames[0], masks.invalid_pixels(frames[0], series=frames[1:], kinds=["burnt_in"])
    broken = chelsea / 255
    broken[60:64, 40:160] = np.nan
    yield "not_finite", np.nan_to_num(broken * 255).astype(np.uint8), masks.invalid_pixels(broken, kinds=["not_finite"])


def main():
    panels = list(examples())
    sheet = Image.new("RGB", ((SIZE + 8) * len(panels), 2 * SIZE + 32), "white")
    for i, (title, image, mask) in enumerate(panels):
        marked = np.where(mask[..., None], FOUND, image // 2 + 64).astype(np.uint8)
        for row, picture in enumerate((image, marked)):
            sheet.paste(Image.fromarray(picture), (i * (SIZE + 8), 24 + row * (SIZE + 8)))
        ImageDraw.Draw(sheet).text((i * (SIZE + 8) + 2, 2), title, fill="black", font=ImageFont.load_default(16))
    sheet.quantize(128).save(Path(__file__).with_name("masks.png"), optimize=True)


if __name__ == "__main__":
    main()
