"""Why something failed or waits, in words: what `segue.inspect.explain` returns, and where it is printed.

| file | what it is |
|---|---|
| `words.py` | texts of the program's objects, whatever their methods do |
| `places.py` | lines of code: of tracebacks and of suspended coroutines, and whose they are |
| `tasks.py` | tasks: their names, who started them, what they wait for, who awaits them, what runs beside them |
| `failures.py` | what is noted of a task when it fails, and found again at its exception |
| `cancellations.py` | who cancelled |
| `errors.py` | exceptions: groups as trees, equal ones counted, causes, cancellations |
| `explanation.py` | both together, as an object |
| `text.py` | ... as text for people |
| `reporting.py` | where it is printed: at the program's end and by the loop's exception handler |

Everything kept here is words and numbers: an explanation keeps no task, frame or exception alive.
"""
