"""Tables of papers, run cell by cell as sweeps, beside the published figures.

    published.yaml -> published -> request -> table_run -> outcomes -> layout

START HERE: `table_run.py`.
"""
