"""The way into a program started by `segue run`: Python's own start-up hook.

`segue run` puts this directory first on PYTHONPATH and execs the interpreter, so that Python itself runs the
program: its `__main__`, tracebacks, exit status and signals are Python's, as nothing else is on the stack.
This file removes every trace of that (the directory, the variables), activates Segue and hands over to the
sitecustomize that Python would have found without it. Nothing imports it by name; interpreters started with
-E, -I or -S never see it.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_settings = os.environ.pop("_SEGUE_RUN", None)
_pythonpath = os.environ.pop("_SEGUE_RUN_PYTHONPATH", None)

if _settings is not None:
    if _pythonpath is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = _pythonpath
    import _segue_program  # type: ignore[import-not-found]  # beside this file, which is on sys.path

    _segue_program.activate(_settings.split(","))

if _here in sys.path:
    sys.path.remove(_here)
sys.path_importer_cache.pop(_here, None)
sys.modules.pop("sitecustomize", None)

# Where there is none this raises ImportError(name="sitecustomize"), which `site` takes for what it is: none.
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
