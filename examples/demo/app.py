"""The demo's program: a web site, a scraper and some chores in one asyncio program. It doesn't know Segue.

    segue run app.py --pages FOLDER       on Segue
    python app.py --pages FOLDER          on asyncio's own loop

uvicorn makes the loop (as it always does), the FastAPI app's lifespan starts the work, and the program ends
by itself: with status 0 when every step did what it should and exactly the tasks failed that had to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import steps
import trustme
import uvicorn
import website


@dataclass
class Outcome:
    """What happened, for people (printed) and for the caller (--summary, as JSON)."""

    loop: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    failed_tasks: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def show(text: str) -> None:
    print(text, flush=True)


def progress(done: int, total: int) -> None:
    """One line that counts up: rewritten in place on a terminal, a line per fifth elsewhere."""
    on_terminal = sys.stdout.isatty()
    parts = 100 if on_terminal else 5
    if done * parts // total == (done - 1) * parts // total:
        return
    if on_terminal:
        print(
            f"\r\033[K      {done:,} of {total:,} pages" if done < total else "\r\033[K", end="", flush=True
        )
    elif done < total:
        show(f"      {done:,} of {total:,} pages")


def cause(error: BaseException) -> str:
    """The error in one line, with what it came from where its own message doesn't say so already."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    origin = error.__cause__ or error.__context__
    if origin is None or type(origin).__name__ in line or (str(origin) and str(origin) in line):
        return line
    return f"{line} <- {cause(origin)}"


async def serve_tls(app: object, certificate: str) -> tuple[uvicorn.Server, asyncio.Task[None]]:
    """A second uvicorn for the same app on the same loop, over TLS."""
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ssl_certfile=certificate)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(), name="site over TLS")
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    return server, task


def base_url(server: uvicorn.Server) -> str:
    scheme = "https" if server.config.is_ssl else "http"
    return f"{scheme}://localhost:{server.servers[0].sockets[0].getsockname()[1]}"


async def fail_on_purpose(base: str, tls_base: str, outcome: Outcome) -> str:
    """Runs the failing tasks side by side; each must end with its own error."""
    cases = steps.failing_tasks(base, tls_base)
    tasks = [asyncio.create_task(start(), name=name) for name, start, _ in cases]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for (name, _, expected), result in zip(cases, results, strict=True):
        if isinstance(result, expected):
            outcome.failed_tasks[name] = cause(result)
        else:
            outcome.problems.append(f"{name}: wanted {expected.__name__}, got {result!r}")
    return f"{len(outcome.failed_tasks)} of {len(cases)} tasks failed as they had to"


async def work(
    server: uvicorn.Server, pages: dict[str, bytes], options: argparse.Namespace, outcome: Outcome
) -> None:
    """Every step, one after the other, timed and printed."""
    while not server.started:
        await asyncio.sleep(0.01)
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    base, tls_rounds = base_url(server), max(1, options.rounds // 3)
    with leaf.private_key_and_cert_chain_pem.tempfile() as certificate:
        tls_server, tls_task = await serve_tls(server.config.app, certificate)
    tls_base = base_url(tls_server)
    show(f"  site: {len(pages)} HTML pages at {base} and {tls_base} (FastAPI under uvicorn)")

    table: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("scrape over HTTP", lambda: steps.scrape(base, None, pages, options.rounds, progress)),
        ("scrape over HTTPS", lambda: steps.scrape(tls_base, client_context, pages, tls_rounds, progress)),
        ("TLS upgrade", lambda: steps.tls_upgrade(server_context, client_context, options.megabytes)),
        ("word count", lambda: steps.word_count(pages)),
        ("checksums", lambda: steps.checksums(pages, min(len(pages), 24))),
        ("failures on purpose", lambda: fail_on_purpose(base, tls_base, outcome)),
    ]
    for number, (name, step) in enumerate(table, 1):
        show(f"  [{number}/{len(table)}] {name}")
        started = time.perf_counter()
        text = await step()
        outcome.seconds[name] = time.perf_counter() - started
        show(f"      {text}, {outcome.seconds[name]:.2f} s")
    tls_server.should_exit = True
    await tls_task


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=Path, required=True, help="a folder of .html files")
    parser.add_argument("--rounds", type=int, default=8, help="how often to scrape every page")
    parser.add_argument("--megabytes", type=int, default=96, help="how much the TLS step echoes")
    parser.add_argument("--summary", type=Path, help="write the outcome as JSON to this file")
    parser.add_argument(
        "--require-loop", help="fail unless uvicorn's loop is of this module (segue, asyncio)"
    )
    options = parser.parse_args()
    pages = website.load_pages(options.pages)
    outcome = Outcome()

    async def background() -> None:
        try:
            kind = type(asyncio.get_running_loop())
            outcome.loop = f"{kind.__module__}.{kind.__qualname__}"
            required = options.require_loop or ("segue" if "segue" in sys.modules else None)
            show(f"  uvicorn runs on {outcome.loop}")
            if required and kind.__module__.split(".")[0] != required:
                outcome.problems.append(f"uvicorn's loop is {outcome.loop}, not {required}'s")
            else:
                await work(server, pages, options, outcome)
        except Exception as error:
            traceback.print_exc()
            outcome.problems.append(cause(error))
        finally:
            server.should_exit = True

    app = website.make_app(pages, background)
    server = uvicorn.Server(uvicorn.Config(app, port=0, loop="asyncio", log_level="critical"))
    server.run()

    if outcome.failed_tasks:
        show("  failed tasks and their causes")
        for name, text in outcome.failed_tasks.items():
            show(f"    {name:<28} {text}")
    for problem in outcome.problems:
        show(f"  PROBLEM: {problem}")
    if options.summary:
        options.summary.write_text(json.dumps(vars(outcome), indent=2))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
