"""The table of other projects whose own test suites are run against a loop: what to fetch and how to run it.

Data only. Versions are pinned so that a failure means a change in the loop, not in the suite.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Project:
    """One project's suite: from its sdist on PyPI, run by pytest against the wheel of the same version."""

    name: str
    version: str
    requires: tuple[str, ...] = ()  # what its tests need besides itself and pytest
    tests: tuple[str, ...] = ("tests",)  # folders and files of the sdist the run needs; never the package itself
    arguments: tuple[str, ...] = ()  # to pytest
    plugins: tuple[str, ...] = ()  # loaded explicitly; nothing else is autoloaded
    as_uvloop: bool = False  # the suite builds its loop with uvloop's factories
    silent_loggers: tuple[str, ...] = ()


# Most suites set addopts for coverage or parallel runs; `-o addopts=` drops those and nothing else.
PLAIN = ("-o", "addopts=")

PROJECTS = {
    project.name: project
    for project in (
        Project(
            "anyio",
            "4.16.0",
            requires=(
                "blockbuster>=1.5.29",
                "hypothesis",
                "psutil",
                "pytest-mock",
                "pytest-timeout",
                "trustme",
                "truststore",
            ),
            # Its parameters run each test on asyncio, asyncio with eager tasks, uvloop and Trio: the loop
            # under test stands in for the first two.
            arguments=("-k", "not uvloop and not trio", "-m", "not network"),
        ),
        Project(
            "aiohttp",
            "3.14.5",
            requires=(
                "aiodns",
                "brotli",
                "blockbuster",
                "coverage",
                "freezegun",
                "isal",
                "pkgconfig",
                "proxy.py",
                "pytest-mock",
                "pytest-timeout",
                "re-assert",
                "setuptools",
                "trustme",
                "zlib_ng",
                "gunicorn",
            ),
            tests=("tests", "pytest.ini", "examples", "README.rst"),
            arguments=(
                *PLAIN,
                "-m",
                "not dev_mode and not autobahn and not internal",
                "--ignore-glob=*benchmarks*",
            ),
            plugins=("pytest_mock", "pytest_timeout"),
        ),
        Project(
            "uvloop",
            "0.23.0",
            requires=("aiohttp", "psutil", "pyOpenSSL~=26.4.0"),
            # test_sourcecode lints uvloop's own source; the libuv and Cython tests call uvloop's internals.
            arguments=(
                "-k",
                "not AIO",
                "--ignore=tests/test_sourcecode.py",
                "--ignore=tests/test_libuv_api.py",
                "--ignore=tests/test_cython.py",
            ),
            as_uvloop=True,
        ),
        Project(
            "janus",
            "2.0.0",
            requires=("pytest-asyncio",),
            arguments=("--ignore=tests/test_benchmarks.py",),
            plugins=("pytest_asyncio.plugin",),
        ),
        Project(
            "aiofiles",
            "25.1.0",
            requires=("pytest-asyncio",),
            tests=("tests", "pyproject.toml"),
            plugins=("pytest_asyncio.plugin",),
        ),
        Project(
            "async-timeout",
            "5.0.1",
            requires=("pytest-asyncio",),
            arguments=("-o", "asyncio_mode=strict"),
            plugins=("pytest_asyncio.plugin",),
        ),
        Project(
            "aiosignal",
            "1.4.0",
            requires=("pytest-asyncio", "re-assert"),
            tests=("tests", "pytest.ini"),
            arguments=PLAIN,
            plugins=("pytest_asyncio.plugin",),
        ),
        Project("asyncstdlib", "3.14.0", tests=("unittests",), arguments=("unittests",)),
        Project(
            "httpcore",
            "1.0.9",
            requires=("httpcore[asyncio,http2,socks]", "pytest-httpbin", "pytest-trio", "trio"),
            tests=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "-k", "not trio"),
            plugins=("anyio", "pytest_httpbin.plugin", "pytest_trio.plugin"),
        ),
        Project(
            "hypercorn",
            "0.18.0",
            requires=("hypercorn[h3,trio]", "httpx", "pytest-asyncio", "pytest-trio", "trio"),
            tests=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "--ignore=tests/trio"),
            plugins=("pytest_asyncio.plugin", "pytest_trio.plugin"),
        ),
        Project(
            "tornado",
            "6.6.1",
            tests=(),
            arguments=("--pyargs", "tornado.test"),
            # Its tests fail on any line logged; its own runner silences the access log as this does.
            silent_loggers=("tornado.access",),
        ),
        Project(
            "uvicorn",
            "0.54.0",
            requires=(
                "uvicorn[standard]",
                "a2wsgi",
                "cryptography",
                "httpx2",
                "pytest-mock",
                "trustme",
                "typing-extensions",
                "wsproto",
                "zttp",
            ),
            tests=("tests", "pyproject.toml"),
            arguments=PLAIN,
            plugins=("anyio", "pytest_mock"),
        ),
        Project(
            "starlette",
            "1.10.0",
            requires=("starlette[full]", "blockbuster", "httpx2[zstd]", "opentelemetry-sdk"),
            tests=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "-k", "not trio"),
            plugins=("anyio",),
        ),
        Project(
            "httpx",
            "0.28.1",
            requires=("httpx[brotli,cli,http2,socks,zstd]", "chardet", "trio", "trustme", "uvicorn"),
            tests=("tests", "pyproject.toml"),
            arguments=(*PLAIN, "-k", "not trio", "-m", "not network"),
            plugins=("anyio",),
        ),
        Project(
            "asgiref",
            "3.13.0",
            requires=("pytest-asyncio",),
            tests=("tests", "setup.cfg"),
            plugins=("pytest_asyncio.plugin",),
        ),
        Project("asyncssh", "2.24.1", requires=("aiofiles", "bcrypt", "ifaddr", "pyOpenSSL", "setuptools")),
        Project(
            "aiojobs",
            "1.4.0",
            requires=("aiojobs[aiohttp]", "pytest-aiohttp"),
            tests=("tests", "setup.cfg", "pyproject.toml"),
            arguments=(*PLAIN, "-o", "asyncio_mode=auto"),
            plugins=("pytest_asyncio.plugin", "pytest_aiohttp.plugin"),
        ),
    )
}
