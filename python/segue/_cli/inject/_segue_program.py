"""What `segue run` does inside the program's process, before the program starts.

Nothing is imported here for a program that may never need it: a finder waits for `asyncio`, `uvloop` and
`multiprocessing.spawn`, and changes each right after its own import. Then `asyncio.run`, the event loop
policy, `asyncio.SelectorEventLoop`, `asyncio.EventLoop` and uvloop's factories lead to Segue's loop, in this
process and in the children that multiprocessing makes of it; no other process is touched.

Two callers: `sitecustomize.py` beside this file (the usual way: Python runs the program), and
`_segue_run_here.py`, for what that way can't reach. It stands alone on purpose: it is loaded from its
directory, and imports the segue package only once asyncio is there.
"""

from __future__ import annotations

import os
import sys

# Not from importlib.machinery, which a program may never import.
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
# The directory that holds the segue package this file belongs to: <this>/segue/_cli/inject/_segue_program.py
PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

_active = False
_settings: frozenset[str] = frozenset()


def activate(settings: Iterable[str] = ()) -> None:
    """Lead this process's asyncio to Segue, now or as soon as it is imported; with "trio", also `import trio`.

    The other settings: "report" and "explain". A second call does nothing.
    """
    global _active, _settings
    if _active:
        return
    _active, _settings = True, frozenset(settings)
    sys.meta_path.insert(0, _ImportWatch())
    if "trio" in _settings:
        sys.meta_path.insert(0, _TrioFinder())
    if "report" in _settings:
        import atexit

        # First registered is last called: the report comes after everything the program says at exit.
        atexit.register(_print_report, os.getpid())
    for name, change in _CHANGES.items():
        if name in sys.modules:
            change(sys.modules[name])


class _ImportWatch:
    """A meta path finder that finds what the others find, with a change to follow the import."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _CHANGES:
            return None
        spec = PathFinder.find_spec(name, [PACKAGE_PARENT]) if name == "segue" else None
        for finder in sys.meta_path:
            if spec is None and finder is not self:
                spec = finder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ChangingLoader(spec.loader)  # type: ignore[assignment]
        return spec


class _ChangingLoader:
    """The module's own loader, and after it the module's entry in `_CHANGES`."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader  # type: ignore[union-attr]
        if module.__name__ == "segue":
            import asyncio  # noqa: F401  (whole before Segue's modules build on it; see _after_asyncio)
        self._loader.exec_module(module)
        _CHANGES[module.__name__](module)


# Named as importlib's own frame, so that importlib drops it from the traceback of a failing import and
# `warnings` doesn't count it as a caller: the program sees what it would see without the watch.
_ChangingLoader.exec_module.__code__ = _ChangingLoader.exec_module.__code__.replace(
    co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed"
)


def is_for_trio() -> bool:
    """Whether the program is one for Trio."""
    return "trio" in _settings


class _TrioFinder:
    """Finds `trio` and its public modules in segue.trio: the same modules under both names."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "trio":
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, origin="segue." + name, is_package=name == "trio")  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        from importlib import import_module

        try:
            module = import_module("segue." + spec.name)
        except ModuleNotFoundError as error:
            if error.name != "segue." + spec.name:
                raise
            raise ModuleNotFoundError(
                f"No module named {spec.name!r} (under segue run --trio, trio is segue.trio)", name=spec.name
            ) from None
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import has put its own there


def _after_asyncio(asyncio: ModuleType) -> None:
    """Asyncio is complete: load Segue on top. While Segue is what imports asyncio, its turn comes later."""
    if "segue" not in sys.modules and hasattr(asyncio, "SelectorEventLoop"):  # and not a file of that name
        import segue  # noqa: F401  (its entry in _CHANGES follows)


def _after_segue(segue: ModuleType) -> None:
    import asyncio

    from segue import _core

    _core._listen_from_first_loop()  # for `segue top` and its like
    if "report" in _settings:
        from segue._cli import report

        report.start_recording()
    if "explain" in _settings:
        from segue.inspect import explain_errors

        explain_errors()
    _replace_stdlib_loop(asyncio, segue.EventLoop)


def _replace_stdlib_loop(asyncio: ModuleType, loop_class: type) -> None:
    stdlib_loop = asyncio.SelectorEventLoop
    unix_events = sys.modules[stdlib_loop.__module__]
    for value in list(vars(unix_events).values()):
        if isinstance(value, type) and vars(value).get("_loop_factory") is stdlib_loop:
            value._loop_factory = loop_class  # type: ignore[attr-defined]  # the event loop policy
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if vars(module).get(name) is stdlib_loop:
                setattr(module, name, loop_class)


def _after_uvloop(uvloop: ModuleType) -> None:
    """Every factory of uvloop's (new_event_loop, run, install, EventLoopPolicy) ends in this one name."""
    import asyncio

    uvloop.Loop = asyncio.SelectorEventLoop  # type: ignore[attr-defined]


class _ActivateOnLoad:
    """Pickled into what multiprocessing sends to a child it spawns; loading it there activates Segue."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, dict[str, Any]]]:
        code = (
            "import sys\n"
            "sys.path.insert(0, here)\n"
            "try: import _segue_program\n"
            "finally: sys.path.remove(here)\n"
            "_segue_program.activate(settings)\n"
        )
        return exec, (code, {"here": HERE, "settings": sorted(_settings - {"report"})})


def _after_multiprocessing_spawn(spawn: ModuleType) -> None:
    """A forked child has Segue anyway; spawn and forkserver children get it with their preparation data."""
    from functools import partial

    # spawn.get_preparation_data() builds what it sends with the one `dict(...)` in that module. Adding to it
    # there rather than around the function leaves no frame of ours in the errors it raises.
    spawn.dict = partial(dict, segue=_ActivateOnLoad())  # type: ignore[attr-defined]


_CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "asyncio": _after_asyncio,
    "segue": _after_segue,
    "uvloop": _after_uvloop,
    "multiprocessing.spawn": _after_multiprocessing_spawn,
}


def _print_report(pid: int) -> None:
    if os.getpid() != pid:  # a forked child that leaves through Python's exit; the report is its parent's
        return
    report = sys.modules.get("segue._cli.report")
    if report is None:
        print("segue: nothing to report: the program never imported asyncio", file=sys.stderr)
    else:
        report.print_report()
