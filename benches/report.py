"""The results as text on the terminal, as a Markdown table and as JSON. No measuring, no judging here."""

import dataclasses
import json
import statistics
from typing import Any

import summary
from rows import COUNTED, Row
from summary import Figures

Results = dict[str, dict[str, Figures]]  # by row name, then contender


def number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def lines_of(row: Row, figures: dict[str, Figures]) -> list[tuple[str, str, str, str, str]]:
    """Contender, median, spread, ratio to uvloop with its interval, and what else the runs say."""
    uvloop = figures.get("uvloop", Figures())
    lines = []
    for name, found in figures.items():
        values = found.values(row.metric)
        if not values:
            lines.append((name, "—", "", f"no figure: {found.error}", ""))
            continue
        width = summary.spread(values)
        against = summary.ratio(values, uvloop.values(row.metric))
        lines.append(
            (
                name,
                number(statistics.median(values)),
                "" if width is None else f"±{width * 100:.1f} %",
                "" if against is None else f"{against.median:.3f} [{against.low:.3f}, {against.high:.3f}]",
                beside(row, found, uvloop),
            )
        )
    return lines


def beside(row: Row, found: Figures, uvloop: Figures) -> str:
    """What the same runs say besides: CPU time, its ratio to uvloop's, and how busy the load generator was."""
    cpu = found.values("cpu_us")
    if not cpu or row.metric == "cpu_us":
        return ""
    text = f"{statistics.median(cpu):.2f} µs CPU"
    if against := summary.ratio(cpu, uvloop.values("cpu_us")):
        text += f", {against.median:.2f}"
    if busy := found.values("load_busy"):
        text += f", load {statistics.median(busy) * 100:.0f} % busy"
    return text


def row_text(row: Row, figures: dict[str, Figures]) -> str:
    out = [f"\n{row.name}: {row.title}  ({row.unit}{', counted' if row.run.method in COUNTED else ''})"]
    out.append(f"    {'contender':<13}{'median':>12}{'spread':>10}   {'ratio to uvloop [95 %]':<26}")
    for name, median, width, against, cpu in lines_of(row, figures):
        out.append(f"    {name:<13}{median:>12}{width:>10}   {against:<26}{cpu}".rstrip())
    for target in row.targets:
        verdict = summary.judge(row, target, figures)
        out.append(f"    target {verdict.text}  {verdict.word}")
        if (old := summary.judge_against_old(row, target, figures)) is not None:
            out.append(f"      (set on {old.text}  {old.word})")
    return "\n".join(out)


def verdicts(rows: list[Row], results: Results) -> list[tuple[Row, summary.Verdict]]:
    return [(row, summary.judge(row, target, results[row.name])) for row in rows for target in row.targets]


def totals_text(rows: list[Row], results: Results) -> str:
    judged = verdicts(rows, results)
    passed = sum(v.passed is True for _, v in judged)
    failed = [(row, v) for row, v in judged if v.passed is False]
    silent = [(row, v) for row, v in judged if v.passed is None]
    out = [f"\n{passed} targets met, {len(failed)} missed, {len(silent)} without a figure"]
    for row, verdict in failed:
        noise = "  (within noise)" if verdict.noisy else ""
        old = summary.judge_against_old(row, verdict.target, results[row.name])
        note = f"; {old.text} {old.word}" if old is not None else ""
        out.append(f"    missed   {row.name:<18}{verdict.text}{noise}{note}")
    out += [f"    no figure {row.name:<17}{v.text}" for row, v in silent]
    return "\n".join(out)


def markdown(document: dict[str, Any], known: list[Row]) -> str:
    """The table of results/: a column for each contender, the verdicts in the last one."""
    machine = document["machine"]
    figures = {row["name"]: figures_of(row) for row in document["rows"]}
    times = sorted(row["measured"] for row in document["rows"])
    rows = [row for row in known if row.name in figures]
    names = list(dict.fromkeys(name for found in figures.values() for name in found))
    out = [
        "# Benchmark results",
        "",
        f"Written by `benches/run.py --write`, measured {times[0]} to {times[-1]}.",
        "How the rows are measured, and how to read them: [README](../README.md).",
        "",
        f"- {machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, CPython {machine['python']}",
        "- " + ", ".join(f"{name} {machine['contenders'][name]}" for name in names),
        "",
        f"| row | what | {' | '.join(names)} | rounds | targets |",
        f"|---|---|{'---:|' * len(names)}---:|---|",
    ]
    errors = []
    for row in rows:
        cells = []
        for name in names:
            found = figures[row.name].get(name, Figures())
            values = found.values(row.metric)
            cells.append(number(statistics.median(values)) if values else "—")
            if found.error is not None:
                errors.append(f"- {row.name}, {name}: {found.error}")
        rounds = max(len(found.rounds) for found in figures[row.name].values())
        asked = "<br>".join(verdict_lines(row, figures[row.name]))
        out.append(f"| {row.name} | {row.title}, {row.unit} | {' | '.join(cells)} | {rounds} | {asked} |")
    if errors:
        out += ["", "No figure, because the contender failed on the row:", "", *errors]
    return "\n".join(out) + "\n"


def verdict_lines(row: Row, figures: dict[str, Figures]) -> list[str]:
    lines = []
    for target in row.targets:
        verdict = summary.judge(row, target, figures)
        lines.append(f"{verdict.text} **{verdict.word}**")
        if (old := summary.judge_against_old(row, target, figures)) is not None:
            lines.append(f"({old.text} {old.word})")
    return lines


def as_document(machine: dict[str, Any], rows: list[Row], results: Results) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    return {
        "machine": machine,
        "rows": [row_document(machine, row, results[row.name]) for row in rows],
    }


def row_document(machine: dict[str, Any], row: Row, figures: dict[str, Figures]) -> dict[str, Any]:
    verdicts_of_row = [summary.judge(row, target, figures) for target in row.targets]
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "metric": row.metric,
        "better": row.better,
        "run": dataclasses.asdict(row.run),
        "measured": machine["finished"],
        "contenders": {
            name: {
                "values": found.values(row.metric),
                "cpu_us": found.values("cpu_us"),
                "load_busy": found.values("load_busy"),
                "error": found.error,
            }
            for name, found in figures.items()
        },
        "targets": [{"text": v.text, "passed": v.passed, "within_noise": v.noisy} for v in verdicts_of_row],
    }


def merged(older: dict[str, Any], newer: dict[str, Any], known: tuple[Row, ...]) -> dict[str, Any]:
    """The newer document, and from the older one what wasn't measured again.

    A timed row is taken as a whole, because its ratios are of rounds in which the contenders took turns. Of a
    counted one, contenders that weren't counted again stay.
    """
    before = {row["name"]: row for row in older["rows"]}
    after = {row["name"]: row for row in newer["rows"]}
    rows = []
    for row in known:
        if row.name in after and row.name in before and row.run.method in COUNTED:
            figures = figures_of(before[row.name]) | figures_of(after[row.name])
            rows.append(row_document(newer["machine"], row, figures))
        elif row.name in after or row.name in before:
            rows.append(after.get(row.name) or before[row.name])
    return {"machine": newer["machine"], "rows": rows}


def figures_of(row: dict[str, Any]) -> dict[str, Figures]:
    """A row of a document as figures again."""
    figures = {}
    for name, found in row["contenders"].items():
        columns = {row["metric"]: found["values"], "cpu_us": found["cpu_us"], "load_busy": found["load_busy"]}
        rounds = [
            {metric: values[index] for metric, values in columns.items() if values}
            for index in range(len(found["values"]))
        ]
        figures[name] = Figures(rounds, found["error"])
    return figures


def as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
