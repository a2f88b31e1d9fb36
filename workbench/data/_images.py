"""Photographs and textures that lie as files inside the wheels of scikit-learn and scikit-image."""

import functools
import hashlib
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

CC_BY = "CC-BY-2.0"
CC0 = "CC0-1.0"
PUBLIC = "public domain"
UNRESTRICTED = "no known copyright restrictions"


class _Bundled(NamedTuple):
    package: str
    file: str
    origin: str
    licence: str


# Only what the packages ship with a stated licence (scikit-learn: datasets/images/README.txt; scikit-image: the notes
# of skimage.data's functions). What scikit-image would fetch from the network, or ships without a licence, is not here.
_SKLEARN, _SKIMAGE = "sklearn", "skimage"
_IMAGES = {
    "astronaut": _Bundled(_SKIMAGE, "data/astronaut.png", "Eileen Collins, NASA Great Images", PUBLIC),
    "brick": _Bundled(_SKIMAGE, "data/brick.png", "brick wall, CC0Textures Bricks25", CC0),
    "camera": _Bundled(_SKIMAGE, "data/camera.png", "photographer with camera, Lav Varshney", CC0),
    "cell": _Bundled(_SKIMAGE, "data/cell.png", "cell in saline, quantitative phase image, Müller et al. 2018", CC0),
    "chelsea": _Bundled(_SKIMAGE, "data/chelsea.png", "cat, Stefan van der Walt", CC0),
    "china": _Bundled(_SKLEARN, "datasets/images/china.jpg", "temple, danielbuechele on Flickr", CC_BY),
    "clock": _Bundled(_SKIMAGE, "data/clock_motion.png", "clock with motion blur, Stefan van der Walt", PUBLIC),
    "coffee": _Bundled(_SKIMAGE, "data/coffee.png", "coffee cup, Rachel Michetti, Pikolo Espresso Bar", CC0),
    "coins": _Bundled(_SKIMAGE, "data/coins.png", "Greek coins from Pompeii, Brooklyn Museum", UNRESTRICTED),
    "flower": _Bundled(_SKLEARN, "datasets/images/flower.jpg", "flower, vultilion on Flickr", CC_BY),
    "grass": _Bundled(_SKIMAGE, "data/grass.png", "grass, linolafett on DeviantArt", CC0),
    "gravel": _Bundled(_SKIMAGE, "data/gravel.png", "gravel, CC0Textures Gravel04", CC0),
    "hubble_deep_field": _Bundled(_SKIMAGE, "data/hubble_deep_field.jpg", "Hubble eXtreme Deep Field, NASA", PUBLIC),
    "ihc": _Bundled(_SKIMAGE, "data/ihc.png", "stained colonic glands, CMMI", UNRESTRICTED),
    "microaneurysms": _Bundled(_SKIMAGE, "data/microaneurysms.png", "retina detail, HRF database, Andreas Maier", CC0),
    "retina": _Bundled(_SKIMAGE, "data/retina.jpg", "fundus photograph, Mikael Häggström", CC0),
    "rocket": _Bundled(_SKIMAGE, "data/rocket.jpg", "launch of DSCOVR on Falcon 9, SpaceX", PUBLIC),
    "text": _Bundled(_SKIMAGE, "data/text.png", "photograph of printed text, Wikipedia Corner.png", PUBLIC),
}
_DISTRIBUTIONS = {_SKLEARN: "scikit-learn", _SKIMAGE: "scikit-image"}

# Rec. 709 luma of red, green and blue.
LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Image:
    """A bundled image: `array` is read-only uint8, shape (height, width[, 3]); `sha256` is the hash of its file."""

    name: str
    array: np.ndarray = field(compare=False, repr=False)
    origin: str
    licence: str
    sha256: str

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.array.shape))
        return f"Image({self.name!r}, {shape}, {self.origin}, licence {self.licence}, sha256 {self.sha256[:12]})"

    @property
    def grey(self) -> np.ndarray:
        """Luminance in [0, 1], float64, shape (height, width): 0.2126 R + 0.7152 G + 0.0722 B (Rec. 709)."""
        scaled = self.array / 255
        return scaled if scaled.ndim == 2 else scaled @ LUMA


def image_names() -> tuple[str, ...]:
    """The names that `images` knows, sorted."""
    return tuple(sorted(_IMAGES))


@functools.lru_cache(maxsize=4)
def images(name: str) -> Image:
    """The bundled image of that name, with origin, licence and the hash of its file.

    Raises `ValueError` for an unknown name, `ImportError` when the package that carries it is not installed.
    """
    path = image_file(name)
    # Pillow comes with scikit-image; neither package itself is imported, so nothing can start a download.
    import PIL.Image

    with PIL.Image.open(path) as opened:
        array = np.array(opened)
    array.setflags(write=False)
    entry = _IMAGES[name]
    return Image(name, array, image_origin(name), entry.licence, hashlib.sha256(path.read_bytes()).hexdigest())


def patches(image: Image | str, size: int, count: int, *, seed: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """`count` random square patches of an image's luminance in [0, 1]: shape (count, size, size), fixed by `seed`.

    Each place where a patch fits is equally likely; patches may overlap. Raises `ValueError` when `size` exceeds the
    image or a number is no natural number.
    """
    image = images(image) if isinstance(image, str) else image
    height, width = image.array.shape[:2]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"size was {size}; it must be 1 to {min(height, width)}, the shorter side of {image.name!r}")
    if count < 1:
        raise ValueError(f"count was {count}; it must be ≥ 1")
    generator = np.random.default_rng(seed)
    rows = generator.integers(height - size + 1, size=count)
    columns = generator.integers(width - size + 1, size=count)
    places = np.lib.stride_tricks.sliding_window_view(image.grey.astype(dtype), (size, size))
    return places[rows, columns]


def image_origin(name: str) -> str:
    """Who made the image, and which distribution carries it."""
    entry = _IMAGES[name]
    return f"{entry.origin} (in {_DISTRIBUTIONS[entry.package]})"


def image_licence(name: str) -> str:
    """The licence as the distribution states it: an SPDX name, or its words where there is no such name."""
    return _IMAGES[name].licence


def image_file(name: str) -> Path:
    """Where the image lies. Raises as `images` does, and `FileNotFoundError` when the distribution came without it."""
    if name not in _IMAGES:
        raise ValueError(f"name was {name!r}; it must be one of {', '.join(image_names())}")
    package, file, *_ = _IMAGES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the image {name!r} lies in {_DISTRIBUTIONS[package]}, which is not installed; "
            "install the extra: pip install 'parallel-workbench[data]'"
        )
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise FileNotFoundError(f"the image {name!r} must lie in {_DISTRIBUTIONS[package]} as {file}; it is not there")
    return path
