"""The running program's tasks, from inside of it: what `segue.inspect` answers.

| file | what it is |
|---|---|
| `tasks.py` | one record for each task that is alive |
| `counting.py` | figures of the recording that runs, if one does |
| `tree.py` | who belongs to whom, as text |
| `graph.py` | the same and more as a picture |
| `stats.py` | sums by loop and by code |
| `metrics.py` | ... for Prometheus |

What only the program's objects know comes from `segue._explain`, what only a recording knows from the core
(`crates/py/src/recording/figures.rs`). Nothing here keeps a task alive.
"""
