"""Runs the program from a `python [flags] -c`: for what Python's start-up hook beside this file can't reach.

That is interpreters started with -E, -I or -S, which don't see the hook, and `package.module:function`, for
which Python has no command line. Everything here follows CPython's Modules/main.c; `tests/cli` compares the
two.
"""

from __future__ import annotations

import os
import sys

import _segue_program  # type: ignore[import-not-found]  # beside this file, which is on sys.path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn


def main(command_line: list[str], settings: list[str]) -> None:
    """Run what sys.argv names (`kind target arg…`) as `__main__`, as `python <command_line>` would.

    Differences from Python's own run of it: stack dumps (not tracebacks) show two frames more at the bottom.
    """
    _segue_program.activate(settings)
    kind, target, *args = sys.argv[1:]
    sys.orig_argv[1:] = command_line
    program = sys.modules["__main__"]
    del program.sys, program._segue_run_here  # what the -c that got us here imported
    if not sys.flags.safe_path:
        del sys.path[0]  # '' for the -c that got us here
    try:
        _RUN[kind](target, args)
    except BaseException:
        _hide_frames_of_this_file()
        raise


def _run_code(code: str, args: list[str]) -> None:
    import linecache

    sys.argv[:] = ["-c", *args]
    _set_path0("")
    compiled = compile(code, "<string>", "exec", dont_inherit=True)
    if hasattr(linecache, "_register_code"):  # 3.13: tracebacks show the lines of -c
        linecache._register_code(compiled if sys.version_info >= (3, 14) else "<string>", code, "<string>")
    exec(compiled, vars(sys.modules["__main__"]))


def _run_module(name: str, args: list[str]) -> None:
    import runpy

    sys.argv[:] = ["-m", *args]
    _set_path0(os.getcwd())
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _run_path(path: str, args: list[str]) -> None:
    import pkgutil

    sys.argv[:] = [path, *args]
    if path != "-" and pkgutil.get_importer(path) is not None:  # a directory or a zip file
        import runpy

        sys.path.insert(0, os.path.abspath(path))
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        return
    main = vars(sys.modules["__main__"])
    if path == "-":
        _set_path0("")
        exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True), main)
        return
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader

    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        why = f"[Errno {error.errno}] {error.strerror}"
        _fail(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: {why}")
    _set_path0(os.path.dirname(os.path.realpath(path)))
    path = os.path.abspath(path)
    loader: Any = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    main["__file__"] = path
    main["__loader__"] = loader("__main__", path)
    if sys.version_info < (3, 15):
        main["__cached__"] = None
    is_pyc = loader is SourcelessFileLoader
    if is_pyc:
        code = main["__loader__"].get_code("__main__")
    else:
        code = compile(source, path, "exec", dont_inherit=True)
    exec(code, main)


def _run_async_function(target: str, args: list[str]) -> None:
    """`package.module:function`: import it from the current directory and `asyncio.run` what it returns."""
    _set_path0(os.getcwd())
    module_name, _, function_name = target.partition(":")
    sys.argv[:] = [target, *args]
    import asyncio
    import inspect

    try:
        __import__(module_name)  # the statement's function: tracebacks are without importlib's frames
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # a module that it imports is missing
        where = "with -I and -P the current directory isn't searched" if sys.flags.safe_path else "in " + os.getcwd()
        _fail(f"segue run: No module named '{error.name}' (asked for as '{target}'; {where})", 1)
    function: Any = sys.modules[module_name]
    sys.argv[0] = function.__file__ or target
    for name in function_name.split("."):
        try:
            function = getattr(function, name)
        except AttributeError:
            _fail(f"segue run: module '{module_name}' has no '{function_name}' (asked for as '{target}')")
    if inspect.iscoroutinefunction(function):
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            _fail(f"segue run: '{target}' takes arguments, and a program's function gets none: {error}")
    coroutine = function() if callable(function) else None
    if not asyncio.iscoroutine(coroutine):
        kind = "an async generator" if inspect.isasyncgen(coroutine) else f"of type {type(function).__name__}"
        _fail(
            f"segue run: '{target}' is not an async function (it is {kind}).\n"
            "Name an `async def` that takes no arguments, or run the module: segue run -m " + module_name
        )
    if _segue_program.is_for_trio():
        from segue.trio._run import run

        coroutine.close()
        sys.exit(run(function))
    sys.exit(asyncio.run(coroutine))


_RUN = {"c": _run_code, "m": _run_module, "path": _run_path, "function": _run_async_function}


def _set_path0(entry: str) -> None:
    if not sys.flags.safe_path:
        sys.path.insert(0, entry)


def _fail(message: str, status: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(status)


def _hide_frames_of_this_file() -> None:
    """Have whatever excepthook is in place called with the traceback as Python's own run would have it."""
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        here = excepthook.__code__.co_filename
        traceback = traceback.tb_next if traceback else None  # the -c that got us here
        while traceback is not None and traceback.tb_frame.f_code.co_filename == here:
            traceback = traceback.tb_next
        hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = excepthook
