"""Options of a command line that have no effect beside others, and are therefore refused."""

from __future__ import annotations

import typer


def refuse_beside(context: typer.Context, option: str, why: str, *names: str) -> None:
    """Raise if options were given that have no effect beside another one.

    Args:
        context: of the command.
        option: the other one, such as `--resume`.
        why: what it does with their values instead, after the option's name.
        names: of the command's parameters.

    Raises:
        ValueError: some were given; the message names them.
    """
    declared = {each.name: each.opts[0] for each in context.command.params}
    given = [name for name in names if _is_given(context, name)]
    if given:
        raise ValueError(f"{option} {why}: remove {', '.join(declared[name] for name in given)}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
