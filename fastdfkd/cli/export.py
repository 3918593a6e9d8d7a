"""The commands that take a student out: `export` and `profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastdfkd.cli.completion import complete_folder
from fastdfkd.cli.invocation import print_json
from fastdfkd.cli.run_request import JsonOption
from fastdfkd.text.safe_text import lines

RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Folder of a finished run.", autocompletion=complete_folder),
]
ImagesOption = Annotated[
    int, typer.Option("--images", metavar="N", min=1, help="Most images to compare on.")
]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of the images, if it has moved."),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="onnx, pt2, safetensors, torchscript, hf, openvino or mlflow.",
    ),
]
PixelsOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="PIXELS",
        help="What the program reads: uint8 (0 to 255), unit (0 to 1) or normalised. Default: "
        "uint8; weights alone read normalised pixels.",
        show_default=False,
    ),
]
Int8Option = Annotated[
    bool,
    typer.Option("--int8", help="onnx: quantise to 8 bits, calibrated on the bank's images."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="PATH", help="File or folder to write. Default: in RUN/export/."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        metavar="T",
        min=0,
        help="Largest difference of a logit that is allowed, in units of the largest logit "
        "(or 1). Default: 0.001.",
        show_default=False,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="mlflow: register the model under this name."),
]
AliasOption = Annotated[
    str | None,
    typer.Option(
        "--alias",
        metavar="ALIAS",
        help="mlflow: alias of the registered version. Default: newest.",
        show_default=False,
    ),
]
LicenceOption = Annotated[
    str | None,
    typer.Option("--licence", metavar="TEXT", help="Licence of the teacher, for the metadata."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: fastdfkd export runs/quickstart/fast-5 --to onnx")(export)
    app.command(epilog="Example: fastdfkd profile runs/quickstart/fast-5")(profile)


def export(
    directory: RunArgument,
    to: FormatOption,
    pixels: PixelsOption = None,
    int8: Int8Option = False,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    tolerance: ToleranceOption = None,
    name: NameOption = None,
    alias: AliasOption = None,
    images: ImagesOption = 1000,
    licence: LicenceOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the student of a run in a format that other programs read.

    The export is run on images and compared with the student. If it differs by more than the
    tolerance, nothing is written and the exit code is 2.
    """
    from fastdfkd.export.export_request import ExportRequest
    from fastdfkd.export.exporting import export_folder

    request = ExportRequest(
        to=to,
        pixels=pixels,
        int8=int8,
        out=out,
        overwrite=overwrite,
        tolerance=tolerance,
        name=name,
        alias=alias,
        images=images,
        licence=licence,
        data_root=data_root,
    )
    report = export_folder(directory, request)
    if as_json:
        print_json(report.facts())
    else:
        typer.echo(lines(report.summary()))


def profile(
    directory: RunArgument,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            help="Threads of torch and onnxruntime. Default: as many as there are cores.",
            show_default=False,
        ),
    ] = None,
    images: ImagesOption = 1000,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", min=0, help="How long calls are timed, roughly."),
    ] = 20.0,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure teacher and student of a run side by side, on the CPU.

    In torch and onnxruntime, in float32, bfloat16 and int8: file size, peak memory, time of a call
    with 1 and with 64 images, and accuracy or agreement. Writes profile.json and profile.md to the
    run's folder.
    """
    from fastdfkd.export import profile_student
    from fastdfkd.report.profile_table import cells, notes
    from fastdfkd.report.terminal_table import print_table

    found = profile_student(
        directory, threads=threads, images=images, seconds=seconds, data_root=data_root
    )
    if as_json:
        print_json(found.model_dump())
        return
    print_table(*cells(found), title=found.recipe)
    for note in notes(found):
        typer.echo(lines(f"\n{note}"))
