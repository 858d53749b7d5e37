"""What the program's tasks do, what looks wrong, and why something failed.

`explain(exception)` and `explain(task)` say it in words; `explain_errors()` has that printed for what nobody handles.
`tasks()`, `tree()` and `graph()` are what is alive now, `stats()` and `metrics()` are sums. All work without a
recording, and know more while `segue.record(path)` or `segue.flight` runs.
`warnings()` says what looks wrong, while a recording runs.
"""

from ._explain.cancellations import Cancelled
from ._explain.errors import Error, Stretch
from ._explain.explanation import Explanation, TaskState, explain
from ._explain.places import Place
from ._explain.reporting import explain_errors
from ._explain.tasks import Alike, Group, Start, TaskName, Wait
from ._inspect.graph import Edge, Graph, Node, graph
from ._inspect.metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from ._inspect.metrics import metrics
from ._inspect.stats import CodeStats, LoopStats, Spread, Stats, stats
from ._inspect.tasks import LoopName, TaskInfo, tasks
from ._inspect.tree import Branch, LoopTree, Tree, tree
from ._watch.found import Warning, warnings

__all__ = [
    "METRICS_CONTENT_TYPE",
    "Alike",
    "Branch",
    "Cancelled",
    "CodeStats",
    "Edge",
    "Error",
    "Explanation",
    "Graph",
    "Group",
    "LoopName",
    "LoopStats",
    "LoopTree",
    "Node",
    "Place",
    "Spread",
    "Start",
    "Stats",
    "Stretch",
    "TaskInfo",
    "TaskName",
    "TaskState",
    "Tree",
    "Wait",
    "Warning",
    "explain",
    "explain_errors",
    "graph",
    "metrics",
    "stats",
    "tasks",
    "tree",
    "warnings",
]
