"""A model of scopes and nurseries, small enough to be checked by reading, that runs the same programs as Segue.

A program is source text written against a `Runtime`; `Model` runs it with a virtual clock and no event loop. Both keep
the same log: how each suspension ended and when, what each scope and task came to. The rules are those of
structured-concurrency.md: a suspension raises if its scope is effectively cancelled, a scope catches what scopes threw
if it is cancelled and no visible scope around it is, a `Task.cancel` is nobody's to catch.
"""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

Fn = Callable[[], Coroutine[Any, Any, None]]


class Runtime(ABC):
    """What a program uses. `Model` and the runtime in test_properties.py fill in the rest."""

    Cancelled: type[BaseException]

    def __init__(self) -> None:
        self.log: dict[str, list[Any]] = {}
        self.tasks: dict[int, Any] = {}
        self.done_tasks: set[int] = set()
        self.scopes: dict[int, Any] = {}
        self.nurseries: dict[int, Any] = {}
        self.entered: set[int] = set()
        self.left: set[int] = set()

    @abstractmethod
    def now(self) -> float:
        """Seconds on the clock of the run."""

    @abstractmethod
    def is_scoped(self, exc: BaseException) -> bool | None:
        """Whether a scope threw the cancellation (False: a `Task.cancel`, None: nobody knows)."""

    def shape(self, exc: BaseException | None) -> Any:
        """What counts about an exception: its kind, and a group's members in no order."""
        if exc is None:
            return "returned"
        if isinstance(exc, BaseExceptionGroup):
            return "group", *sorted((self.shape(e) for e in exc.exceptions), key=repr)
        if isinstance(exc, self.Cancelled):
            return {True: "cancelled", False: "Task.cancel", None: "untagged"}[self.is_scoped(exc)]
        return repr(exc)

    def note(self, who: str, *what: Any) -> None:
        self.log.setdefault(who, []).append((*what, self.now()))

    @contextmanager
    def noting(self, who: str) -> Iterator[None]:
        try:
            yield
        except BaseException as exc:
            self.note(who, self.shape(exc))
            raise
        self.note(who, "returned")

    async def run_task(self, number: int, fn: Fn) -> None:
        try:
            with self.noting(f"task {number}"):
                await fn()
        finally:
            self.done_tasks.add(number)

    # What changes a scope or task is asked for at a time of its own (`pause`): so no order within an instant matters.

    def cancel(self, scope: int) -> None:
        if scope in self.scopes:
            self.scopes[scope].cancel()

    def shield(self, scope: int, value: bool) -> None:
        if scope in self.scopes:
            self.scopes[scope].shield = value

    def move(self, scope: int, seconds: float) -> None:
        if scope in self.entered - self.left:
            self.scopes[scope].relative_deadline = seconds

    def cancel_task(self, number: int) -> None:
        if number in self.tasks and number not in self.done_tasks:
            self.tasks[number].cancel()


class Undecided(Exception):
    """A scope would catch, in a task that was also cancelled by `Task.cancel`: test_rules.py has those cases."""


class ModelCancelled(BaseException):
    def __init__(self, scoped: bool) -> None:
        self.scoped = scoped


class ModelScope:
    """A scope, and while it is entered its place in the tree."""

    def __init__(self, model: Model, deadline: float | None, shield: bool) -> None:
        self.model = model
        self.relative = deadline
        self.shield_value = shield
        self.parent: ModelScope | None = None
        self.deadline: float | None = None
        self.cancel_called = self.cancelled_caught = False
        self.open = False

    def effective(self) -> bool:
        return self.cancel_called or self.around_is_effective()

    def around_is_effective(self) -> bool:
        return not self.shield_value and self.parent is not None and self.parent.effective()

    def cancel(self) -> None:
        self.cancel_called = True
        self.model.look()

    @property
    def shield(self) -> bool:
        return self.shield_value

    @shield.setter
    def shield(self, value: bool) -> None:
        self.shield_value = value
        self.model.look()

    def set_relative_deadline(self, seconds: float) -> None:
        due = self.deadline = self.model.now() + seconds
        self.model.at(due, lambda: self.cancel() if self.open and self.deadline == due else None)

    relative_deadline = property(None, lambda self, seconds: self.set_relative_deadline(seconds))

    def __enter__(self) -> ModelScope:
        task = self.model.task
        self.parent, task.scope = task.scope, self
        self.requests = task.requests
        self.open = True
        if self.relative is not None:
            self.set_relative_deadline(self.relative)
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, tb: Any) -> bool:
        left = self.close(exc)
        if left is not None and left is not exc:
            raise left
        return left is None

    def close(self, exc: BaseException | None) -> BaseException | None:
        """Leaves the scope; what of `exc` goes on."""
        self.open = False
        self.model.task.scope = self.parent
        if exc is None or not self.cancel_called or self.around_is_effective():
            return exc
        if isinstance(exc, BaseExceptionGroup):
            own, rest = exc.split(lambda e: self.is_own(e))  # before 3.13 nothing but a function will do
        else:
            own, rest = (exc, None) if self.is_own(exc) else (None, exc)
        self.cancelled_caught = own is not None
        return rest

    def is_own(self, exc: BaseException) -> bool:
        """Whether a scope threw it."""
        if not isinstance(exc, ModelCancelled) or not exc.scoped:
            return False
        self.model.undecided |= self.model.task.requests > self.requests
        return True


class ModelNursery:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.cancel_scope = ModelScope(model, None, False)
        self.children: set[ModelTask] = set()
        self.raised: list[BaseException] = []

    async def __aenter__(self) -> ModelNursery:
        self.cancel_scope.__enter__()
        return self

    def start(self, coro: Coroutine[Any, Any, None]) -> ModelTask:
        task = ModelTask(self.model, coro, self)
        self.children.add(task)
        return task

    def ended(self, task: ModelTask, exc: BaseException | None) -> None:
        self.children.remove(task)
        if exc is not None and not (isinstance(exc, ModelCancelled) and not exc.scoped):
            self.add(exc)
        if not self.children:
            self.model.wake_all(self)

    def add(self, exc: BaseException) -> None:
        self.raised.append(exc)
        self.cancel_scope.cancel()

    async def __aexit__(self, kind: Any, exc: BaseException | None, tb: Any) -> bool:
        if exc is not None:
            self.add(exc)
        task = self.model.task
        task.holds = True
        waited = False
        while self.children or not waited:
            waited = True
            try:
                await suspend(self if self.children else 0)
            except ModelCancelled as native:
                self.add(native)
        task.holds = False
        left = self.cancel_scope.close(self.combined())
        if left is not None and left is not exc:
            raise left
        return left is None

    def combined(self) -> BaseException | None:
        if any(not isinstance(exc, ModelCancelled) for exc in self.raised):
            return BaseExceptionGroup("", self.raised)
        natives = [exc for exc in self.raised if isinstance(exc, ModelCancelled) and not exc.scoped]
        return next(iter(natives + self.raised), None)


class Suspension:
    """Awaited: waits for seconds or for a nursery's children."""

    def __init__(self, until: float | ModelNursery) -> None:
        self.until = until

    def __await__(self) -> Generator[Any, None, None]:
        yield self.until


suspend = Suspension


class ModelTask:
    def __init__(self, model: Model, coro: Coroutine[Any, Any, None], nursery: ModelNursery | None) -> None:
        self.model = model
        self.coro = coro
        self.nursery = nursery
        self.scope = nursery.cancel_scope if nursery else None
        self.requests = 0
        self.holds = self.must_cancel = self.suspended = False
        self.waits_for: Any = None
        self.turn = itertools.count()
        self.wait = -1
        model.tasks_alive.add(self)
        model.ready.append((self, None))

    def cancel(self) -> None:
        self.requests += 1
        if self.suspended:
            self.wake(ModelCancelled(scoped=False))
        else:
            self.must_cancel = True

    def wake(self, exc: BaseException | None) -> None:
        """Ends the suspension, once."""
        if self.suspended:
            self.suspended = False
            self.model.ready.append((self, exc))

    def step(self, exc: BaseException | None) -> None:
        if self.must_cancel and exc is None:
            self.must_cancel, exc = False, ModelCancelled(scoped=False)
        self.model.task = self
        ended: BaseException | None = None
        try:
            self.waits_for = self.coro.send(None) if exc is None else self.coro.throw(exc)
        except StopIteration:
            pass
        except BaseException as raised:
            ended = raised
        else:
            self.suspend()
            return
        self.model.tasks_alive.remove(self)
        if self.nursery is not None:
            self.nursery.ended(self, ended)

    def suspend(self) -> None:
        self.suspended = True
        wait = self.wait = next(self.turn)
        if self.must_cancel:
            self.must_cancel = False
            self.wake(ModelCancelled(scoped=False))
        self.look()
        if isinstance(self.waits_for, (int, float)):
            due = self.model.now() + self.waits_for
            self.model.at(due, lambda: self.wake(None) if self.wait == wait else None)

    def look(self) -> None:
        """Interrupts the suspension if its scope is cancelled."""
        if self.suspended and not self.holds and self.scope is not None and self.scope.effective():
            self.wake(ModelCancelled(scoped=True))


class Model(Runtime):
    Cancelled = ModelCancelled

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.timers: list[tuple[float, int, Callable[[], object]]] = []
        self.numbers = itertools.count()
        self.ready: deque[tuple[ModelTask, BaseException | None]] = deque()
        self.tasks_alive: set[ModelTask] = set()
        self.task: ModelTask
        self.undecided = False

    def now(self) -> float:
        return self.time

    def is_scoped(self, exc: BaseException) -> bool | None:
        assert isinstance(exc, ModelCancelled)
        return exc.scoped

    def at(self, due: float, do: Callable[[], object]) -> None:
        heapq.heappush(self.timers, (due, next(self.numbers), do))

    def look(self) -> None:
        for task in list(self.tasks_alive):
            task.look()

    def wake_all(self, nursery: ModelNursery) -> None:
        for task in self.tasks_alive:
            if task.waits_for is nursery:
                task.wake(None)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.tasks[0] = ModelTask(self, main, None)
        while self.tasks_alive:
            while self.ready:
                task, exc = self.ready.popleft()
                task.step(exc)
            if self.tasks_alive:
                self.time, _, do = heapq.heappop(self.timers)
                do()
        if self.undecided:
            raise Undecided

    # ---- what programs use ----

    async def sleep(self, number: int, kind: str, seconds: float) -> None:
        with self.noting(f"line {number}"):
            await suspend(seconds)

    async def pause(self, seconds: float) -> None:
        with ModelScope(self, None, True):
            await suspend(seconds)

    def make_scope(self, deadline: float | None, shield: bool) -> ModelScope:
        return ModelScope(self, deadline, shield)

    def make_nursery(self) -> ModelNursery:
        return ModelNursery(self)

    def start(self, nursery: int, number: int, fn: Fn) -> None:
        self.tasks[number] = self.nurseries[nursery].start(self.run_task(number, fn))
