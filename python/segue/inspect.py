"""What the program's tasks do, and why something failed.

`explain(exception)` and `explain(task)` say it in words; `explain_errors()` has that printed for what nobody handles.
"""

from ._explain.cancellations import Cancelled
from ._explain.errors import Error, Stretch
from ._explain.explanation import Explanation, TaskState, explain
from ._explain.places import Place
from ._explain.reporting import explain_errors
from ._explain.tasks import Alike, Group, Start, TaskName, Wait

__all__ = [
    "Alike",
    "Cancelled",
    "Error",
    "Explanation",
    "Group",
    "Place",
    "Start",
    "Stretch",
    "TaskName",
    "TaskState",
    "Wait",
    "explain",
    "explain_errors",
]
