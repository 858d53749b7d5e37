"""`segue.inspect`: tasks, trees, graphs and figures, without a recording and with one, on Segue and on asyncio."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import xml.dom.minidom
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from prometheus_client.parser import text_string_to_metric_families
from segue import inspect

Run = Callable[[Any], Any]


@pytest.fixture(params=["no recording", "a file", "flight recorder"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bool]:
    """Whether one runs of which figures can be had."""
    if request.param == "no recording":
        yield False
        return
    recorder = (
        segue.record(tmp_path / "a.segue") if request.param == "a file" else segue.flight(tmp_path, stall=0)
    )
    with recorder:
        yield True


def named(found: list[inspect.TaskInfo]) -> dict[str, inspect.TaskInfo]:
    return {info.task.name: info for info in found}


async def counted(condition: Callable[[], Any]) -> Any:
    """Until the recording's thread has come to it."""
    for _ in range(2000):
        if found := condition():
            return found
        await asyncio.sleep(0.005)
    raise AssertionError("it was never counted")


# ---- tasks -----------------------------------------------------------------------------------------------------------


def test_tasks_of_every_kind(recording: bool) -> None:
    async def holds(lock: segue.Lock) -> None:
        async with lock:
            await segue.sleep(1000)

    async def waits(lock: segue.Lock) -> None:
        async with lock:
            pass

    async def in_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1000), name="in the group")

    async def gathers() -> None:
        await asyncio.gather(asyncio.sleep(1000), asyncio.create_task(asyncio.sleep(1000), name="gathered"))

    async def awaits(other: asyncio.Task[Any]) -> None:
        await other

    async def main() -> None:
        lock = segue.Lock()
        segue.lowlevel.spawn_system_task(segue.sleep_forever, name="the system's")
        async with segue.open_nursery() as nursery:
            nursery.start_soon(holds, lock, name="holder")
            nursery.start_soon(waits, lock, name="stuck")
            nursery.start_soon(in_group, name="group's")
            nursery.start_soon(gathers, name="gatherer")
            loose = asyncio.create_task(asyncio.sleep(1000), name="loose")
            nursery.start_soon(awaits, loose, name="awaiter")
            await segue.sleep(0.01)
            nursery.start_soon(holds, lock, name="not begun")
            found = named(inspect.tasks())
            mine = segue.lowlevel.current_task()
            nursery.cancel_scope.cancel()
        loose.cancel()

        assert len(found) == 12
        stuck = found["stuck"]
        assert (stuck.state, stuck.waits_for, stuck.group) == ("waiting", "lock.acquire()", "nursery")
        assert stuck.parent is not None and stuck.parent.name == mine.get_name()
        assert stuck.place is not None and stuck.place.function.endswith("waits")
        assert stuck.loop.is_running and stuck.loop.thread == threading.current_thread().name
        assert stuck.has_begun and not stuck.is_system
        assert (found["in the group"].group, found["gathered"].group) == ("TaskGroup", "gather")
        assert [found[name].parent and found[name].parent.name for name in ("in the group", "gathered")] == [
            "group's",
            "gatherer",
        ]
        loose_one = found["loose"]
        assert loose_one.group is None and found["awaiter"].awaits == loose_one.task
        fresh = found["not begun"]
        assert (fresh.state, fresh.has_begun, fresh.waits_for) == ("ready", False, "")
        assert found["the system's"].is_system
        assert found[mine.get_name()].state == "running"
        for info in found.values():
            assert bool(info.recorded_as) == recording
            assert json.loads(json.dumps(info.as_dict()))["state"] == info.state

    segue.run(main())


def test_figures_are_the_recordings_and_none_without_one(recording: bool) -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)

    async def waits() -> None:
        await asyncio.sleep(0)
        await asyncio.Event().wait()

    async def main() -> None:
        first = asyncio.create_task(spins(), name="spins")
        before = named(inspect.tasks())["spins"]
        assert not any((before.busy, before.steps, before.wakes, before.since))
        late = asyncio.create_task(waits(), name="late")
        if not recording:
            await asyncio.sleep(0.05)
            found = named(inspect.tasks())["spins"]
            assert (found.busy, found.steps, found.wakes, found.since, found.started) == (None,) * 5
        else:
            found = await counted(lambda: (found := named(inspect.tasks())["spins"]).wakes and found)
            assert found.busy > 0 and found.wakes > 0
            again = await counted(lambda: (it := named(inspect.tasks())["spins"]).steps > found.steps + 5 and it)
            assert again.busy > found.busy
            info = await counted(lambda: (it := named(inspect.tasks())["late"]).since and it)
            assert info.state == "waiting" and info.since < 60
            later = await counted(lambda: (it := named(inspect.tasks())["late"]).since > info.since and it)
            assert later.steps == 2
            assert info.started is not None and info.started.place is not None
            assert info.started.place.function.endswith("main")
            assert info.started.task is not None and info.started.task.name == asyncio.current_task().get_name()
            assert info.parent == info.started.task
        first.cancel()
        late.cancel()

    segue.run(main())


def test_several_loops_in_threads_are_told_apart() -> None:
    ready, done = threading.Barrier(3), threading.Event()

    async def other(name: str) -> None:
        asyncio.current_task().set_name(f"main of {name}")
        await asyncio.sleep(0)
        await asyncio.to_thread(ready.wait)
        while not done.is_set():
            await asyncio.sleep(0.005)

    async def main() -> dict[str, inspect.TaskInfo]:
        await asyncio.to_thread(ready.wait)
        return named(inspect.tasks())

    threads = [threading.Thread(target=lambda n=n: segue.run(other(n)), name=n) for n in ("one", "two")]
    for thread in threads:
        thread.start()
    found = segue.run(main())
    done.set()
    for thread in threads:
        thread.join()
    assert {found[f"main of {name}"].loop.thread for name in ("one", "two")} == {"one", "two"}
    assert len({info.loop.number for info in found.values()}) == 3


def test_without_a_loop_there_is_nothing_and_asyncios_own_loop_is_seen_too(run: Run) -> None:
    async def main() -> list[inspect.TaskInfo]:
        task = asyncio.create_task(asyncio.Event().wait(), name="waits")
        await asyncio.sleep(0)
        found = inspect.tasks()
        assert "waits" in str(inspect.tree())
        assert any("waits" in node.label for node in inspect.graph().nodes)
        assert sum(loop.waiting for loop in inspect.stats().loops) == 1
        list(text_string_to_metric_families(inspect.metrics()))
        task.cancel()
        return found

    found = named(run(main()))
    assert (found["waits"].state, found["waits"].waits_for) == ("waiting", "Event.wait")
    assert "waits" not in named(inspect.tasks())
    inspect.metrics(), str(inspect.tree()), inspect.graph().mermaid()


def test_names_that_a_terminal_would_act_on() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(100), name="a\n\x1b[31mb")
        await asyncio.sleep(0)
        text = str(inspect.tree())
        assert "\x1b" not in text and "a " in text and len(text.splitlines()) == 3
        assert "\x1b" not in inspect.graph().mermaid()
        task.cancel()

    segue.run(main())


# ---- trees and graphs ------------------------------------------------------------------------------------------------


async def family() -> None:
    async with segue.open_nursery() as nursery:
        for number in ("one", "two"):
            nursery.start_soon(segue.sleep_forever, name=f"child {number}")


def test_a_tree_has_each_task_below_the_one_it_belongs_to(recording: bool) -> None:
    async def main() -> inspect.Tree:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(family, name="parent")
            await segue.sleep(0.01)
            found = inspect.tree()
            nursery.cancel_scope.cancel()
        return found

    tree = segue.run(main())
    (loop,) = [loop for loop in tree.loops if loop.loop.is_running]
    (top,) = loop.branches
    (parent,) = top.children
    assert [child.task.task.name for child in parent.children] == ["child one", "child two"]
    lines = str(tree).splitlines()
    assert lines[0].startswith("loop ") and lines[0].endswith(f"in thread {threading.current_thread().name}")
    assert lines[2].startswith("   └─ parent (family, in a nursery): waits for ")
    assert lines[3].startswith("      ├─ child one (sleep_forever, in a nursery): waits for sleep_forever()")
    assert tree.text(most=2).splitlines()[2:] == [f"... and {len(lines) - 2} more lines"]
    data = json.loads(json.dumps(tree.as_dict()))
    assert data["loops"][0]["tasks"][0]["children"][0]["name"] == "parent"


def test_a_graph_as_data_and_as_pictures(recording: bool) -> None:
    async def brief() -> None:
        await segue.sleep(0)

    async def main() -> inspect.Graph:
        inspect.graph()  # counting begins
        async with segue.open_nursery() as nursery:
            nursery.start_soon(family, name="parent")
            nursery.start_soon(brief, name="brief")
            await segue.sleep(0.01)
            if recording:
                await counted(lambda: any(node.outcome == "finished" for node in inspect.graph().nodes))
            found = inspect.graph()
            nursery.cancel_scope.cancel()
        return found

    graph = segue.run(main())
    assert graph.is_recorded == recording
    labels = [node.label for node in graph.nodes]
    assert any("parent" in label for label in labels)
    assert any("brief" in label for label in labels) == recording, "what has ended is only in a recording"
    twins = [node for node in graph.nodes if node.count == 2 and node.kind == "group"]
    assert len(twins) == 1 and twins[0].nursery is not None
    assert any(edge.kind == "spawned" and edge.target == twins[0].id for edge in graph.edges)
    assert graph.mermaid().startswith("flowchart") and "subgraph" in graph.mermaid()
    assert xml.dom.minidom.parseString(graph.svg()).documentElement.tagName == "svg"
    assert len(json.loads(graph.json())["nodes"]) == len(graph.nodes)
    assert len(repr(graph)) < 20_000


def test_a_group_of_a_graph_can_be_unfolded() -> None:
    async def main() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(family)
            await segue.sleep(0.01)
            (group,) = (node for node in inspect.graph().nodes if node.count == 2 and node.kind == "group")
            unfolded = inspect.graph(expand=[group.id])
            assert {"child one", "child two"} <= {node.label.split(":")[0] for node in unfolded.nodes}
            with pytest.raises(LookupError):
                inspect.graph(limit=-1)
            nursery.cancel_scope.cancel()

    segue.run(main())


# ---- sums ------------------------------------------------------------------------------------------------------------


async def works() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ValueError


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(family: Any, **labels: str) -> float:
    (found,) = (s.value for s in family.samples if labels.items() <= s.labels.items() and "_created" not in s.name)
    return float(found)


def test_metrics_are_what_prometheus_reads_and_are_right(recording: bool) -> None:
    async def main() -> None:
        basics = families(inspect.metrics())
        assert {"segue_tasks_waiting", "segue_ready_queue", "segue_timers"} <= basics.keys()
        idle = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(7)]
        await asyncio.sleep(0)
        assert sum(s.value for s in families(inspect.metrics())["segue_tasks_waiting"].samples) == 7
        assert sum(s.value for s in families(inspect.metrics())["segue_timers"].samples) >= 7
        if recording:
            await counted(lambda: "segue_lag_seconds" in families(inspect.metrics()))
            for _ in range(20):
                await asyncio.gather(works(), works(), return_exceptions=True)
                await asyncio.wait([asyncio.create_task(fails())])

            def all_there() -> Any:
                found = families(inspect.metrics())
                ended = [s for s in found["segue_code_ended"].samples if s.labels["outcome"] == "failed"]
                return found if sum(s.value for s in ended) == 20 else None

            found = await counted(all_there)
            started = found["segue_code_started"].samples
            assert sum(s.value for s in started if s.labels["coroutine"] == "works") == 40
            (site,) = (s.labels["place"] for s in started if s.labels["coroutine"] == "fails")
            assert site.startswith("tests/seeing/test_inspecting.py:") or "test_inspecting.py:" in site
            assert value(found["segue_code_steps"], coroutine="fails") == 20
            assert value(found["segue_code_busy_seconds"], coroutine="fails") > 0
            lag = {s.labels["le"]: s.value for s in found["segue_lag_seconds"].samples if s.name.endswith("_bucket")}
            counts = [lag[le] for le in sorted(lag, key=float)]
            assert counts == sorted(counts) and counts[-1] >= 60
            later = families(inspect.metrics())
            for name in ("segue_turns", "segue_jobs", "segue_busy_seconds"):
                assert found[name].type == "counter" and found[name].samples[0].value > 0
                assert later[name].samples[0].value >= found[name].samples[0].value
        else:
            assert "segue_lag_seconds" not in families(inspect.metrics())
        for task in idle:
            task.cancel()

    segue.run(main())


def test_names_that_prometheus_would_stumble_over(tmp_path: Path) -> None:
    async def strange() -> None:
        await asyncio.sleep(1000)

    strange.__qualname__ = 'a "b"\\ \n c'

    async def main() -> None:
        inspect.metrics()
        task = asyncio.create_task(strange())
        await asyncio.sleep(0)
        names = await counted(
            lambda: [
                sample.labels["coroutine"]
                for family in families(inspect.metrics()).values()
                for sample in family.samples
                if family.name == "segue_code_tasks" and sample.labels["coroutine"].startswith('a "b"\\')
            ]
        )
        assert len(names) == 1
        task.cancel()

    with segue.flight(tmp_path):
        thread = threading.Thread(target=lambda: segue.run(main()), name='thread "1"\n')
        thread.start()
        thread.join()


def running(stats: inspect.Stats) -> inspect.LoopStats:
    (found,) = (loop for loop in stats.loops if loop.loop.is_running)
    return found


def test_stats_without_a_recording_say_what_there_is(tmp_path: Path) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
        await asyncio.sleep(0)
        stats = inspect.stats()
        assert stats.counted_for is None
        loop = running(stats)
        assert (loop.waiting, loop.turns, loop.lag) == (3, None, None)
        assert {code.coroutine: code.alive for code in stats.code}["Event.wait"] == 3
        assert all(code.steps is None for code in stats.code)
        json.dumps(stats.as_dict())
        # Of a recording whose events nobody takes there are no figures.
        with segue.record():
            assert inspect.stats().counted_for is None
        with segue.flight(tmp_path):
            assert await counted(lambda: running(inspect.stats()).turns)
        assert inspect.stats().counted_for is None
        for task in tasks:
            task.cancel()

    segue.run(main())


def test_the_flight_recorders_figures_begin_with_what_it_has_in_memory(tmp_path: Path) -> None:
    async def main() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(family, name="parent")
            for _ in range(10):
                await works()
            await asyncio.sleep(0.05)
            inspect.stats()  # the first question
            await counted(lambda: inspect.stats().counted_for)
            code = {code.coroutine: code for code in inspect.stats().code}
            assert code["family"].started == 1 and code["family"].place is not None
            assert code["family"].place.function.endswith("main")
            assert code["sleep_forever"].started == 2
            nursery.cancel_scope.cancel()

    with segue.flight(tmp_path):
        segue.run(main())


def test_questions_from_many_threads_while_loops_work(tmp_path: Path) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    async def main() -> None:
        while not stop.is_set():
            async with segue.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(works)

    def asks() -> None:
        try:
            for _ in range(30):
                inspect.tasks(), inspect.tree(), inspect.graph(), inspect.metrics()
        except BaseException as error:
            failed.append(error)

    with segue.flight(tmp_path, stall=0):
        loops = [threading.Thread(target=lambda: segue.run(main())) for _ in range(2)]
        asking = [threading.Thread(target=asks) for _ in range(3)]
        for thread in loops + asking:
            thread.start()
        for thread in asking:
            thread.join()
        stop.set()
        for thread in loops:
            thread.join()
    assert not failed


def test_importing_inspect_starts_nothing() -> None:
    code = "import threading, segue.inspect; print(threading.active_count(), segue.inspect.tasks())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1 []\n"
