from __future__ import annotations

from fastdfkd.recipe.naming import by_what_varies, short_keys


def test_keys_with_the_same_last_part_keep_their_sections() -> None:
    keys = ["synthesis.batch_size", "distillation.batch_size", "distillation.lr"]
    assert list(short_keys(keys).values()) == [*keys[:2], "lr"]


def test_values_that_look_alike_are_written_out() -> None:
    settings = [{"synthesis.lr_g": 0.015, "a.b": True}, {"synthesis.lr_g": 0.01500004, "a.b": True}]
    assert by_what_varies(settings) == ["lr_g=0.015", "lr_g=0.01500004"]
    assert by_what_varies([{"a.b": None, "a.c": 1}, {"a.b": True, "a.d": 2}]) == [
        "b=null",
        "b=true",
    ]
