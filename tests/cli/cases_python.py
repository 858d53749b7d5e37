"""Programs that show what Python's start, run and end look like from inside, to be changed in nothing."""

from __future__ import annotations

import signal

from case import Case, script

MAIN_MODULE = """
    import sys
    print(sys.argv, sys.orig_argv[1:], sys.path, sep="\\n")
    print(__name__, __package__, __doc__, globals().get("__file__"), globals().get("__cached__"))
    print(type(__loader__).__name__ if not isinstance(__loader__, type) else __loader__.__name__, __spec__)
    print(sorted(globals()), globals() is vars(sys.modules["__main__"]))
    print(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode)
"""
HERE = "print(__name__, __package__, __spec__.name, __file__); import sys; print(sys.argv, sys.path[0])\n"
ENVIRONMENT = """
    import os, sys
    print(os.environ.get("PYTHONPATH"), [name for name in os.environ if "SEGUE" in name.upper()], sys.path)
    os.system("env | grep -i -e segue_ -e ^PYTHONPATH")
"""
RAISES = """
    def inner(value):
        return 1 / value
    def outer():
        try:
            inner(0)
        except ZeroDivisionError as error:
            raise ValueError("while dividing") from error
    outer()
"""

CASES = [
    # What a program sees of itself
    script("main module", MAIN_MODULE, "app.py one --two -x"),
    script("script by absolute and odd path", MAIN_MODULE, "./sub/../app.py"),
    Case("script in another directory", "sub/app.py a", {"sub/app.py": MAIN_MODULE}),
    Case("directory", "sub a -b", {"sub/__main__.py": MAIN_MODULE}),
    Case("zip file", "app.zip a", {"zip:app.zip/__main__.py": MAIN_MODULE}),
    Case("directory without __main__", "sub", {"sub/x.py": ""}),
    Case("module", "-m module a -b", {"module.py": MAIN_MODULE}),
    Case("package", "-m package", {"package/__init__.py": "print('init')", "package/__main__.py": HERE}),
    Case("submodule", "-m package.tool x", {"package/__init__.py": "", "package/tool.py": HERE}),
    Case(
        "relative import",
        "-m package.tool",
        {
            "package/__init__.py": "",
            "package/other.py": "x = 5",
            "package/tool.py": "from .other import x; print(x)",
        },
    ),
    Case("package without __main__", "-m package", {"package/__init__.py": ""}),
    Case("missing module", "-m no.such.module"),
    Case("module that fails", "-m module", {"module.py": RAISES}),
    Case("module attached to its option", "-Bmmodule a", {"module.py": MAIN_MODULE}),
    Case(
        "code",
        ["-c", "import sys; print(sys.argv, sys.path[0], sys.orig_argv[1:], sorted(globals()))", "a", "-m"],
    ),
    Case("code that fails", ["-c", "def f():\n  1/0\nf()"]),
    Case("code attached to its option", ["-uc", "print(1)", "x"]),
    Case("standard input", "- a b", stdin="import sys\nprint(sys.argv, __name__)\n1/0\n"),
    Case("standard input, nothing named", "", stdin="import sys; print(sys.argv)\n"),
    script("stdin is the program's", "print(input() + input())", stdin="one\ntwo\n"),
    Case("end of options", ["--", "app.py", "-c"], {"app.py": MAIN_MODULE}),
    Case("missing script", "nothing.py a"),
    Case("script that can't be read as text", "app.py", {"app.py": b"print('\xff')\n"}),
    Case(
        "script with a declared encoding", "app.py", {"app.py": b"# coding: latin-1\nprint(ascii('\xe4'))\n"}
    ),
    Case("script with null bytes", "app.py", {"app.py": b"print(1)\0\n"}),
    Case(
        "compiled file",
        ["-c", "import py_compile; py_compile.compile('app.py', 'app.pyc')"],
        {"app.py": "1/0"},
    ),
    script(
        "symbolic link",
        "import os\nif not os.path.islink(__file__): os.symlink('app.py', 'link.py')\nprint(1)",
    ),
    script("stack without anything underneath", "import traceback; traceback.print_stack()"),
    script(
        "recursion limit",
        "n = 0\ndef f():\n  global n; n += 1; f()\ntry: f()\nexcept RecursionError: print(n)",
    ),
    # Interpreter options
    *[
        script(f"option {' '.join(flags)}", MAIN_MODULE, [*flags, "app.py", "a"])
        for flags in (
            ["-O"],
            ["-OO"],
            ["-B"],
            ["-b"],
            ["-bb"],
            ["-E"],
            ["-I"],
            ["-s"],
            ["-S"],
            ["-P"],
            ["-u"],
            ["-q"],
            ["-d"],
            ["-W", "error"],
            ["-Werror::UserWarning"],
            ["-X", "dev"],
            ["-Xutf8"],
            ["-X", "tracemalloc=3"],
            ["-X", "faulthandler"],
            ["-X", "pycache_prefix=cache"],
            ["-X", "int_max_str_digits=0"],
            ["-X", "no_debug_ranges"],
            ["-IBO"],
            ["-OW", "error"],
            ["--check-hash-based-pycs", "always"],
        )
    ],  # fmt: skip
    *[
        Case(
            f"module with {flag}",
            f"{flag} -m package.tool x",
            {"package/__init__.py": "", "package/tool.py": HERE},
        )
        for flag in ("-I", "-E", "-S")
    ],
    *[
        Case(
            f"code with {flag}",
            [flag, "-c", "import sys; print(sys.argv, sys.orig_argv[1:], sys.path)\n1/0", "a"],
        )
        for flag in ("-I", "-E", "-S")
    ],
    Case("directory with -E", "-E sub a", {"sub/__main__.py": MAIN_MODULE}),
    Case("zip file with -I", "-I app.zip a", {"zip:app.zip/__main__.py": MAIN_MODULE}),
    Case("standard input with -E", "-E - a", stdin="import sys\nprint(sys.argv)\n1/0\n"),
    Case("missing script with -I", "-I nothing.py"),
    script("failing script with -I", RAISES, "-I app.py"),
    script("syntax error with -E", "x = (1,\n", "-E app.py"),
    script(
        "own excepthook with -I",
        "import sys\nsys.excepthook = lambda *a: print(a[0], a[1])\n1/0",
        "-I app.py",
    ),
    script("asserts with -O", "assert False\nprint(__debug__)", "-O app.py"),
    script("warnings are errors", "import warnings; warnings.warn('x')", "-W error app.py"),
    script("first line skipped", "this is no python\nprint('ran')", "-x app.py"),
    script("interactive afterwards", "x = 5\n1/0", "-i app.py", stdin="print(x)\n"),
    Case("unknown option", "-Z app.py"),
    Case("option without its argument", "-c"),
    Case("version of python", "-V"),
    # How it ends
    *[
        script(f"sys.exit({status})", f"import sys; sys.exit({status})")
        for status in ("", "0", "3", "256", "-1", "True", "None", "'a message'", "[1, 2]", "1.5", "2**80")
    ],
    script(
        "raise SystemExit inside a function",
        "def f():\n  raise SystemExit(7)\ntry: f()\nfinally: print('finally')",
    ),
    script("os._exit", "import os; print('lost?', flush=True); os._exit(9)"),
    script("uncaught exception", RAISES),
    script("exception group", "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])"),
    script("exception whose str fails", "class E(Exception):\n  def __str__(self): 1/0\nraise E"),
    script("syntax error", "def f(:\n  pass\n"),
    script("indentation error", "if 1:\nprint()\n"),
    script("import error", "import no_such_module_at_all"),
    script("import of a module that fails", "import other", "app.py"),
    script("raised KeyboardInterrupt", "raise KeyboardInterrupt"),
    script(
        "own excepthook", "import sys\nsys.excepthook = lambda *a: print(a[0], a[1], a[2].tb_lineno)\n1/0"
    ),
    script("excepthook that fails", "import sys\ndef h(*a): raise ValueError\nsys.excepthook = h\n1/0"),
    script(
        "atexit",
        "import atexit\nfor i in range(3): atexit.register(print, i)\natexit.register(lambda: 1/0)\n1/0",
    ),
    script("SystemExit in atexit", "import atexit, sys\natexit.register(sys.exit, 5)"),
    script("abort", "import os; os.abort()"),
    script(
        "thread outlives the main thread",
        "import threading as t\nt.Timer(.1, print, ['later']).start(); print('main')",
    ),
    script(
        "exception in a thread",
        "import threading as t\ndef f(): 1/0\nx = t.Thread(target=f, name='T'); x.start(); x.join()",
    ),
    script(
        "daemon thread at exit",
        "import threading as t, time\nt.Thread(target=time.sleep, args=[60], daemon=True).start()",
    ),
    script("exception in __del__", "class D:\n  def __del__(self): 1/0\nd = D(); del d\nprint('on')"),
    script("objects at exit", "class D:\n  def __del__(self): print('del')\nd = D()"),
    # Signals
    script(
        "Ctrl-C while sleeping", "import time\nprint('ready', flush=True)\ntime.sleep(30)", kill=signal.SIGINT
    ),
    script(
        "Ctrl-C in -c",
        "",
        ["-c", "import time\nprint('ready', flush=True)\ntime.sleep(30)"],
        kill=signal.SIGINT,
    ),
    Case(
        "Ctrl-C in -m",
        "-m module",
        {"module.py": "import time\nprint('ready', flush=True)\ntime.sleep(30)"},
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C with -I",
        "import time\nprint('ready', flush=True)\ntime.sleep(30)",
        "-I app.py",
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C that's handled",
        """
            import time
            try:
              print('ready', flush=True); time.sleep(30)
            except KeyboardInterrupt:
              print('caught')
            """,
        kill=signal.SIGINT,
    ),
    script(
        "Ctrl-C runs atexit handlers",
        "import atexit, time\natexit.register(print, 'bye')\nprint('ready', flush=True); time.sleep(30)",
        kill=signal.SIGINT,
    ),
    script("SIGTERM", "import time\nprint('ready', flush=True)\ntime.sleep(30)", kill=signal.SIGTERM),
    script(
        "SIGTERM that's handled",
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(4))\n"
        "print('ready', flush=True); time.sleep(30)",
        kill=signal.SIGTERM,
    ),
    script(
        "signal dispositions",
        "import signal\nfor s in sorted(signal.valid_signals()): print(s, signal.getsignal(s))",
    ),
    # Streams and warnings
    script(
        "streams",
        """
            import sys
            for f in (sys.stdin, sys.stdout, sys.stderr):
                print(f.name, f.encoding, f.errors, f.line_buffering, f.isatty(), f.write_through)
            """,
    ),
    script("unbuffered", "import os, sys\nprint('first'); os.write(1, b'second\\n')", "-u app.py"),
    script("buffered", "import os, sys\nprint('second'); os.write(1, b'first\\n')"),
    script(
        "encoding from the environment",
        "print('\\xe4'); print(ascii(input()))",
        env={"PYTHONIOENCODING": "latin-1"},
        stdin="x",
    ),
    script("closed standard output", "import os; print('x' * 10); os.close(1)"),
    script("deprecation in main", "import warnings; warnings.warn('old', DeprecationWarning)"),
    script(
        "where a warning points",
        """
            import warnings
            def f(level): warnings.warn('w', stacklevel=level)
            for level in range(1, 5): f(level)
            """,
    ),
    script("resource warning", "def f(): open(__file__)\nf()", "-W always app.py"),
    script(
        "logging",
        "import logging; logging.basicConfig(format='%(filename)s %(lineno)s %(funcName)s')\n"
        "logging.error('x', stack_info=True)",
    ),
    # The environment and what's found in it
    script("environment without PYTHONPATH entries of its own", ENVIRONMENT),
    script("environment with an extra PYTHONPATH", ENVIRONMENT, env={"PYTHONPATH": "{PYTHONPATH}:lib:"}),
    Case(
        "own sitecustomize",
        "app.py",
        {
            "app.py": "import sitecustomize as s; print(s.__file__, s.x)",
            "lib/sitecustomize.py": "x = 'customized'",
        },
        env={"PYTHONPATH": "{PYTHONPATH}:lib"},
    ),
    script("no sitecustomize", "import sys; print('sitecustomize' in sys.modules)"),
    script(
        "subprocess",
        """
            import subprocess, sys
            subprocess.run([sys.executable, '-c', 'import sys; print(sys.path, sys.meta_path)'])
            """,
    ),
    Case(
        "module named like a stdlib one",
        "app.py",
        {"app.py": "import asyncio; print(asyncio.x)", "asyncio.py": "x = 1"},
    ),
    # __main__ and pickling
    script(
        "pickled class of __main__",
        "import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n  x: int\n"
        "print(pickle.loads(pickle.dumps(P(3))), P.__module__)",
    ),
    script(
        "import of __main__",
        "import __main__; print(__main__.__file__, __main__.x if hasattr(__main__, 'x') else None)\nx = 1",
    ),
    script("doctest", '"""\n>>> 1 + 1\n3\n"""\nimport doctest; print(doctest.testmod())'),
    script(
        "inspect.getsource of __main__", "import inspect\ndef f():\n  return 1\nprint(inspect.getsource(f))"
    ),
]
