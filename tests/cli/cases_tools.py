"""Programs under debuggers, profilers, test runners and prompts, and what the environment tells Python."""

from __future__ import annotations

import signal

from case import Case, script

MAIN = """
    import asyncio, sys
    async def inner(n):
        await asyncio.sleep(0)
        return n + 1
    async def main():
        print(await inner(1), sys.argv, __name__)
    if __name__ == "__main__":
        asyncio.run(main())
"""
FLAGS = "import sys\nprint(sys.flags, sys.warnoptions, sys._xoptions, sys.pycache_prefix, sys.path[0])\nassert False\n"
TESTS = """
    import asyncio, unittest
    class Sums(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            await asyncio.sleep(0)
        async def test_right(self):
            self.assertEqual(await asyncio.sleep(0, 2), 2)
        async def test_wrong(self):
            self.assertEqual(await asyncio.sleep(0, 2), 3)
        async def test_error(self):
            await asyncio.create_task(asyncio.sleep(0, "x"))
            {}["key"]
    if __name__ == "__main__":
        unittest.main()
"""
UTF8 = {"PYTHONIOENCODING": None, "PYTHONUTF8": None}

CASES = [
    # Debuggers and prompts
    Case("pdb of a script", "-m pdb app.py a", {"app.py": MAIN}, stdin="b 4\nc\np n\nc\nq\n"),
    Case("pdb of a failing script", "-m pdb app.py", {"app.py": "x = 1\n1/0\n"}, stdin="c\np x\nq\nq\n"),
    Case("pdb of a module", "-m pdb -m app a", {"app.py": MAIN}, stdin="c\nq\n"),
    Case("pdb told what to do", ["-m", "pdb", "-c", "b 4", "-c", "c", "app.py"], {"app.py": MAIN}, stdin="p n\nq\n"),
    script(
        "breakpoint in a coroutine",
        """
        import asyncio
        async def main():
            x = await asyncio.sleep(0, 5)
            breakpoint()
            print("after", x)
        asyncio.run(main())
        """,
        stdin="p x\nx = 6\nn\nc\n",
    ),
    script("breakpoint left by quitting", "import sys\nx = 5\nbreakpoint()\nprint(x)\n", stdin="p x\nq\n"),
    script("breakpoint that is off", "breakpoint(); print(1)", env={"PYTHONBREAKPOINT": "0"}),
    script(
        "breakpoint of one's own",
        "import asyncio\nasync def main(): breakpoint('x')\nasyncio.run(main())",
        env={"PYTHONBREAKPOINT": "builtins.print"},
    ),
    script(
        "code.interact in a coroutine",
        "import asyncio, code\nasync def main():\n  x = 5\n  code.interact('hello', local=locals(), exitmsg='bye')\n"
        "asyncio.run(main())",
        stdin="x + 1\n1/0\nprint(__name__)\n",
    ),
    Case("the asyncio prompt", "-m asyncio", stdin="await asyncio.sleep(0, 5)\nasync def f(): return 7\n\nawait f()\n"),
    Case("the asyncio prompt with -I", "-I -m asyncio", stdin="await asyncio.sleep(0, 5)\n"),
    Case("python's prompt", "-i -q", stdin="import asyncio\nasyncio.run(asyncio.sleep(0, 5))\n1/0\n"),
    Case(
        "python's prompt with a start-up file",
        "-i -q",
        {"startup.py": "print('started', __name__); x = 5"},
        stdin="x\nimport sys; sys.argv, sys.path[0]\n",
        env={"PYTHONSTARTUP": "startup.py"},
    ),
    script("inspected afterwards", "x = 5\n1/0", env={"PYTHONINSPECT": "1"}, stdin="print(x)\n"),
    # Tools that run programs
    Case("unittest", "-m unittest -v app", {"app.py": TESTS}),
    script("unittest of coroutines", TESTS, "app.py Sums.test_right -q"),
    Case("unittest that finds nothing", "-m unittest no_such_tests"),
    Case(
        "pytest",
        "-m pytest -q -p no:cacheprovider --no-header test_app.py",
        {"test_app.py": "import asyncio\ndef test_one(capsys):\n  assert asyncio.run(asyncio.sleep(0, 5)) == 5\n"},
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": None},
    ),
    Case(
        "doctest of a file",
        "-m doctest app.py",
        {"app.py": '"""\n>>> import asyncio; asyncio.run(asyncio.sleep(0, 5))\n6\n"""\n'},
    ),
    Case("trace", "-m trace --trace --ignore-dir=/ app.py", {"app.py": "x = 1\nprint(x)\n"}),
    Case("json.tool", "-m json.tool", stdin='{"a": [1]}'),
    Case("runpy", "-m runpy module", {"module.py": "import sys; print(__name__, sys.argv)\n1/0\n"}),
    script(
        "runpy in a program",
        """
            import runpy
            print(sorted(runpy.run_path("other.py", run_name="there")), runpy.run_module("other")["x"])
            """,
    ),
    Case(
        "runpy of a file beside",
        "app.py",
        {
            "app.py": 'import runpy; print(runpy.run_path("other.py", run_name="__main__")["x"])',
            "other.py": "import asyncio\nx = asyncio.run(asyncio.sleep(0, 5))\nprint(__name__, __file__)\n",
        },
    ),
    Case("profile", ["-c", "import cProfile; cProfile.run('print(1)', 'stats'); print(open('stats', 'rb').read(1))"]),
    script(
        "a program that finds itself",
        """
            import inspect, sys
            print(inspect.getmodule(inspect.currentframe()) is sys.modules["__main__"])
            print(sys.modules["__main__"].__builtins__ is __builtins__, __builtins__)
            """,
    ),
    # The environment
    *[
        script(f"{name}={value}", FLAGS, env={name: value})
        for name, value in {
            "PYTHONDEVMODE": "1",
            "PYTHONWARNINGS": "error,ignore::DeprecationWarning",
            "PYTHONSAFEPATH": "1",
            "PYTHONOPTIMIZE": "2",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "PYTHONHASHSEED": "7",
            "PYTHONTRACEMALLOC": "2",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPYCACHEPREFIX": "cache",
            "PYTHONINTMAXSTRDIGITS": "1000",
            "PYTHONNODEBUGRANGES": "1",
            "PYTHONPROFILEIMPORTTIME": "",
            "LC_ALL": "C",
        }.items()
    ],
    script("hash seed", "print(hash('x'))", env={"PYTHONHASHSEED": "3"}),
    script("hash seed with -I", "import sys; print(sys.flags.hash_randomization)", "-I app.py"),
    script("safe path of the environment with -E", FLAGS, "-E app.py", env={"PYTHONSAFEPATH": "1"}),
    script("development mode of the environment with -I", FLAGS, "-I app.py", env={"PYTHONDEVMODE": "1"}),
    Case(
        "unreadable PYTHONPATH entries",
        ["-c", "import sys; print(sys.path)"],
        env={"PYTHONPATH": "no/such:{PYTHONPATH}"},
    ),
    Case("empty code", ["-c", ""]),
    Case("module without a name", ["-m", ""]),
    Case("bytes that are no text", ["-c", "import sys; print(ascii(sys.argv))", "\udcff", "ä"]),
    Case(
        "bytes that are no text with -I",
        ["-I", "-c", "import sys; print(ascii(sys.argv), sys.orig_argv[1:2])", "\udcff", "ä"],
    ),
    Case("script from a device", "/dev/stdin a", stdin="import sys\nprint(sys.argv, __file__, __name__)\n1/0\n"),
    Case("script with a colon in its name", "a:b", {"a:b": "print(__file__)"}),
    Case("a function that is a file", "module:main", {"module:main": "print('the file')"}),
    Case("missing directory", "no/such/dir/app.py"),
    Case("a directory as a module", "-m sub", {"sub/x.py": ""}),
    Case("a file that is a module's", "-m app.py", {"app.py": "print(1)"}),
    Case(
        "a zip file's module", "-m module", {"zip:lib.zip/module.py": MAIN}, env={"PYTHONPATH": "{PYTHONPATH}:lib.zip"}
    ),
    Case("two options for a program", "-c pass -c 1/0"),
    Case("filter without its argument", "-W"),
    # Streams
    script("no standard input", "import os, sys\nos.close(0)\nprint(sys.stdin.fileno())\nprint(input())"),
    script(
        "broken pipe",
        "import os, signal\nr, w = os.pipe(); os.close(r)\nos.dup2(w, 1)\nprint('x' * 100000)",
    ),
    script("output in C's encoding", "print(ascii('\\xe4')); print('\\xe4')", env={"LC_ALL": "C", **UTF8}),
    script(
        "output in an ASCII locale",
        "print('\\xe4')",
        "-X utf8=0 app.py",
        env={"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    ),
    # Signals
    script("SIGHUP", "import time\nprint('ready', flush=True)\ntime.sleep(30)", kill=signal.SIGHUP),
    script("SIGQUIT", "import time\nprint('ready', flush=True)\ntime.sleep(30)", kill=signal.SIGQUIT),
    script("SIGUSR1", "import time\nprint('ready', flush=True)\ntime.sleep(30)", kill=signal.SIGUSR1),
    script(
        "Ctrl-C while a task blocks",
        """
        import asyncio, time
        async def main():
            print("ready", flush=True)
            time.sleep(30)
        asyncio.run(main())
        """,
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C while another task waits",
        """
        import asyncio
        async def child():
            try: await asyncio.sleep(30)
            finally: print("child ends")
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                print("ready", flush=True)
        asyncio.run(main())
        """,
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C with run_forever",
        """
        import asyncio
        loop = asyncio.new_event_loop()
        loop.call_soon(lambda: print("ready", flush=True))
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted", loop.is_running(), loop.is_closed())
        loop.close()
        """,
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C in a thread's loop",
        """
        import asyncio, threading
        async def child():
            await asyncio.sleep(0.2)
            print("thread's loop ended")
        thread = threading.Thread(target=asyncio.run, args=[child()]); thread.start()
        async def main():
            print("ready", flush=True)
            await asyncio.sleep(30)
        try: asyncio.run(main())
        finally: thread.join()
        """,
        kill=signal.SIGINT,
    ),
]
