"""Around the thread that lets others look into this program (`segue top PID`): what is done at forks and at exit.

Imported by the core when it begins to listen. The thread itself is in the core (crates/py/src/recording/listen.rs).
"""

from __future__ import annotations

import atexit
import os

from . import _core

# Without our thread a fork is what it is without us: no warning of several threads, no lock that stays locked.
os.register_at_fork(
    before=_core._pause_listening,
    after_in_parent=_core._resume_listening,
    after_in_child=_core._forget_listening,
)
atexit.register(_core._stop_listening)
