"""The file of class vectors: what is read, and the messages for what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fastdfkd.experiment.class_vectors import read_class_vectors
from fastdfkd.recipe import Recipe, load_recipe

VECTORS = np.arange(40, dtype=np.float32).reshape(10, 4)


def naming(path: Path | str) -> Recipe:
    return load_recipe("digits-nayer", {"synthesis.class_vectors": str(path)})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_npy_file(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "v.npy", VECTORS.astype(dtype))
    vectors = read_class_vectors(naming(tmp_path / "v.npy"))
    assert vectors is not None
    assert vectors.dtype is torch.float32
    assert np.array_equal(vectors.numpy(), VECTORS)


def test_a_safetensors_file(tmp_path: Path) -> None:
    save_file({"text_embeds": torch.from_numpy(VECTORS)}, tmp_path / "v.safetensors")
    vectors = read_class_vectors(naming(tmp_path / "v.safetensors"))
    assert vectors is not None
    assert np.array_equal(vectors.numpy(), VECTORS)


@pytest.mark.parametrize("name", ["digits-nayer", "digits-fast5", "digits-dafl"])
def test_recipes_without_a_file_have_none(name: str) -> None:
    assert read_class_vectors(load_recipe(name)) is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (VECTORS[:9], r"10 classes, an array of shape \(10, length\), got \(9, 4\)"),
        (VECTORS[0], r"got \(4,\)"),
        (VECTORS[:, :0], r"got \(10, 0\)"),
        (np.where(VECTORS == 3, np.nan, VECTORS), "expected finite numbers"),
        (VECTORS.astype(np.int64), "expected floating-point numbers"),
        (np.repeat(VECTORS[:5], 2, axis=0), "two classes have the same vector"),
        (VECTORS.astype(object), "cannot be read"),
    ],
    ids=["rows", "one row", "no columns", "nan", "integers", "twice", "objects"],
)
def test_bad_arrays_are_one_message(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=f"^synthesis.class_vectors: .*{message}"):
        read_class_vectors(naming(tmp_path / "v.npy"))


@pytest.mark.parametrize("name", ["v.npy", "v.safetensors", "v.txt", "missing.npy"])
def test_bad_files_are_one_message(tmp_path: Path, name: str) -> None:
    if name != "missing.npy":
        (tmp_path / name).write_bytes(b"no vectors")
    with pytest.raises(ValueError, match=r"^synthesis.class_vectors: [^\n]*$") as caught:
        read_class_vectors(naming(tmp_path / name))
    assert name in str(caught.value)


def test_one_tensor_is_expected(tmp_path: Path) -> None:
    rows = torch.from_numpy(VECTORS)
    save_file({"a": rows, "b": rows + 1}, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match="expected one tensor, got 2"):
        read_class_vectors(naming(tmp_path / "v.safetensors"))
