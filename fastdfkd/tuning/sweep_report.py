"""The report of a sweep: tables, the best recipe as a file, and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdfkd.recipe.plain import escaped
from fastdfkd.report.table import csv_text, markdown_table
from fastdfkd.runs.figures import FIGURES, shown_columns
from fastdfkd.runs.folder import write_text
from fastdfkd.text.safe_text import file_name, markdown, printable
from fastdfkd.tuning.objective import Objective, pareto_front, parse_objectives
from fastdfkd.tuning.trial_log import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

    from fastdfkd.tuning.plan import Sweep

_SECONDS = ("synthesis_seconds", "end_to_end_seconds")
CAVEAT = (
    "The best point was selected on the same held-out images that its figures are measured on, so "
    "these figures are optimistic; `fastdfkd compare` with other seeds gives fair ones. Seconds "
    "were measured on this machine while several trials shared it."
)


def write_sweep_report(
    sweep: Sweep, records: Sequence[TrialRecord]
) -> tuple[list[Path], dict[str, float]]:
    """Write tables, pictures and the best recipe into the sweep's folder.

    Returns:
        The files, and the best point's figures by name (`best.accuracy`, ...).

    Raises:
        ValueError: no point finished with all its seeds.
    """
    objectives = parse_objectives(sweep.options.objective)
    folder = sweep.folder
    trials, points = trial_table(sweep, records), point_table(sweep, records)
    files = [folder / "trials.csv", folder / "trials.parquet", folder / "points.csv"]
    write_text(files[0], csv_text(trials))
    _with_text_columns(trials).to_parquet(files[1], index=False)
    write_text(files[2], csv_text(points))
    if not points["whole"].any():
        raise ValueError(
            f"no point of the sweep finished with all its seeds ({_status_counts(records)}); the "
            f"trials are in {files[0]}, and --resume {folder} runs the failed ones again"
        )
    best = best_point(points, objectives)
    front = _front(points, objectives)
    for old in folder.glob("pareto-*.yaml"):
        old.unlink()  # written before the sweep was resumed
    recipes = {"best": best}
    if len(objectives) > 1:
        recipes |= {f"pareto-{front[label]}": label for label in front}
    files += [_write_recipe(sweep, points.loc[label], name) for name, label in recipes.items()]
    files.append(folder / "table.md")
    table = markdown_table(*cells(points, objectives))
    notes = "\n\n".join([CAVEAT, *map(markdown, warning_notes(sweep, records))])
    write_text(files[-1], f"# {markdown(title(sweep))}\n\n{table}\n{notes}\n")
    files += _draw_pictures(points, objectives, list(front), folder)
    names = _figures(points.columns, objectives)
    figures: dict[Any, Any] = points.loc[best, list(names)].to_dict()
    return files, {f"best.{name}": float(value) for name, value in figures.items()}


def _draw_pictures(
    points: pd.DataFrame, objectives: Sequence[Objective], front: Sequence[int], folder: Path
) -> list[Path]:
    """Draw the pictures of the sweep; return their files."""
    from fastdfkd.tuning.pictures import parallel_coordinates, pareto_picture, slices

    keys = _keys(points)
    files = [folder / "parallel_coordinates.png", folder / "slices.png"]
    parallel_coordinates(points, keys, objectives[0], files[0])
    slices(points, keys, objectives[0], files[1])
    if len(objectives) > 1:
        files.append(folder / "pareto.png")
        pareto_picture(points, objectives, front, files[-1])
    return files


def trial_table(sweep: Sweep, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row per trial: name, point, seed, status, the swept keys, figures, error."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "trial": sweep.names.trial(record.point, record.seed),
                "point": record.index,
                "seed": record.seed,
                "status": record.status,
                "evaluations": record.evaluations,
                **{p.key: record.point.get(p.key) for p in sweep.space.parameters},
                **record.figures,
                "warnings": record.warnings,
                "error": record.error,
            }
            for record in sorted(records, key=lambda record: (record.index, record.seed))
        ]
    )


def point_table(sweep: Sweep, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row per point: name, swept keys, `<figure>` and `<figure> std` over its finished seeds.

    `<figure>` is the mean, `<figure> std` the sample standard deviation. `whole` is true if all
    seeds finished. If none did, the figures are the last ones of the unfinished trials. `warned` is
    the number of trials with a warning.
    """
    import pandas as pd

    objectives = parse_objectives(sweep.options.objective)
    figures = _figures({name for record in records for name in record.figures}, objectives)
    rows = []
    for index in sorted({record.index for record in records}):
        trials = [record for record in records if record.index == index]
        finished = [record for record in trials if record.status == "finished"]
        row: dict[str, Any] = {
            "point": index,
            "setting": sweep.names.point(trials[0].point),
            "seeds": len(finished),
            "status": ", ".join(sorted({record.status for record in trials})),
            "warned": sum(bool(record.warnings) for record in trials),
            "whole": len(finished) == sweep.options.seeds,
            **{p.key: trials[0].point.get(p.key) for p in sweep.space.parameters},
        }
        for name in figures:
            values = [r.figures[name] for r in finished or trials if name in r.figures]
            row[name] = sum(values) / len(values) if values else math.nan
            row[f"{name} std"] = _deviation(values)
        rows.append(row)
    return pd.DataFrame(rows)


def best_point(points: pd.DataFrame, objectives: Sequence[Objective]) -> int:
    """Label of the best row by the first objective, among points with all seeds finished."""
    values = points.loc[points["whole"], objectives[0].name]
    return int(values.idxmax() if objectives[0].mode == "max" else values.idxmin())


def cells(
    points: pd.DataFrame, objectives: Sequence[Objective]
) -> tuple[list[str], list[list[str]]]:
    """Headings and cell texts of the points: best point first, unfinished points last."""
    names = _figures(points.columns, objectives)
    ordered = points.sort_values(
        ["whole", objectives[0].name], ascending=[False, objectives[0].mode == "min"]
    )
    heads = ["setting", "seeds", *map(_heading, names), "status"]
    rows = []
    for row in ordered.to_dict("records"):
        figures = [_figure(name, row[name], row[f"{name} std"]) for name in names]
        status = row["status"] + (f", {row['warned']} with a warning" if row["warned"] else "")
        rows.append([row["setting"], str(row["seeds"]), *figures, status])
    return heads, rows


def warning_notes(sweep: Sweep, records: Sequence[TrialRecord]) -> list[str]:
    """The warnings of all trials, a paragraph each."""
    return [
        f"Warning: {sweep.names.trial(record.point, record.seed)}: {warning}"
        for record in sorted(records, key=lambda record: (record.index, record.seed))
        for warning in record.warnings.splitlines()
    ]


def _write_recipe(sweep: Sweep, row: Any, name: str) -> Path:
    """Write the recipe of a point as `<name>.yaml`, a file that `fastdfkd distill` accepts."""
    keys = [parameter.key for parameter in sweep.space.parameters]
    point = sweep.points[int(row["point"])] if sweep.points is not None else _point(row, keys)
    kind = name.partition("-")[0]
    description = f"{kind} of a sweep over {sweep.space.name}: {row['setting']}"
    recipe = sweep.recipes.at(
        point,
        {
            "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"{sweep.recipe.name}-{name}"),
            "description": escaped(description),
        },
    )
    file = sweep.folder / f"{name}.yaml"
    write_text(file, f"# {printable(description)}\n# {CAVEAT}\n{recipe.to_yaml()}")
    return file


def _point(row: Any, keys: Sequence[str]) -> dict[str, Any]:
    """The point of a row; keys that did not apply are absent."""
    return {key: row[key] for key in keys if not _absent(row[key])}


def _front(points: pd.DataFrame, objectives: Sequence[Objective]) -> dict[int, str]:
    """File name by label for the Pareto front of the points with all seeds finished."""
    finished = points[points["whole"]]
    values = finished[[objective.name for objective in objectives]].to_numpy().tolist()
    front = finished.iloc[pareto_front(values, objectives)]
    return {
        int(str(label)): file_name(f"{row['point']:03d}-{row['setting']}")
        for label, row in front.iterrows()
    }


def _keys(points: pd.DataFrame) -> list[str]:
    """The swept recipe keys: columns with a dot in their name."""
    return [str(name) for name in points.columns if "." in str(name)]


def _with_text_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its `object` columns as text, because Parquet does not hold mixed types."""
    mixed = [name for name in table.columns if table[name].dtype == object]
    return table.astype(dict.fromkeys(mixed, "string"))


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _figures(measured: Collection[str], objectives: Sequence[Objective]) -> list[str]:
    """Columns of the report: the objectives, what was measured, and seconds."""
    names = [objective.name for objective in objectives]
    return list(dict.fromkeys([*names, *shown_columns(measured), *_SECONDS]))


def _heading(name: str) -> str:
    return FIGURES[name].name if name in FIGURES else name.replace("_", " ")


def _figure(name: str, value: float, deviation: float) -> str:
    if math.isnan(value):
        return "-"
    judged = FIGURES.get(name.removesuffix("_at_seconds"))
    if judged is not None and judged.unit != "share":
        return judged.show(value)
    scale, unit = (100.0, " %") if judged is not None else (1.0, " s")
    spread = "" if math.isnan(deviation) else f" ± {deviation * scale:.1f}"
    return f"{value * scale:.1f}{spread}{unit}"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _status_counts(records: Sequence[TrialRecord]) -> str:
    counts = {status: 0 for status in ("finished", "stopped", "failed")}
    for record in records:
        counts[record.status] += 1
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def title(sweep: Sweep) -> str:
    """Title of the report: recipe, space, search and scheduler."""
    method = f"{sweep.options.search} search, {sweep.options.scheduler}"
    return f"Sweep of {sweep.recipe.name} over {sweep.space.name} ({method})"
