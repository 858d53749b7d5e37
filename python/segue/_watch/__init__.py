"""What warnings need that a recording can't see from the loop's events: read from the objects themselves.

| file | what it is |
|---|---|
| `watch.py` | `Watch`, which the core asks at the few moments that matter (`crates/py/src/recording/watching.rs`) |
| `cancellations.py` | where a task was when it was cancelled, and whether it swallowed that |
| `handlers.py` | who catches what is raised at an instruction |
| `generators.py` | asynchronous generators that are left before their end |
| `primitives.py` | asyncio's locks, events, conditions and queues: who holds, sets, puts and takes |
| `blocking.py` | what blocks the loop: the line while it does, and calls that Python's audit events name |
| `threads.py` | calls that wait for a free thread |
| `futures.py` | what asyncio's futures and gathers know of each other |
| `code.py` | whose code it is, and what a line of it does with what it gets |
| `codes.py` | numbers of warnings and facts |
| `found.py` | a warning as `segue.inspect` shows it |

The words are in `crates/trace/src/warning/`. Nothing here decides what the program does.
"""
