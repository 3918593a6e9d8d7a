"""The Python functions for exports. Each makes a request, as its command does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdfkd.export.export_report import ExportReport
    from fastdfkd.runs.profile import Profile


def export_student(
    directory: str | Path,
    to: str,
    *,
    pixels: str | None = None,
    int8: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    tolerance: float | None = None,
    name: str | None = None,
    alias: str | None = None,
    images: int = 1000,
    licence: str | None = None,
    data_root: str | Path | None = None,
) -> ExportReport:
    """Export the student of a finished run, after comparing the export with the network.

    Args:
        directory: folder of the run.
        to: `onnx`, `pt2`, `safetensors`, `torchscript`, `hf`, `openvino` or `mlflow`.
        pixels: what the program reads: `uint8` (0 to 255), `unit` (float, 0 to 1) or `normalised`.
            Unset: `uint8`; weights alone (`safetensors`, `hf`) read normalised pixels.
        int8: quantise an onnx program to 8 bits, calibrated on the images of the run's bank.
        out: file or folder to write; unset: in `export/` of the run's folder.
        overwrite: replace what is there.
        tolerance: largest difference of a logit that is allowed, in units of the largest logit (or
            1); unset: 0.001.
        name: register an `mlflow` model under this name, in the MLflow store of the run.
        alias: of the registered version; unset: `newest`.
        images: most images on which the export is compared: held-out real ones if there are some,
            else those of the run's bank.
        licence: of the teacher, for the file's metadata and the model card.
        data_root: folder of the real images, if it has moved.

    Raises:
        FileNotFoundError: the folder contains no student or no recipe.
        TrackingError: the model cannot be registered.
        ValueError: the student cannot be exported in this format, the export differs from the
            network by more than the tolerance, or there is something in the place of the file.
            Nothing is left behind.
    """
    from fastdfkd.export.export_request import ExportRequest
    from fastdfkd.export.exporting import export_folder

    request = ExportRequest(
        to=to,
        pixels=pixels,
        int8=int8,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        tolerance=tolerance,
        name=name,
        alias=alias,
        images=images,
        licence=licence,
        data_root=None if data_root is None else Path(data_root),
    )
    return export_folder(Path(directory), request)


def profile_student(
    directory: str | Path,
    *,
    threads: int | None = None,
    images: int = 1000,
    seconds: float = 20.0,
    data_root: str | Path | None = None,
) -> Profile:
    """Measure teacher and student of a finished run side by side, on the CPU.

    In torch (float32, bfloat16) and onnxruntime (float32, int8): file size, peak memory, seconds of
    a call with 1 and with 64 images, and figures or agreement. Writes `profile.json` and
    `profile.md` to the folder.

    Args:
        directory: folder of the run.
        threads: of torch and onnxruntime; unset: as many as this process may use cores.
        images: most images on which the programs are compared, see `export_student`.
        seconds: how long calls are timed, roughly.
        data_root: folder of the real images, if it has moved.

    Raises:
        FileNotFoundError: the folder contains no student or no recipe.
        ValueError: a file in it is damaged.
    """
    from fastdfkd.export.profiling import ProfileRequest, profile_folder

    request = ProfileRequest(
        threads=threads,
        images=images,
        seconds=seconds,
        data_root=None if data_root is None else Path(data_root),
    )
    return profile_folder(Path(directory), request)
