"""The table of a profile: what teacher and student cost, and how well each program does."""

from __future__ import annotations

from fastdfkd.report.table import markdown_table, seconds, size, times
from fastdfkd.runs.profile import Profile, ProgramProfile
from fastdfkd.text.safe_text import markdown

_HEADS = ("program", "parameters", "MACs", "file", "peak memory")


def cells(profile: Profile) -> tuple[list[str], list[list[str]]]:
    """Headings and cell texts, one row for each program."""
    batches = sorted(profile.programs[0].seconds)
    heads = [
        *_HEADS,
        *(f"{count} {'image' if count == 1 else 'images'}" for count in batches),
        *profile.figure_names.values(),
        "agreement",
        "as float32",
    ]
    return heads, [_row(profile, program, batches) for program in profile.programs]


def _row(profile: Profile, program: ProgramProfile, batches: list[int]) -> list[str]:
    return [
        program.name,
        f"{program.parameters:,}",
        "-" if program.macs is None else f"{program.macs / 1e6:,.4g} M",
        size(program.file_bytes),
        size(program.peak_memory_bytes),
        *(seconds(program.seconds[count]) for count in batches),
        *(_share(program.figures.get(key)) for key in profile.figure_names),
        _share(program.agreement),
        _share(program.same_class),
    ]


def notes(profile: Profile) -> list[str]:
    """What the figures are, what was gained, and what was left out."""
    hardware = profile.hardware
    versions = ", ".join(f"{name} {version}" for name, version in profile.versions.items())
    lines = [
        f"On the CPU with {profile.threads} {'thread' if profile.threads == 1 else 'threads'} "
        f"({hardware.get('processor')}, {hardware.get('cores'):g} cores; {versions}; commit "
        f"{profile.commit[:12]}). Times are medians over {profile.rounds} rounds, in each of which "
        "every program answers. A program reads uint8 pixels; normalisation is part of it.",
        f"Figures are of {profile.images:,} {profile.compared_on}. Agreement: the same class as "
        "the teacher in torch, float32. As float32: the same class as the same network in torch, "
        "float32. Peak memory: while the program is opened and answers the largest batch, above "
        "what the process held before.",
    ]
    if profile.calibrated_on:
        lines.append(f"int8 programs were calibrated on {profile.calibrated_on}.")
    return [*lines, *gains(profile), *profile.notes]


def gains(profile: Profile) -> list[str]:
    """How much smaller and faster the student is than the teacher, in each runtime and type."""
    found = {(each.network, each.runtime, each.numbers): each for each in profile.programs}
    lines = []
    for (network, runtime, numbers), student in found.items():
        teacher = found.get(("teacher", runtime, numbers))
        if network == "student" and teacher is not None:
            faster = ", ".join(
                f"{times(teacher.seconds[count] / value)} at {count:,}"
                for count, value in sorted(student.seconds.items())
            )
            smaller = times(teacher.file_bytes / max(student.file_bytes, 1))
            lines.append(
                f"Teacher / student in {runtime}, {numbers}: file {smaller}, time of a call "
                f"{faster} images."
            )
    return lines


def markdown_page(profile: Profile) -> str:
    """The table and its notes in Markdown."""
    text = "\n\n".join(markdown(note) for note in notes(profile))
    return f"# {markdown(profile.recipe)}\n\n{markdown_table(*cells(profile))}\n{text}\n"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
