"""What a sweep found: tables, the best recipe as a file, and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.recipe import load_recipe
from fastdfkd.recipe.plain import escaped
from fastdfkd.report.table import csv_text, markdown_table
from fastdfkd.runs.folder import write_text
from fastdfkd.runs.metrics import JUDGED
from fastdfkd.text.safe_text import file_name, markdown, printable
from fastdfkd.tuning.objective import Objective, pareto_front, parse_objectives
from fastdfkd.tuning.trial_log import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.tuning.plan import Sweep

_ALWAYS = (*JUDGED, "synthesis_seconds", "end_to_end_seconds")
CAVEAT = (
    "The best point was chosen by figures on the held-out images that it is also judged on, so "
    "they flatter it; `fastdfkd compare` with other seeds gives fair ones. Seconds are of this "
    "machine, under the load that the trials put on it together."
)


def write_findings(
    sweep: Sweep, records: Sequence[TrialRecord]
) -> tuple[list[Path], dict[str, float]]:
    """Write tables, pictures and the best recipe into the sweep's folder.

    Returns:
        The files, and the best point's figures.

    Raises:
        ValueError: no trial ran to its end, so nothing was found.
    """
    from fastdfkd.tuning.pictures import parallel_coordinates, pareto_picture, slices

    objectives = parse_objectives(sweep.options.objective)
    folder, first = sweep.folder, objectives[0]
    trials, points = trial_table(sweep, records), point_table(sweep, records)
    files = [folder / "trials.csv", folder / "trials.parquet", folder / "points.csv"]
    write_text(files[0], csv_text(trials))
    _plain(trials).to_parquet(files[1], index=False)
    write_text(files[2], csv_text(points))
    whole = points[points["whole"]]
    if whole.empty:
        raise ValueError(
            f"no point of the sweep ran to its end with all its seeds ({_ends(records)}); the "
            f"trials are in {files[0]}, and --resume {folder} tries the failed ones again"
        )
    best = best_point(points, objectives)
    front = _front(points, objectives)
    for old in folder.glob("pareto-*.yaml"):
        old.unlink()  # of a front before the sweep went on
    chosen = {"best": best}
    if len(objectives) > 1:
        chosen |= {f"pareto-{front[label]}": label for label in front}
    files += [_write_recipe(sweep, points.loc[label], name) for name, label in chosen.items()]
    files.append(folder / "table.md")
    table = markdown_table(*cells(points, objectives))
    write_text(files[-1], f"# {markdown(title(sweep))}\n\n{table}\n{CAVEAT}\n")
    keys = _keys(points)
    parallel_coordinates(points, keys, first, folder / "parallel_coordinates.png")
    slices(points, keys, first, folder / "slices.png")
    files += [folder / "parallel_coordinates.png", folder / "slices.png"]
    if len(objectives) > 1:
        pareto_picture(points, objectives, list(front), folder / "pareto.png")
        files.append(folder / "pareto.png")
    names = dict.fromkeys([*(objective.name for objective in objectives), *_ALWAYS])
    found: dict[Any, Any] = points.loc[best, list(names)].to_dict()
    return files, {f"best.{name}": float(value) for name, value in found.items()}


def trial_table(sweep: Sweep, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a trial: name, point, seed, status, the swept keys, figures, error."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "trial": sweep.names.trial(record.point, record.seed),
                "point": record.index,
                "seed": record.seed,
                "status": record.status,
                "evaluations": record.evaluations,
                **{d.key: record.point.get(d.key) for d in sweep.space.parameters},
                **record.figures,
                "error": record.error,
            }
            for record in sorted(records, key=lambda record: (record.index, record.seed))
        ]
    )


def point_table(sweep: Sweep, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a point: its name, swept keys, mean over its finished seeds and `<figure> std`.

    `whole` says whether every seed ran to its end. Of a point that did not, the figures are those
    of all its trials as far as they came.
    """
    import pandas as pd

    objectives = [o.name for o in parse_objectives(sweep.options.objective)]
    figures = dict.fromkeys([*objectives, *_ALWAYS])
    rows = []
    for index in sorted({record.index for record in records}):
        mine = [record for record in records if record.index == index]
        finished = [record for record in mine if record.status == "finished"]
        row: dict[str, Any] = {
            "point": index,
            "setting": sweep.names.point(mine[0].point),
            "seeds": len(finished),
            "status": ", ".join(sorted({record.status for record in mine})),
            "whole": len(finished) == sweep.options.seeds,
            **{d.key: mine[0].point.get(d.key) for d in sweep.space.parameters},
        }
        for name in figures:
            values = [r.figures[name] for r in finished or mine if name in r.figures]
            row[name] = sum(values) / len(values) if values else math.nan
            row[f"{name} std"] = _deviation(values)
        rows.append(row)
    return pd.DataFrame(rows)


def best_point(points: pd.DataFrame, objectives: Sequence[Objective]) -> int:
    """Label of the best row by the first objective, among points whose every seed finished."""
    whole = points.loc[points["whole"], objectives[0].name]
    return int(whole.idxmax() if objectives[0].mode == "max" else whole.idxmin())


def cells(
    points: pd.DataFrame, objectives: Sequence[Objective]
) -> tuple[list[str], list[list[str]]]:
    """Headings and texts of the points' table, best first; unfinished ones last."""
    names = list(dict.fromkeys([*(o.name for o in objectives), *_ALWAYS]))
    ordered = points.sort_values(
        ["whole", objectives[0].name], ascending=[False, objectives[0].mode == "min"]
    )
    heads = ["setting", "seeds", *(name.replace("_", " ") for name in names), "status"]
    rows = []
    for row in ordered.to_dict("records"):
        shown = [_figure(name, row[name], row[f"{name} std"]) for name in names]
        rows.append([row["setting"], str(row["seeds"]), *shown, row["status"]])
    return heads, rows


def _write_recipe(sweep: Sweep, row: Any, name: str) -> Path:
    """The recipe of a row as a file that `fastdfkd distill` takes."""
    keys = [parameter.key for parameter in sweep.space.parameters]
    point = sweep.points[int(row["point"])] if sweep.points is not None else _of(row, keys)
    what = name.partition("-")[0]
    said = f"{what} of a sweep over {sweep.space.name}: {row['setting']}"
    recipe = load_recipe(
        sweep.recipe,
        {
            **point,
            "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"{sweep.recipe.name}-{name}"),
            "description": escaped(said),
        },
    )
    file = sweep.folder / f"{name}.yaml"
    write_text(file, f"# {printable(said)}\n# {CAVEAT}\n{recipe.to_yaml()}")
    return file


def _of(row: Any, keys: Sequence[str]) -> dict[str, Any]:
    """A point as its row has it; keys that did not apply are absent."""
    return {key: row[key] for key in keys if not _absent(row[key])}


def _front(points: pd.DataFrame, objectives: Sequence[Objective]) -> dict[int, str]:
    """Label and file name of the rows on the front, among points whose every seed finished."""
    whole = points[points["whole"]]
    values = whole[[objective.name for objective in objectives]].to_numpy().tolist()
    front = whole.iloc[pareto_front(values, objectives)]
    return {
        int(str(label)): file_name(f"{row['point']:03d}-{row['setting']}")
        for label, row in front.iterrows()
    }


def _keys(points: pd.DataFrame) -> list[str]:
    """Swept recipe keys, which have a dot in them."""
    return [str(name) for name in points.columns if "." in str(name)]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of mixed kinds as text, which Parquet can hold."""
    mixed = [name for name in table.columns if table[name].dtype == object]
    return table.astype(dict.fromkeys(mixed, "string"))


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN of fewer than two."""
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _figure(name: str, value: float, deviation: float) -> str:
    if math.isnan(value):
        return "-"
    scale, unit = (100.0, " %") if name.startswith(("accuracy", "agreement")) else (1.0, " s")
    spread = "" if math.isnan(deviation) else f" ± {deviation * scale:.1f}"
    return f"{value * scale:.1f}{spread}{unit}"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _ends(records: Sequence[TrialRecord]) -> str:
    counts = {status: 0 for status in ("finished", "stopped", "failed")}
    for record in records:
        counts[record.status] += 1
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def title(sweep: Sweep) -> str:
    """What was swept, over what and how."""
    ways = f"{sweep.options.search} search, {sweep.options.scheduler}"
    return f"Sweep of {sweep.recipe.name} over {sweep.space.name} ({ways})"
