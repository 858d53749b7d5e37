"""How a run is measured: starts a worker process (and the load), returns its figures by name.

Counts (callgrind, strace, page faults) are the difference between a process that does N operations and one
that does 2N, so that start-up and tear-down cancel. Timed servers run on the first CPU of this process's
affinity mask, the load on the last. Deciding what to run, in which order and what it means is run.py's and
summary.py's.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contenders import CONTENDERS
from rows import Method, Run

HERE = Path(__file__).resolve().parent
TIMEOUT = 900.0  # seconds for one process; a contender that hangs is an error on that row
SERVER_TIMEOUT = 60.0  # the same for a load and the server's end after it
STRACE_TOTAL = re.compile(r"^\s*(\d+) total$", re.MULTILINE)


class MeasurementError(Exception):
    """A contender (or a tool) failed on a row; the message is one line for the table."""


@dataclass
class Bench:
    """What all measurements of one `run.py` share."""

    python: str
    scratch: Path
    heap: str = "grown"
    warm: float = 0.1  # seconds of load that don't count
    seconds: float = 0.3  # seconds of load that do
    environment: dict[str, dict[str, str]] = field(default_factory=dict)  # extra variables by contender
    realtime: bool = False  # timed servers, loads and workloads run before all other processes
    keep: Path | None = None  # where callgrind's files are kept for callgrind_annotate

    def measure(self, run: Run, contender: str) -> dict[str, float]:
        match run.method:
            case Method.TIME:
                return self._time(run, contender)
            case Method.MEMORY:
                result = self._in_process(run, contender, "memory", run.n)
                return {"grown_mib": result["grown_bytes"] / (1 << 20)}
            case Method.THROUGHPUT:
                return self._throughput(run, contender)
            case Method.INSTRUCTIONS | Method.SERVER_INSTRUCTIONS:
                once, twice = (self._instructions(run, contender, n) for n in (run.n, 2 * run.n))
            case Method.SERVER_SYSCALLS:
                once, twice = (self._syscalls(run, contender, n) for n in (run.n, 2 * run.n))
            case Method.SERVER_FAULTS:
                once, twice = (self._serve(run, contender, n)["minor_faults"] for n in (run.n, 2 * run.n))
        return {"per_operation": max(0.0, (twice - once) / run.n)}

    # -- one kind of figure each -----------------------------------------------------------------------------

    def _time(self, run: Run, contender: str) -> dict[str, float]:
        result = self._in_process(run, contender, "run", run.n, pin=True)
        return {"wall_us": result["seconds"] / run.n * 1e6, "cpu_us": result["cpu"] / run.n * 1e6}

    def _throughput(self, run: Run, contender: str) -> dict[str, float]:
        result = self._serve(run, contender, None)
        return {
            "per_second": result["messages"] / result["seconds"],
            "cpu_us": result["cpu"] / result["all_messages"] * 1e6,
            "load_busy": result["load_busy"],
        }

    def _instructions(self, run: Run, contender: str, n: int) -> float:
        out = self.scratch / f"callgrind.{contender}.{run.workload}.{run.load}.{run.connections}.{n}"
        prefix = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        if run.method is Method.INSTRUCTIONS:
            self._in_process(run, contender, "run", n, prefix)
        else:
            self._serve(run, contender, n, prefix)
        try:
            total = re.search(r"^totals: (\d+)", out.read_text(encoding="latin-1"), re.MULTILINE)
        except FileNotFoundError:
            raise MeasurementError("callgrind wrote no result") from None
        if total is None:
            raise MeasurementError("callgrind's result has no totals")
        if self.keep is not None:
            shutil.copy(out, self.keep)
        out.unlink()
        return float(total[1])

    def _syscalls(self, run: Run, contender: str, n: int) -> float:
        out = self.scratch / f"strace.{contender}.{n}"
        self._serve(run, contender, n, ["strace", "-f", "-c", "-U", "calls,name", "-o", str(out)])
        total = STRACE_TOTAL.search(out.read_text())
        if total is None:
            raise MeasurementError("strace printed no total")
        return float(total[1])

    # -- processes -------------------------------------------------------------------------------------------

    def _environment(self, run: Run, contender: str) -> dict[str, str]:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "BENCH_HEAP": run.heap or self.heap}
        environment.pop("PYTHONASYNCIODEBUG", None)
        environment.pop("PYTHONDEVMODE", None)
        if run.load == "tls":
            environment["BENCH_CERTIFICATE"] = str(certificate(self.scratch))
        return environment | self.environment.get(contender, {})

    def _in_process(
        self, run: Run, contender: str, kind: str, n: int, prefix: Sequence[str] = (), pin: bool = False
    ) -> dict[str, float]:
        command = [*prefix, self.python, str(HERE / "worker.py"), contender, kind, run.workload, str(n)]
        command.append(str(run.warmup))
        try:
            done = subprocess.run(
                command,
                env=self._environment(run, contender),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                preexec_fn=_pin_to(0, self.realtime) if pin else None,
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"no result after {TIMEOUT:.0f} s") from None
        return _result(done.returncode, done.stdout, done.stderr)

    def _serve(self, run: Run, contender: str, n: int | None, prefix: Sequence[str] = ()) -> dict[str, float]:
        """Start the server, run the load against it (`n` messages, or by time), return both figures."""
        if program := CONTENDERS[contender].program:
            command = [*prefix, str(compiled(program))]
        else:
            command = [*prefix, self.python, str(HERE / "worker.py"), contender, "serve", run.workload]
        bound = ["time", str(self.warm), str(self.seconds)]
        if n is not None:
            bound = ["count", str(n // run.connections)]
        with tempfile.TemporaryFile("w+", dir=self.scratch) as errors:
            server = subprocess.Popen(
                [*command, str(run.connections)],
                env=self._environment(run, contender),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=None if prefix else _pin_to(0, self.realtime and n is None),
            )
            try:
                assert server.stdin is not None and server.stdout is not None
                host, port = json.loads(server.stdout.readline())["address"]
                load = subprocess.run(
                    [
                        str(compiled("load.c", "-lssl", "-lcrypto")),
                        run.load,
                        host,
                        str(port),
                        str(run.connections),
                        str(run.size),
                        *bound,
                    ],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=SERVER_TIMEOUT,
                    preexec_fn=_pin_to(-1, self.realtime and n is None),
                )
                server.stdin.close()
                server.wait(SERVER_TIMEOUT)
                if load.returncode != 0:
                    errors.seek(0)
                    said = errors.read().strip().splitlines()
                    if server.returncode < 0:
                        said.append(f"the server died of signal {-server.returncode}")
                    raise MeasurementError(said[-1] if said else load.stderr.strip())
                served = _result(server.returncode, server.stdout.read(), "")
            except (json.JSONDecodeError, subprocess.TimeoutExpired, BrokenPipeError) as error:
                server.kill()
                server.wait()
                errors.seek(0)
                said = errors.read().strip().splitlines()
                raise MeasurementError(said[-1] if said else f"{type(error).__name__}: {error}") from None
            finally:
                if server.poll() is None:
                    server.kill()
                    server.wait()
        figures: dict[str, float] = json.loads(load.stdout) | served
        if figures["all_messages"] == 0:
            raise MeasurementError("served no message")
        return figures


def _pin_to(index: int, realtime: bool) -> Callable[[], None]:
    """Run the child on one CPU of our mask: 0 is the first, -1 the last (the same one if it is alone)."""
    cpu = sorted(os.sched_getaffinity(0))[index]

    def before_exec() -> None:
        os.sched_setaffinity(0, {cpu})
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    return before_exec


def number_of_worker(script: str, *arguments: str) -> float:
    """The number that `script worker ARGUMENT...` prints last, run on the first CPU of this process's."""
    done = subprocess.run(
        [sys.executable, script, "worker", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=_pin_to(0, realtime=False),
    )
    if done.returncode != 0:
        raise SystemExit(f"{Path(script).name}: {' '.join(arguments)} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def _result(status: int, output: str, errors: str) -> dict[str, float]:
    lines = output.strip().splitlines()
    if status != 0 or not lines:
        said = [line for line in errors.strip().splitlines() if "RuntimeWarning" not in line]
        raise MeasurementError(said[-1] if said else f"ended with status {status} and no message")
    result: dict[str, float] = json.loads(lines[-1])
    return result


# ---- what the load needs: compiled and made once, outside the checkout -------------------------------------


def cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "segue" / "benches"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiled(name: str, *libraries: str) -> Path:
    """A C file of this folder, compiled into the user's cache; the name carries the source's hash: never stale."""
    source = HERE / name
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    binary = cache_folder() / f"{source.stem}-{digest}"
    if binary.exists():
        return binary
    fresh = binary.with_name(f"{binary.name}.{os.getpid()}")
    compiler = ["gcc", "-O2", "-o", str(fresh), str(source)]
    done = subprocess.run([*compiler, *libraries], capture_output=True, text=True)
    if done.returncode != 0 and libraries:
        print("benches: no OpenSSL headers (libssl-dev): the TLS row can't run", file=sys.stderr)
        done = subprocess.run([*compiler, "-DNO_TLS"], capture_output=True, text=True)
    if done.returncode != 0:
        raise MeasurementError(f"gcc can't compile {name}: {done.stderr.strip()}")
    fresh.rename(binary)
    return binary


def certificate(folder: Path) -> Path:
    """A self-signed certificate and its key in one file, made by the openssl command."""
    pem = folder / "certificate.pem"
    with _ONE_AT_A_TIME:
        if not pem.exists():
            _make_certificate(folder, pem)
    return pem


_ONE_AT_A_TIME = threading.Lock()  # counted runs share the CPUs, and would make one certificate each


def _make_certificate(folder: Path, pem: Path) -> None:
    key, own = folder / "key.pem", folder / "own.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(own)], check=True, capture_output=True)
    pem.write_text(key.read_text() + own.read_text())


def missing_tools(methods: set[Method]) -> dict[Method, str]:
    """The methods that can't run here, each with what to install."""
    needs = {
        Method.INSTRUCTIONS: "valgrind",
        Method.SERVER_INSTRUCTIONS: "valgrind",
        Method.SERVER_SYSCALLS: "strace",
    }
    return {m: f"{needs[m]} is not installed" for m in methods if m in needs and not shutil.which(needs[m])}


def load_average() -> float:
    """Runnable processes over the last minute: beside a busy machine the timed rows are not worth much."""
    return os.getloadavg()[0]


def timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
