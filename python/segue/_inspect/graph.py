"""`graph()`: who started, awaits, woke and cancelled whom, as data and as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .. import _core
from .tasks import Seen


@dataclass(frozen=True)
class Node:
    """A task, tasks that are alike, or a nursery."""

    id: str
    kind: str
    """ "task", "group", "nursery", or "more" for what is left out."""
    label: str
    count: int
    """How many tasks it stands for."""
    outcome: str | None
    """The worst among them: "pending", "finished", "failed" or "cancelled"."""
    nursery: str | None
    """The nursery's node that it is in."""


@dataclass(frozen=True)
class Edge:
    """What tasks have to do with each other."""

    source: str
    target: str
    kind: str
    """ "spawned", "awaits", "woke" or "cancelled"."""
    count: int


@dataclass(frozen=True)
class Graph:
    """The tasks and what they have to do with each other, as that was when this was made."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_recorded: bool
    """Whether it is of a recording: then tasks that have ended, and who woke and cancelled whom, are in it."""
    _json: str = field(repr=False)
    _mermaid: str = field(repr=False)
    _svg: str = field(repr=False)

    def mermaid(self) -> str:
        """As a flowchart for Markdown."""
        return self._mermaid

    def svg(self) -> str:
        """As a picture, light or dark as its reader's system."""
        return self._svg

    def json(self) -> str:
        """With positions, as `segue view` draws it."""
        return self._json


def graph(*, expand: Iterable[str] = (), limit: int = 200) -> Graph:
    """The tasks as a graph. Tasks with the same code, started at the same place by the same tasks, are one node, unless
    its id is in `expand`. `limit`: how many nodes, at most 300.

    With `segue.record(path)` or `segue.flight` running, of all tasks since figures are counted (`segue.inspect.tasks`
    says when that begins); else of those that are alive, with what is known of these.
    """
    seen = Seen()
    wanted = json.dumps({"expand": list(expand), "limit": limit})
    is_recorded = True
    found = _core._figures("graph", wanted)
    answer = None if found is None else found[0]
    pictures = [_core._export_figures(picture, wanted) for picture in ("mermaid", "svg")]
    if answer is None or None in pictures:
        is_recorded = False
        recording = _core._describe(*seen.described())
        answer = recording.answer("graph", wanted)
        pictures = [recording.export(picture, wanted) for picture in ("mermaid", "svg")]
    mermaid, svg = ((picture or b"").decode() for picture in pictures)
    data = json.loads(answer)
    return Graph(
        nodes=tuple(_node(node) for node in data["nodes"]),
        edges=tuple(Edge(edge["from"], edge["to"], edge["kind"], edge["count"]) for edge in data["edges"]),
        is_recorded=is_recorded,
        _json=answer,
        _mermaid=mermaid,
        _svg=svg,
    )


def _node(node: dict[str, Any]) -> Node:
    return Node(
        node["id"], node["kind"], node.get("label") or "", node["count"], node.get("outcome"), node.get("parent")
    )
