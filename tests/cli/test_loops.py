"""Under `segue run` the loop is Segue's, however the program asks for one, and only in that program."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from case import PYTHON, Case, Outcome, run, segue_command

# Imported by every program here: which loop runs (Segue's is a subclass of the stdlib's), ways to run one.
WHICH = """
import asyncio

def which():
    classes = type(asyncio.get_running_loop()).__mro__
    return "segue" if any(c.__module__.split(".")[0] == "segue" for c in classes) else classes[0].__name__

async def say():
    print(which(), flush=True)

def run_on(loop):
    loop.run_until_complete(say())
    loop.close()

def run_with(loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(say())
"""

WAYS = {
    "asyncio.run": "asyncio.run(say())",
    "asyncio.Runner": "run_with(None)",
    "new_event_loop": "run_on(asyncio.new_event_loop())",
    "get_event_loop": "run_on(asyncio.get_event_loop())",
    "policy": "run_on(asyncio.get_event_loop_policy().new_event_loop())",
    "default policy set again": """
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        asyncio.run(say())
    """,
    "subclass of the default policy": """
        class Policy(asyncio.DefaultEventLoopPolicy): pass
        asyncio.set_event_loop_policy(Policy())
        asyncio.run(say())
    """,
    "SelectorEventLoop": "run_on(asyncio.SelectorEventLoop())",
    "SelectorEventLoop with a selector": """
        import selectors
        run_on(asyncio.SelectorEventLoop(selectors.SelectSelector()))
    """,
    "SelectorEventLoop as a factory": "run_with(asyncio.SelectorEventLoop)",
    "SelectorEventLoop from its module": """
        from asyncio.unix_events import SelectorEventLoop
        run_with(SelectorEventLoop)
    """,
    "subclass of SelectorEventLoop": """
        class Loop(asyncio.SelectorEventLoop): pass
        run_with(Loop)
    """,
    "EventLoop (3.13)": "run_with(getattr(asyncio, 'EventLoop', asyncio.SelectorEventLoop))",
    "segue.run": """
        import segue
        segue.run(say())
    """,
    "in a thread": """
        import threading
        thread = threading.Thread(target=asyncio.run, args=[say()])
        thread.start()
        thread.join()
    """,
}
UVLOOP_WAYS = {
    "uvloop.run": "uvloop.run(say())",
    "uvloop.new_event_loop": "run_with(uvloop.new_event_loop)",
    "uvloop.Loop": "run_on(uvloop.Loop())",
    "uvloop.install": """
        uvloop.install()
        asyncio.run(say())
    """,
    "uvloop.EventLoopPolicy": """
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        asyncio.run(say())
    """,
    "isinstance of uvloop.Loop": """
        async def check():
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            await say()
        uvloop.run(check())
    """,
}
SERVER = """
import sys
import uvicorn
from which import which

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    raise AssertionError

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        print(which(), flush=True)
        self.should_exit = True

config = uvicorn.Config(app, port=0, loop=sys.argv[1], log_level="error", lifespan="off")
Server(config).run()
"""


def segue_run(directory: Path, *argv: str, files: dict[str, str] | None = None) -> Outcome:
    case = Case("", list(argv), {"which.py": WHICH, **(files or {})})
    case.write(directory)
    return run([*segue_command(directory), "run"], case, directory)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_asyncio_program(way: str, tmp_path: Path) -> None:
    outcome = segue_run(
        tmp_path, "-W", "ignore", "app.py", files={"app.py": "from which import *\n" + dedent(way)}
    )
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue\n", "")


def test_segue_imported_before_asyncio(tmp_path: Path) -> None:
    outcome = segue_run(
        tmp_path, "app.py", files={"app.py": "import segue\nfrom which import *\nasyncio.run(say())\n"}
    )
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue\n", "")


@pytest.mark.parametrize("way", UVLOOP_WAYS.values(), ids=UVLOOP_WAYS.keys())
def test_uvloop_program(way: str, tmp_path: Path) -> None:
    outcome = segue_run(
        tmp_path,
        "-W",
        "ignore",
        "app.py",
        files={"app.py": "from which import *\nimport uvloop\n" + dedent(way)},
    )
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue\n", "")


def test_uvloop_is_imported_only_by_programs_that_do(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\nasync def main(): pass\nasyncio.run(main())\nprint('uvloop' in sys.modules)\n"
    )
    assert segue_run(tmp_path, "app.py", files={"app.py": program}).stdout == "False\n"


def test_a_missing_uvloop_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys\nsys.modules['uvloop'] = None\ntry: import uvloop\nexcept ImportError: print('missing')\n"
    )
    assert segue_run(tmp_path, "app.py", files={"app.py": program}).stdout == "missing\n"


@pytest.mark.parametrize("loop", ["auto", "asyncio", "uvloop", "none"])
def test_uvicorn(loop: str, tmp_path: Path) -> None:
    outcome = segue_run(tmp_path, "server.py", loop, files={"server.py": SERVER})
    assert (outcome.status, outcome.stdout) == (0, "segue\n"), outcome.stderr


@pytest.mark.parametrize("flags", [["-E"], ["-I"], ["-S"], ["-s"], ["-P"], ["-O"], ["-X", "dev"], ["-IS"]])
def test_interpreter_options(flags: list[str], tmp_path: Path) -> None:
    code = WHICH + "asyncio.run(say())\n"
    outcome = segue_run(tmp_path, *flags, "app.py", files={"app.py": code})
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue\n", "")
    assert segue_run(tmp_path, *flags, "-c", code).stdout == "segue\n"


def test_module_code_and_standard_input(tmp_path: Path) -> None:
    code = WHICH + "asyncio.run(say())\n"
    assert segue_run(tmp_path, "-m", "app", files={"app.py": code}).stdout == "segue\n"
    case = Case("", "-", stdin=code)
    assert run([*segue_command(tmp_path), "run"], case, tmp_path).stdout == "segue\n"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("flags", [[], ["-I"]], ids=["", "-I"])
def test_children_of_multiprocessing(method: str, flags: list[str], tmp_path: Path) -> None:
    program = WHICH + dedent(
        f"""
        import multiprocessing
        def work():
            asyncio.run(say())
        if __name__ == "__main__":
            process = multiprocessing.get_context("{method}").Process(target=work)
            process.start()
            process.join()
        """
    )
    outcome = segue_run(tmp_path, *flags, "app.py", files={"app.py": program})
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue\n", "")


def test_other_processes_are_left_alone(tmp_path: Path) -> None:
    program = """
        import asyncio, subprocess, sys
        subprocess.run([sys.executable, "which_main.py"])
        """
    files = {"app.py": program, "which_main.py": "from which import *\nasyncio.run(say())\n"}
    outcome = segue_run(tmp_path, "app.py", files=files)
    assert (outcome.status, outcome.stdout) == (0, "_UnixSelectorEventLoop\n"), outcome.stderr


def test_a_programs_own_policy_stays_its_own(tmp_path: Path) -> None:
    program = """
        from which import *
        from asyncio.selector_events import BaseSelectorEventLoop
        class Mine(BaseSelectorEventLoop): pass
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self): return Mine()
        asyncio.set_event_loop_policy(Policy())
        asyncio.run(say())
        """
    outcome = segue_run(tmp_path, "-W", "ignore", "app.py", files={"app.py": program})
    assert outcome.stdout == "Mine\n", outcome.stderr


def test_classes_relate_as_a_program_expects(tmp_path: Path) -> None:
    program = """
        import asyncio, segue
        async def main():
            loop = asyncio.get_running_loop()
            print(isinstance(loop, asyncio.SelectorEventLoop), isinstance(loop, asyncio.AbstractEventLoop))
        asyncio.run(main())
        print(issubclass(segue.EventLoop, asyncio.SelectorEventLoop))
        print(issubclass(asyncio.SelectorEventLoop, asyncio.BaseEventLoop))
        """
    assert segue_run(tmp_path, "app.py", files={"app.py": program}).stdout == "True True\nTrue\nTrue\n"


def test_importing_segue_changes_nothing(tmp_path: Path) -> None:
    case = Case(
        "", "app.py", {"which.py": WHICH, "app.py": "import segue\nfrom which import *\nasyncio.run(say())\n"}
    )
    case.write(tmp_path)
    assert run(PYTHON, case, tmp_path).stdout == "_UnixSelectorEventLoop\n"


# --- package.module:function ----------------------------------------------------------------------

SERVICE = """
    import sys
    from which import which
    async def main():
        print(which(), __name__, sys.argv[1:])
    async def three():
        return 3
    async def fails():
        raise ValueError("from fails")
    class Group:
        @staticmethod
        async def main():
            print("in a class")
    async def takes(argument): pass
    async def generates(): yield 1
    def plain(): pass
    number = 5
"""


def service(directory: Path, *argv: str) -> Outcome:
    return segue_run(directory, *argv, files={"shop/__init__.py": "", "shop/service.py": SERVICE})


def test_async_function(tmp_path: Path) -> None:
    outcome = service(tmp_path, "shop.service:main", "a", "--b")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "segue shop.service ['a', '--b']\n", "")
    assert service(tmp_path, "shop.service:Group.main").stdout == "in a class\n"


def test_async_function_result_is_the_exit_status(tmp_path: Path) -> None:
    assert service(tmp_path, "shop.service:three").status == 3


def test_async_function_that_fails(tmp_path: Path) -> None:
    outcome = service(tmp_path, "-O", "shop.service:fails")
    assert outcome.status == 1
    assert "_segue" not in outcome.stderr and "<string>" not in outcome.stderr
    assert 'shop/service.py", line 8, in fails' in outcome.stderr
    assert outcome.stderr.endswith("ValueError: from fails\n")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("shop.service:nothing", "module 'shop.service' has no 'nothing'"),
        ("shop.service:plain", "'shop.service:plain' is not an async function (it is of type function)"),
        ("shop.service:takes", "takes arguments, and a program's function gets none: missing a required"),
        ("shop.service:generates", "'shop.service:generates' is not an async function (it is an async generator)"),
        ("shop.service:number", "'shop.service:number' is not an async function (it is of type int)"),
    ],
)
def test_not_an_async_function(target: str, complaint: str, tmp_path: Path) -> None:
    outcome = service(tmp_path, target)
    assert outcome.status == 2
    assert complaint in outcome.stderr and "Traceback" not in outcome.stderr


def test_async_function_of_a_missing_module(tmp_path: Path) -> None:
    outcome = service(tmp_path, "shop.nothing:main")
    assert outcome.status == 1
    assert outcome.stderr.startswith(
        "segue run: No module named 'shop.nothing' (asked for as 'shop.nothing:main'; in "
    )
    outcome = service(tmp_path, "-P", "shop.service:main")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "No module named 'shop' " in outcome.stderr and "-P the current directory isn't" in outcome.stderr


def test_async_function_of_a_module_that_fails(tmp_path: Path) -> None:
    files = {"bad.py": "import nothing_there\nasync def main(): pass\n"}
    outcome = segue_run(tmp_path, "bad:main", files=files)
    assert outcome.status == 1
    assert outcome.stderr.endswith("ModuleNotFoundError: No module named 'nothing_there'\n")
    assert "bad.py\", line 1, in <module>" in outcome.stderr and "importlib" not in outcome.stderr


def test_async_function_in_a_file(tmp_path: Path) -> None:
    outcome = service(tmp_path, "shop/service.py:main")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr == "segue run: to run a function, name its module: segue run shop.service:main\n"
