"""Continue an interrupted run from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastdfkd.recipe import load_recipe
from fastdfkd.runs.folder import check_kinds, read_json
from fastdfkd.runs.folder_lock import lock_folder
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.source_texts import as_it_began

if TYPE_CHECKING:
    from torch import nn


def resume(
    directory: str | Path,
    *,
    address: str | None = None,
    teacher: nn.Module | None = None,
    progress: bool = False,
) -> RunResult:
    """Continue an interrupted run from its newest complete checkpoint.

    In lock-step with one synthesizer and one worker, the student equals that of an uninterrupted
    run bit for bit. Python files that the recipe names are read from the folder, as they were when
    the run started; a warning names those that have changed since.

    Args:
        directory: folder of the run.
        address: Ray cluster to connect to; unset: start Ray here and stop it afterwards.
        teacher: the network that was passed to `distill`, if one was.
        progress: show a progress bar if stderr is a terminal.

    Raises:
        FileNotFoundError: the folder contains no run.
        FolderInUseError: another process is using the folder.
        ValueError: the run is finished, one of its files is damaged, or the teacher differs.
    """
    return _resumed(
        directory, address=address, teacher=teacher, progress=progress, images_only=False
    )


def resume_synthesis(
    directory: str | Path,
    *,
    address: str | None = None,
    teacher: nn.Module | None = None,
    progress: bool = False,
) -> RunResult:
    """Continue an interrupted `synthesize`. Arguments and errors are those of `resume`."""
    return _resumed(
        directory, address=address, teacher=teacher, progress=progress, images_only=True
    )


def _resumed(
    directory: str | Path,
    *,
    address: str | None,
    teacher: nn.Module | None,
    progress: bool,
    images_only: bool,
) -> RunResult:
    from fastdfkd.api.execution import execute

    folder = Path(directory).expanduser().absolute()
    if not (folder / "recipe.yaml").is_file():
        raise FileNotFoundError(f"{folder} holds no run to resume: recipe.yaml is missing")
    with lock_folder(folder):
        check_kinds(folder)
        _check_kind_of_run(folder, images_only)
        if (folder / "result.json").is_file():
            _check_result(folder)
            raise ValueError(f"the run in {folder} is finished: there is nothing to resume")
        recipe = load_recipe(folder / "recipe.yaml")
        with as_it_began(folder):
            return execute(
                recipe,
                folder,
                address=address,
                model=teacher,
                progress=progress,
                resume=True,
                images_only=images_only,
            )


def _check_kind_of_run(folder: Path, images_only: bool) -> None:
    """Check that a run of one command is not resumed by the other.

    Raises:
        ValueError: it is.
    """
    try:
        made = read_json(folder / "state.json").get("images_only") is True
    except (OSError, ValueError):  # the run ended before it wrote the file, or it is damaged
        return
    if made != images_only:
        command = "synthesize" if made else "distill"
        raise ValueError(
            f"the run in {folder} was started by fastdfkd {command}: resume it with "
            f"fastdfkd {command} --resume {folder}"
        )


def _check_result(folder: Path) -> None:
    try:
        RunResult.load(folder)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{error}. Move the file away to resume the run from its last checkpoint"
        ) from error
