"""Takes the student of a finished run out: exports it in formats that other programs read.

`FORMATS` (`table.py`) has the formats by name. An export is compared with the network before it is
put in place (`exporting.py`). `profiling.py` measures teacher and student as they are deployed.
"""

from fastdfkd.export.calls import export_student, profile_student
from fastdfkd.export.export_report import ExportReport

__all__ = ["ExportReport", "export_student", "profile_student"]
