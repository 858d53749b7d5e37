"""Which task logs: fields of a log record."""

from __future__ import annotations

import logging

from .._explain.tasks import current, id_of
from .._explain.words import safely

OWN = ("task", "task_id", "nursery")


def add_fields(record: logging.LogRecord) -> None:
    """Sets `task`, `task_id` and `nursery`, if the record doesn't have them yet. In the thread and task that logs."""
    if "task_id" in record.__dict__:
        return
    task = current()
    if task is None:
        record.task, record.task_id, record.nursery = "-", 0, "-"
        return
    nursery = getattr(task, "parent_nursery", None)
    record.task = safely(task.get_name, "no name")
    record.task_id = id_of(task)
    record.nursery = "-" if nursery is None else safely(nursery.parent_task.get_name, "no name")


class TaskFilter(logging.Filter):
    """Lets every record pass, and adds which task has logged it: for `%(task)s` in anybody's format.

    `task` is the task's name and `task_id` its number, unique in the process and the same as in recordings; `nursery`
    is the name of the task in whose nursery it runs. Outside of tasks they are "-", 0 and "-".

    Add it to a handler, not to a logger: loggers don't ask their parents' filters.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        add_fields(record)
        return True
