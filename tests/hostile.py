"""Texts that a program which does not escape them takes for markup, code or control characters."""

from __future__ import annotations

HEBREW = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"

TEXTS = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"quoted\" & 'quoted' &amp; &lt;b&gt;",
    "a | b || c \\| d \\",
    "two\nlines\r\nand\ttabs",
    "\x1b[31mred\x1b]0;owned\x07\x9b2J",
    "abc\u202efdp.exe\u2066x\u200f",
    f"{HEBREW} 12",
    "=1+1",
    "+1-1",
    "@SUM(A1)",
    "-2+cmd|' /C calc'!A0",
    "[red]not red[/red] [link=https://example.org]x[/link] :smile:",
    "*bold* _leaning_ `code` ~gone~ [x](javascript:alert(1)) $x^2$ ![i](j)",
    "# heading",
    "- item",
    "1. item",
    "---",
    "../../etc/passwd",
    "nul\0byte \ud800 \ufeff\u2028",
    "{{ 7 * 7 }} {% raw %} ${seed}",
    "漢字 naïve ﷽",
)
