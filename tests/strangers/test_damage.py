"""A run's folder after power cuts, bad copies and ill will: file x damage x command.

Whatever a file has become: an exit code of 0 or 2, one message that names it, no traceback, no
other file lost, and nothing outside the folder touched. The quick run takes a sample of fixed seed,
the slow one takes all.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastdfkd
from fastdfkd.runs.folder import read_json, write_json
from fastdfkd.runs.metrics import read_rows
from fastdfkd.runs.result import RunResult
from fastdfkd.runs.status import read_status
from fastdfkd.tracking.store import open_store
from fastdfkd.trainers.checkpoint import CheckpointFolder
from tests.short_runs import SHORT_RUN, shared_places
from tests.strangers.damages import VALUES, WHOLE, Damage, as_json, enormous, in_json, replaced
from tests.strangers.folders import Place, QuickPlatform, ask, faults, snapshot

TINY = {**SHORT_RUN, "synthesis.rounds": 7, "platform.checkpoint_every": 2}
CHECKPOINTS = (6, 10)
"""Student updates that the run's two checkpoints stand after."""

Case = tuple[str, str, Damage]
"""File, name of the damage, damage."""


@pytest.fixture(scope="module")
def finished(
    ray_cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
    tracking_uri: str,
    teacher_cache: Path,
) -> Path:
    """The folder of a real run."""
    folder = tmp_path_factory.mktemp("damage") / "finished"
    with shared_places(tracking_uri, teacher_cache):
        fastdfkd.distill("digits-fast5", TINY, out=folder)
    return folder


@pytest.fixture(scope="module")
def broken_off(finished: Path) -> Path:
    """The same run as if it had been stopped after its last checkpoint."""
    folder = finished.parent / "broken-off"
    shutil.copytree(finished, folder)
    for name in ("result.json", "student.safetensors", "samples.png"):
        (folder / name).unlink()
    write_json(folder / "state.json", {**read_json(folder / "state.json"), "state": "stopped"})
    return folder


@pytest.fixture
def quick(workplace: Path, monkeypatch: pytest.MonkeyPatch, finished: Path) -> QuickPlatform:
    """Resumes in milliseconds; our teacher cache and MLflow store."""
    return QuickPlatform(monkeypatch, RunResult.load(finished))


def cases(original: Path, *, fields: bool = True) -> list[Case]:
    """Every damage of every file in a folder."""
    files = sorted(path for path in original.rglob("*") if path.is_file())
    found: list[Case] = []
    for file in files:
        name = str(file.relative_to(original))
        found += [(name, damage, do) for damage, do in WHOLE.items()]
        found.append((name, "enormous", enormous))
        if fields and file.suffix == ".json":
            content = json.loads(file.read_bytes())
            found += [(name, what, replaced(as_json(new))) for what, new in in_json(content)]
    return found


def check(
    original: Path,
    at: Path,
    chosen: list[Case],
    words: Callable[[Path], list[str]],
    more: Callable[[Place, str, str, int], str] = lambda *_: "",
    *,
    writes: bool = False,
) -> None:
    """Do each damage to a copy, ask, and tell all that went wrong."""
    wrong = []
    for name, what, damage in chosen:
        place = Place.make(at / "place", original)
        damage(place.run / name, place.outside)
        before, outside = snapshot(place.run), snapshot(place.outside)
        answer = ask(words(place.run))
        found = faults(answer, Path(name).name)
        after = snapshot(place.run)
        kept = [key for key in before if not writes or key.startswith("checkpoints/")]
        found += [f"{key} was changed" for key in kept if after.get(key) != before[key]]
        if snapshot(place.outside) != outside:
            found.append("something outside was changed")
        found.append(more(place, name, what, answer.code))
        wrong += [f"{name}: {what}: {one}" for one in found if one]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong)


def some(found: list[Case], number: int) -> list[Case]:
    """So many of the cases, always the same ones."""
    return random.Random(17).sample(found, min(number, len(found)))


def status(run: Path) -> list[str]:
    return ["status", str(run)]


def evaluate(run: Path) -> list[str]:
    return ["evaluate", str(run)]


def resume(run: Path) -> list[str]:
    return ["distill", "--resume", str(run)]


def overwrite(run: Path) -> list[str]:
    changes = [f"{key}={value}" for key, value in TINY.items()]
    return ["distill", "digits-fast5", *changes, "--overwrite", "--out", str(run)]


def named(found: list[Case], *names: str) -> list[Case]:
    return [case for case in found if Path(case[0]).name in names]


STATUS_FILES = ("recipe.yaml", "teacher.json", "metrics.csv", "state.json", "result.json")


def test_status_of_a_damaged_folder(quick: Any, finished: Path, tmp_path: Path) -> None:
    check(finished, tmp_path, some(named(cases(finished), *STATUS_FILES), 50), status)


def test_evaluating_a_damaged_folder(quick: Any, finished: Path, tmp_path: Path) -> None:
    names = ("recipe.yaml", "teacher.json", "student.safetensors")
    check(finished, tmp_path, some(named(cases(finished), *names), 20), evaluate)


def test_resuming_a_damaged_folder(quick: QuickPlatform, broken_off: Path, tmp_path: Path) -> None:
    chosen = some(cases(broken_off), 30)
    check(broken_off, tmp_path, chosen, resume, goes_on(quick, broken_off), writes=True)


def goes_on(quick: QuickPlatform, original: Path) -> Callable[[Place, str, str, int], str]:
    """Says what is wrong with where a damaged run went on from."""

    def said(place: Place, name: str, what: str, code: int) -> str:
        updates, quick.updates = quick.updates, None
        if code:
            return "" if updates is None else "began all the same"
        wanted, file = [CHECKPOINTS[-1]], place.run / name
        same = file.is_file() and file.read_bytes() == (original / name).read_bytes()
        if name.startswith("checkpoints/") and not same:
            wanted = [*CHECKPOINTS] if "manifest" in name else [went_back_to(name)]
        return "" if updates in wanted else f"went on from {updates}, not {wanted}"

    return said


def went_back_to(name: str) -> int:
    """Updates of the newest checkpoint that does not need the file."""
    if "0000010" in name:
        return CHECKPOINTS[0]
    return CHECKPOINTS[1] if name.startswith("checkpoints/state") else 0


def test_overwriting_a_damaged_folder(quick: Any, finished: Path, tmp_path: Path) -> None:
    """What was there goes, whatever it was; what a link led to stays."""
    wrong = []
    for name, what, damage in some(cases(finished, fields=False), 6):
        place = Place.make(tmp_path / "place", finished)
        damage(place.run / name, place.outside)
        outside = snapshot(place.outside)
        answer = ask(overwrite(place.run))
        if answer.code or answer.err or snapshot(place.outside) != outside:
            wrong.append(f"{name}: {what}: {answer}")
        assert not (place.run / "checkpoints").exists()
        assert RunResult.load(place.run) == RunResult.load(finished).model_copy(
            update={"directory": place.run}
        )
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("words", [status, evaluate], ids=["status", "evaluate"])
def test_every_damage_of_a_finished_run(
    quick: Any, finished: Path, tmp_path: Path, words: Callable[[Path], list[str]]
) -> None:
    chosen = cases(finished, fields=False) + named(cases(finished), *STATUS_FILES)
    check(finished, tmp_path, chosen, words)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("words", [status, resume], ids=["status", "resume"])
def test_every_damage_of_a_run_that_was_broken_off(
    quick: QuickPlatform, broken_off: Path, tmp_path: Path, words: Callable[[Path], list[str]]
) -> None:
    more = goes_on(quick, broken_off) if words is resume else lambda *_: ""
    check(broken_off, tmp_path, cases(broken_off), words, more, writes=words is resume)


@pytest.mark.parametrize("name", VALUES)
def test_a_strange_id_of_an_mlflow_run_begins_a_new_one(tracking_uri: str, name: str) -> None:
    store = open_store(tracking_uri, "fastdfkd")
    assert not store.reopen(str(VALUES[name]))


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "result": ("result.json", RunResult.load),
    "rows": ("metrics.csv", lambda run: read_rows(run / "metrics.csv")),
    "state": ("state.json", read_status),
    "manifest": ("manifest-0000010.json", lambda run: newest(run)),
    "segment": ("images-0000010.safetensors", lambda run: newest(run)),
    "checkpoint": ("state-0000010.safetensors", lambda run: newest(run)),
}


def newest(run: Path) -> int:
    """Updates of the newest checkpoint, all of which is read."""
    found = CheckpointFolder(run).newest()
    assert found is not None
    assert sum(len(images) for images in found.images().values()) == 8 * len(found.images())
    return found.updates


@pytest.mark.parametrize("reader", READERS)
def test_reading_damaged_files_from_python(finished: Path, tmp_path: Path, reader: str) -> None:
    """All damages: what comes is what was written, or an error of the user's that names it."""
    name, read = READERS[reader]
    wrong, place = [], Place.make(tmp_path / "place", finished)
    for path, what, damage in named(cases(finished), name):
        damage(place.run / path, place.outside)
        before = snapshot(place.run), snapshot(place.outside)
        try:
            found = read(place.run)
        except (ValueError, OSError) as error:
            if name not in str(error) or len(str(error)) > 1_000:
                wrong.append(f"{what}: {str(error)[:200]}")
        else:
            if isinstance(found, int) and found not in (10, 6):
                wrong.append(f"{what}: went on from {found}")
        if (snapshot(place.run), snapshot(place.outside)) != before:
            wrong.append(f"{what}: changed something")
        place.mend(path, finished)
    assert snapshot(place.run) == snapshot(finished)
    assert not wrong, "\n".join(wrong)


def test_a_figure_that_no_run_has_is_told(finished: Path, tmp_path: Path) -> None:
    result = read_json(finished / "result.json")
    for key, value in (("accuracy", 1.5), ("images", 0), ("wall_seconds", 1e300)):
        (tmp_path / "result.json").write_bytes(as_json({**result, key: value}))
        with pytest.raises(ValueError, match=rf"result\.json: damaged, .* {key}"):
            RunResult.load(tmp_path)


def test_a_quote_in_a_damaged_row_costs_that_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text('updates,loss\n1,0.5\n2,"0.25\n3,0.125\nsix,1\n7,1,1\n8,\n')
    rows = [{"updates": 1.0, "loss": 0.5}, {"updates": 3.0, "loss": 0.125}, {"updates": 8.0}]
    assert read_rows(path) == rows


@pytest.mark.parametrize("way", ["../outside/images-1.safetensors", "/etc/hostname", "sub/x"])
def test_a_manifest_that_leads_out_of_the_folder_is_passed_over(
    broken_off: Path, tmp_path: Path, way: str
) -> None:
    """Even where the digest of what it names is right."""
    place = Place.make(tmp_path / "place", broken_off)
    manifest = place.run / "checkpoints/manifest-0000010.json"
    state = place.run / "checkpoints/state-0000010.safetensors"
    (place.outside / "images-1.safetensors").write_bytes(state.read_bytes())
    said = read_json(manifest)
    write_json(manifest, {**said, "state": way})
    assert newest(place.run) == 6
    write_json(manifest, {**said, "images": {**said["images"], way: said["images"].popitem()[1]}})
    assert newest(place.run) == 6


def test_checkpoints_that_are_written_leave_strangers_files_alone(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for updates in (1, 2):
        folder.save(updates, {"updates": updates}, {}, [])
    (folder.folder / "manifest-copy.json").write_text("{}")
    (folder.folder / "manifest-0000009.json").mkdir()
    (folder.folder / "images-mine.png").write_text("kept")
    folder.save(3, {"updates": 3}, {}, [])
    names = sorted(path.name for path in folder.folder.glob("manifest-*"))
    numbers = [f"manifest-{number:07d}.json" for number in (2, 3, 9)]
    assert names == [*numbers, "manifest-copy.json"]
    assert (folder.folder / "images-mine.png").is_file()
