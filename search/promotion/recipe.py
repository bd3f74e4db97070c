"""Code for a model card: a photograph's file to an exported model's answer without this project.

It does what `fashion_core.data.decoding` and `fashion_core.data.pixels` do, and is tested against them.
"""

from __future__ import annotations

from fashion_core.data.decoding import IMAGE_FORMATS

IMPORTS = """\
import io, json
import numpy as np, onnxruntime
from PIL import Image, ImageCms, ImageOps
"""
# From the file to `photo`, upright RGB.
DECODING = f"""\
photo = ImageOps.exif_transpose(Image.open("photo.jpg", formats={IMAGE_FORMATS}))
if photo.mode[0] in "IF":  # grey of 16 or 32 bits
    grey = np.asarray(photo).astype(np.float32)
    white = 65535 if photo.mode[:4] == "I;16" else min(top for top in (1, 255, 65535, 2**31) if grey.max() <= top)
    photo = Image.fromarray((grey * (255 / white) + 0.5).clip(0, 255).astype(np.uint8))
if photo.mode == "CMYK" and "icc_profile" in photo.info:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.info["icc_profile"]))
    photo = ImageCms.profileToProfile(photo, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
photo = photo.convert("RGBA")  # transparency is laid on white
photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
"""
# From `photo` and `box` to `probabilities`, an array [1, C] a category.
ANSWERING = """\
def prepare(image_size, crop, crop_margin):
    x1, y1, x2, y2 = box if box and crop != "whole" else (0, 0, *photo.size)
    dx, dy = round(crop_margin * (x2 - x1)), round(crop_margin * (y2 - y1))
    x1, y1, x2, y2 = max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, photo.width), min(y2 + dy, photo.height)
    part = photo.crop((x1, y1, x2, y2))
    if box and crop == "box_square":  # grey where there is no room for it in the photograph
        side = max(part.size)
        x, y = (
            (length - side) // 2 if side > length else min(max((low + high - side) // 2, 0), length - side)
            for low, high, length in ((x1, x2, photo.width), (y1, y2, photo.height))
        )
        part = Image.new("RGB", (side, side), (124, 116, 104))
        part.paste(photo, (-x, -y))
    pixels = part.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).transpose(2, 0, 1)[None]

session = onnxruntime.InferenceSession("model.onnx")
inputs = json.loads(session.get_modelmeta().custom_metadata_map["description"])["inputs"]
probabilities = session.run(None, {name: prepare(**view) for name, view in inputs.items()})
"""
LIMITS = (
    "It sees of a photograph what the model saw in training, but that it reads no HEIC, no damaged EXIF or profile, no "
    "TIFF of 12 bits or with black for its highest value, no transparent colour of a grey PNG of other than 8 bits or "
    "of an RGB PNG of 16, and does not tell a file that is cut off."
)


def render_recipe(needs_box: bool) -> str:
    """The code, and what it leaves out, as Markdown. needs_box: the model looks at a garment's box."""
    box = "(62, 62, 165, 300)  # x1, y1, x2, y2 in pixels of the upright photograph" if needs_box else "None"
    code = f"{IMPORTS}\nbox = {box}\n{DECODING}\n{ANSWERING}"
    return f"With ONNX Runtime, Pillow and numpy alone:\n\n```python\n{code}```\n\n{LIMITS}"
