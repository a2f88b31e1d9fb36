import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from workbench import data
from workbench.data import _images


@pytest.mark.parametrize("name", data.image_names())
def test_each_image_is_a_file_with_origin_licence_and_hash(name: str) -> None:
    image = data.images(name)
    assert image.name == name
    assert image.array.dtype == np.uint8
    assert image.array.ndim == 2 or image.array.shape[2:] == (3,)
    assert image.array.std() > 1  # a picture, not a blank
    assert image.licence in {"CC-BY-2.0", "CC0-1.0", "public domain", "no known copyright restrictions"}
    assert "scikit-" in image.origin
    assert image.sha256 == hashlib.sha256(_images.image_file(name).read_bytes()).hexdigest()
    assert image.grey.shape == image.array.shape[:2]
    assert 0 <= image.grey.min() < image.grey.max() <= 1 + 1e-12


def test_files_are_the_ones_whose_licence_scikit_image_states() -> None:
    from skimage.data._registry import registry

    for name in data.image_names():
        file = _images.image_file(name)
        if "skimage" in file.parts:
            assert registry[f"data/{file.name}"] == data.images(name).sha256


def test_licences_of_scikit_learns_images_are_the_ones_in_its_note() -> None:
    note = (_images.image_file("china").parent / "README.txt").read_text()
    assert "creativecommons.org/licenses/by/2.0" in note
    assert {data.images(name).licence for name in ("china", "flower")} == {"CC-BY-2.0"}


def test_grey_is_rec_709_luma() -> None:
    image = data.images("china")
    red, green, blue = (float(value) for value in image.array[10, 20])
    assert image.grey[10, 20] == pytest.approx((0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255)
    camera = data.images("camera")
    assert np.array_equal(camera.grey * 255, camera.array)


def test_images_equal_by_contents_and_cannot_be_changed() -> None:
    first = data.images("camera")
    _images.images.cache_clear()
    assert data.images("camera") == first
    assert data.images("camera") is not first
    assert data.images("camera") != data.images("brick")
    assert repr(first).startswith("Image('camera', 512×512, ")
    with pytest.raises(ValueError, match="read-only"):
        first.array[0, 0] = 0


def test_patches_are_cut_from_the_grey_image() -> None:
    image = data.images("chelsea")
    patches = data.patches(image, 12, 50, seed=1)
    assert patches.shape == (50, 12, 12)
    assert patches.dtype == np.float32
    assert np.array_equal(patches, data.patches("chelsea", 12, 50, seed=1))
    assert not np.array_equal(patches, data.patches(image, 12, 50, seed=2))
    double = data.patches(image, 12, 3, seed=1, dtype=np.float64)
    places = np.lib.stride_tricks.sliding_window_view(image.grey, (12, 12))
    assert all((places == patch).all(axis=(2, 3)).any() for patch in double)


def test_patches_reach_the_whole_image() -> None:
    corners = data.Image("toy", np.arange(6, dtype=np.uint8).reshape(2, 3), "toy", "none", "0")
    drawn = np.rint(data.patches(corners, 1, 200, seed=0, dtype=np.float64) * 255)
    assert set(drawn.ravel().astype(int).tolist()) == set(range(6))
    whole = data.patches(corners, 2, 100, seed=0, dtype=np.float64)[:, 0, 0] * 255
    assert set(np.rint(whole).astype(int).tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("size", "count", "message"), [(0, 1, "size was 0"), (513, 1, "size was 513"), (8, 0, "count was 0")]
)
def test_wrong_arguments_of_patches(size: int, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.patches("camera", size, count, seed=0)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"name was 'lena'; it must be one of astronaut, .*text"):
        data.images("lena")


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _images.images.cache_clear()
    with pytest.raises(ImportError, match=r"scikit-learn, which is not installed.*parallel-workbench\[data\]"):
        data.images("china")
    rows = data.catalogue()
    assert rows.filter(kind="image")["sha256"].null_count() == len(data.image_names())


def test_missing_file_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(FileNotFoundError, match=r"must lie in scikit-image as data/camera\.png"):
        _images.image_file("camera")
