"""What happens to cameras and pictures, as frozen values: `(fog(0.3) | motion_blur(0.2, angle=40))(image)`.

Each kind takes a severity in [0, 1], where 0 changes no bit; random ones take a seed. `docs/perturbations.md` shows
each, and says what a severity of 1 means. They are classes with the names of functions, since that is how a test reads.
"""

from pytest_gradcam.perturbations.base import Kind, Perturbation, compose, identity
from pytest_gradcam.perturbations.blur import defocus_blur, gaussian_blur, motion_blur
from pytest_gradcam.perturbations.coding import banding, downscale, jpeg
from pytest_gradcam.perturbations.geometric import flip, perspective, rotate, shift, zoom
from pytest_gradcam.perturbations.lens import glare, lens_dirt, vignette
from pytest_gradcam.perturbations.noise import gaussian_noise, salt_and_pepper, shot_noise
from pytest_gradcam.perturbations.occlusion import dead_rows, occlude, timestamp
from pytest_gradcam.perturbations.photometric import brightness, contrast, gamma, hue, saturation, white_balance
from pytest_gradcam.perturbations.weather import fog, rain, shadow

#: Every kind by its name.
KINDS: dict[str, type[Kind]] = {
    kind.__name__: kind
    for kind in (
        *(brightness, contrast, gamma, saturation, hue, white_balance),
        *(gaussian_noise, shot_noise, salt_and_pepper),
        *(gaussian_blur, motion_blur, defocus_blur),
        *(jpeg, downscale, banding),
        *(fog, rain, shadow, glare, vignette, lens_dirt),
        *(occlude, dead_rows, timestamp),
        *(shift, rotate, zoom, flip, perspective),
    )
}

__all__ = [
    "KINDS",
    "Kind",
    "Perturbation",
    "banding",
    "brightness",
    "compose",
    "contrast",
    "dead_rows",
    "defocus_blur",
    "downscale",
    "flip",
    "fog",
    "gamma",
    "gaussian_blur",
    "gaussian_noise",
    "glare",
    "hue",
    "identity",
    "jpeg",
    "lens_dirt",
    "motion_blur",
    "occlude",
    "perspective",
    "rain",
    "rotate",
    "salt_and_pepper",
    "saturation",
    "shadow",
    "shift",
    "shot_noise",
    "timestamp",
    "vignette",
    "white_balance",
    "zoom",
]
