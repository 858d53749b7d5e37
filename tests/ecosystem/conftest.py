"""Fixtures of the ecosystem tests: every test runs on asyncio's loop and on Segue's, against real servers.

The libraries under test are unmodified releases; the servers (redis, PostgreSQL, nginx) are private processes
on free ports in temporary folders, started once per session. A missing server fails the test:
`tests/install_servers.sh` installs them. What the loops themselves promise is tested elsewhere
(tests/conformance); here it's the programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Run = Callable[..., Any]


@dataclass(frozen=True)
class Contender:
    """A loop under test: how code makes one, and how a command line names one (uvicorn's --loop)."""

    name: str
    factory: LoopFactory
    import_string: str


def contender(name: str) -> Contender:
    if name == "asyncio":
        return Contender(name, asyncio.SelectorEventLoop, "asyncio:SelectorEventLoop")
    import segue

    return Contender(name, segue.new_event_loop, "segue:new_event_loop")


@pytest.fixture(params=["asyncio", "segue"])
def loop_under_test(request: pytest.FixtureRequest) -> Contender:
    return contender(request.param)


@pytest.fixture
def loop_factory(loop_under_test: Contender) -> LoopFactory:
    return loop_under_test.factory


@pytest.fixture
def run(loop_factory: LoopFactory) -> Run:
    """Runs a coroutine function to its end on the loop under test.

    Fails when the loop's exception handler was called (an error nobody saw) or when it takes longer than
    `timeout` seconds. Returns what the coroutine returned.
    """

    def run_main(main: Callable[..., Awaitable[Any]], *args: Any, timeout: float = 60.0) -> Any:
        unseen: list[dict[str, Any]] = []

        async def bounded() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            async with asyncio.timeout(timeout):
                return await main(*args)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert type(runner.get_loop()) is type_made_by(loop_factory)
            result = runner.run(bounded())
        assert not unseen, f"the loop's exception handler was called: {unseen}"
        return result

    return run_main


def type_made_by(factory: LoopFactory) -> type:
    loop = factory()
    loop.close()
    return type(loop)


# ---------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Certificates:
    """A certificate for localhost and 127.0.0.1, its CA, and contexts made of them."""

    ca_file: Path
    chain_file: Path
    key_file: Path

    def server_context(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain_file, self.key_file)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    found = Certificates(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(found.ca_file)
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(found.chain_file, append=True)
    leaf.private_key_pem.write_to_path(found.key_file)
    return found


# ---------------------------------------------------------------- servers


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    unix_path: Path | None = None


@dataclass(frozen=True)
class Nginx:
    http: Address
    tls: Address
    proxy: Address
    """Forwards to `upstream_port`, where a test starts the server under test."""
    upstream_port: int
    root: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_program(name: str, package: str, extra_folders: tuple[str, ...] = ()) -> str:
    """The program's path, or a failed test that names the Debian package which has it."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *extra_folders])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.fail(
            f"{name} is missing: run tests/install_servers.sh, or apt-get install {package}", pytrace=False
        )
    return found


def wait_for_port(
    address: Address, process: subprocess.Popen[bytes], log: Path, ready: str, timeout: float = 30.0
) -> None:
    """Until the port is open and `ready` is in the log."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
            if ready in log.read_text(errors="replace"):
                return
        time.sleep(0.05)
    pytest.fail(
        f"{process.args!r} did not open port {address.port}; its log:\n{log.read_text()[-4000:]}",
        pytrace=False,
    )


@contextlib.contextmanager
def running(
    command: list[str],
    address: Address,
    log: Path,
    stop_signal: int = signal.SIGTERM,
    ready: str = "",
    **popen: Any,
) -> Iterator[None]:
    """Runs a server in the foreground until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **popen
        )
        try:
            wait_for_port(address, process, log, ready)
            yield
        finally:
            process.send_signal(stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder whose path leaves room for a Unix socket's name (108 bytes)."""
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/segue-eco.XXXXXX"], text=True).strip())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(short_tmp: Path) -> Iterator[Address]:
    program = find_program("redis-server", "redis-server")
    address = Address("127.0.0.1", free_port(), short_tmp / "redis.sock")
    command = [
        program,
        "--port",
        str(address.port),
        "--bind",
        address.host,
        "--unixsocket",
        str(address.unix_path),
    ]
    command += ["--save", "", "--appendonly", "no", "--dir", str(short_tmp), "--daemonize", "no"]
    with running(command, address, short_tmp / "redis.log"):
        yield address


@pytest.fixture(scope="session")
def postgres_server(short_tmp: Path, certificates: Certificates) -> Iterator[Address]:
    """PostgreSQL with a database `postgres`, user `postgres`, no password on localhost, TLS on."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    folders = tuple(str(folder) for folder in reversed(versions))
    initdb = find_program("initdb", "postgresql", folders)
    postgres = find_program("postgres", "postgresql", folders)
    home = short_tmp / "pg"
    home.mkdir()
    for source, name in ((certificates.chain_file, "server.crt"), (certificates.key_file, "server.key")):
        shutil.copy(source, home / name)
        (home / name).chmod(0o600)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        for path in (home, *home.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
    data = home / "data"
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=False,
        capture_output=True,
        text=True,
        cwd=home,
        **identity,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    address = Address("127.0.0.1", free_port(), home)
    settings = {
        "listen_addresses": address.host,
        "port": address.port,
        "unix_socket_directories": home,
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": home / "server.crt",
        "ssl_key_file": home / "server.key",
    }
    command = [postgres, "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    ready, log = "ready to accept connections", short_tmp / "postgres.log"
    with running(command, address, log, signal.SIGINT, ready, cwd=home, **identity):
        yield address


NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    default_type application/octet-stream;
    types {{ text/html html; text/plain txt; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    server {{
        listen 127.0.0.1:{http_port};
        root {folder}/root;
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl http2;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        root {folder}/root;
    }}
    server {{
        listen 127.0.0.1:{proxy_port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream_port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_buffering off;
        }}
    }}
}}
"""


@pytest.fixture(scope="session")
def nginx_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Nginx]:
    """nginx with a folder of files over HTTP and TLS, and a proxy in front of the server under test."""
    program = find_program("nginx", "nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "root").mkdir()
    ports = [free_port() for _ in range(4)]
    nginx = Nginx(
        *(Address("127.0.0.1", port) for port in ports[:3]), upstream_port=ports[3], root=folder / "root"
    )
    (folder / "nginx.conf").write_text(
        NGINX_CONFIGURATION.format(
            folder=folder,
            http_port=nginx.http.port,
            tls_port=nginx.tls.port,
            proxy_port=nginx.proxy.port,
            upstream_port=nginx.upstream_port,
            chain=certificates.chain_file,
            key=certificates.key_file,
        )
    )
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    if os.geteuid() == 0:
        command += ["-g", "user root;"]  # the folder belongs to root; nothing but the tests connects
    with running(command, nginx.http, folder / "nginx.log"):
        yield nginx


@pytest.fixture
def python() -> str:
    """This interpreter, for tests that start Python programs."""
    return sys.executable
