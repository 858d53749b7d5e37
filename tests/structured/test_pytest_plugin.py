"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

PLUGIN = [] if "segue" in entry_points(group="pytest11").names else ["-p", "segue.testing.pytest_plugin"]


@pytest.fixture
def run(pytester: pytest.Pytester):
    def run(source: str, *args: str, others: bool = False) -> pytest.RunResult:
        pytester.makepyfile(source)
        off = [] if others else ["-p", "no:anyio", "-p", "no:asyncio"]
        return pytester.runpytest_subprocess(*PLUGIN, *off, "-p", "no:cacheprovider", *args)

    return run


def test_marked_tests_run_on_segue(run) -> None:
    result = run(
        """
        import asyncio, pytest, segue

        @pytest.mark.segue
        async def test_loop():
            assert isinstance(asyncio.get_running_loop(), segue.EventLoop)
            await segue.sleep(0)

        @pytest.mark.segue
        @pytest.mark.parametrize("n", [1, 2])
        async def test_fails(n):
            assert n == 1

        @pytest.mark.segue
        class TestClass:
            async def test_method(self, tmp_path):
                assert tmp_path.exists()

            @pytest.fixture
            async def own(self):
                return self

            async def test_fixture_method(self, own):
                assert own is self

        @pytest.mark.segue
        async def test_skips():
            pytest.skip("not now")

        @pytest.mark.segue
        def test_not_async():
            pass
        """
    )
    result.assert_outcomes(passed=5, failed=1, skipped=1)


@pytest.mark.parametrize("mode", ["ini", "option"])
def test_auto_mode(run, pytester: pytest.Pytester, mode: str) -> None:
    if mode == "ini":
        pytester.makeini("[pytest]\nsegue_mode = auto\n")
    result = run(
        """
        import asyncio, segue

        async def test_loop():
            assert isinstance(asyncio.get_running_loop(), segue.EventLoop)
        """,
        *([] if mode == "ini" else ["--segue-mode=auto"]),
    )
    result.assert_outcomes(passed=1)


def test_a_wrong_mode_is_an_error(run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nsegue_mode = sometimes\n")
    result = run("def test(): pass")
    result.stderr.fnmatch_lines(["*segue_mode must be 'auto' or 'strict', not 'sometimes'*"])


def test_fixtures_share_task_and_context_with_the_test(run) -> None:
    result = run(
        """
        import asyncio, contextvars, pytest, segue

        var = contextvars.ContextVar("var", default="unset")
        order = []

        @pytest.fixture
        async def value():
            var.set("by a fixture")
            return asyncio.current_task()

        @pytest.fixture
        async def block(value):
            assert asyncio.current_task() is value
            order.append("begin")
            yield "block"
            assert asyncio.current_task() is value and var.get() == "by the test"
            await segue.sleep(0)
            order.append("end")

        @pytest.fixture
        async def around():
            with segue.CancelScope() as scope:
                yield scope

        @pytest.mark.segue
        async def test_both(block, value, around):
            assert asyncio.current_task() is value and var.get() == "by a fixture"
            var.set("by the test")
            assert order == ["begin"] and segue.current_effective_deadline() == float("inf")

        def test_ended():
            assert order == ["begin", "end"] and var.get() == "unset"
        """
    )
    result.assert_outcomes(passed=2)


def test_clocks(run) -> None:
    result = run(
        """
        import asyncio, pytest, segue, time

        pytestmark = pytest.mark.segue

        @pytest.fixture
        async def early():
            await segue.sleep(1000)

        async def test_autojump(early, autojump_clock):
            assert segue.current_time() == autojump_clock.current_time() == 1000
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(20_000), 10_000)
            assert segue.current_time() == 11_000

        async def test_by_hand(mock_clock):
            task = asyncio.create_task(segue.sleep(10))
            await segue.sleep(0)
            assert not task.done()
            mock_clock.jump(10)
            await task
        """
    )
    result.assert_outcomes(passed=2)


def test_nursery(run) -> None:
    result = run(
        """
        import pytest, segue

        pytestmark = pytest.mark.segue
        ended = []

        async def for_ever():
            try:
                await segue.sleep_forever()
            finally:
                ended.append(1)

        async def fail():
            raise KeyError("of a child")

        async def test_its_tasks_end_with_the_test(nursery):
            nursery.start_soon(for_ever)
            await segue.sleep(0)

        async def test_ended():
            assert ended == [1]

        async def test_a_failing_task(nursery):
            nursery.start_soon(fail)
            await segue.sleep_forever()

        async def test_a_failing_task_at_the_end(nursery):
            nursery.start_soon(fail)

        async def test_cancelled_by_itself(nursery):
            nursery.cancel_scope.cancel()
            await segue.sleep_forever()
        """
    )
    result.assert_outcomes(passed=4, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*KeyError: 'of a child'*"])


def test_a_leaked_task_fails_its_test_and_names_the_line(run) -> None:
    result = run(
        """
        import asyncio, pytest, segue

        pytestmark = pytest.mark.segue

        async def test_leak():
            asyncio.create_task(segue.sleep_forever(), name="forgotten")

        async def test_no_leak():
            asyncio.create_task(segue.sleep(0))
            segue.background(segue.sleep(0.01))

        @pytest.fixture
        async def server():
            task = asyncio.create_task(segue.sleep_forever())
            yield
            task.cancel()

        async def test_a_fixtures_task(server):
            pass

        async def test_leak_beside_a_fixture(server):
            asyncio.ensure_future(segue.sleep_forever())
        """
    )
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the test has left tasks running:*",
            "*'forgotten', running sleep_forever, created at *test_a_leaked_task*.py:6 in test_leak*",
        ]
    )
    result.stdout.fnmatch_lines(["*created at *.py:22 in test_leak_beside_a_fixture*"])


def test_errors_are_explained(run) -> None:
    result = run(
        """
        import asyncio, pytest, segue

        pytestmark = pytest.mark.segue

        @pytest.fixture(scope="module")
        async def wide():
            return 1

        async def test_wide(wide):
            pass

        @pytest.fixture
        async def twice():
            yield 1
            yield 2

        async def test_twice(twice):
            pass

        async def test_cancelled_natively():
            asyncio.current_task().cancel("oh")
            await segue.sleep(0)
        """
    )
    result.assert_outcomes(passed=1, errors=2, failed=1)
    result.stdout.fnmatch_lines(["*must have the scope 'function'*"])
    result.stdout.fnmatch_lines(["*the fixture twice must yield once only*"])


def test_hypothesis(run) -> None:
    result = run(
        """
        import pytest, segue
        from hypothesis import given, strategies as st

        @pytest.mark.segue
        @given(n=st.integers())
        async def test_many(n):
            await segue.sleep(0)
            assert n != 77 or True

        @pytest.mark.segue
        @given(n=st.integers(0, 3))
        async def test_fails(n):
            assert n < 2
        """
    )
    result.assert_outcomes(passed=1, failed=1)


def test_in_strict_mode_other_plugins_tests_are_theirs(run) -> None:
    pytest.importorskip("pytest_asyncio")
    source = """
        import asyncio, anyio, pytest, pytest_asyncio, segue

        def on_segue():
            return isinstance(asyncio.get_running_loop(), segue.EventLoop)

        @pytest_asyncio.fixture
        async def theirs():
            return on_segue()

        @pytest.fixture
        async def ours():
            return on_segue()

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.asyncio
        async def test_asyncio(theirs):
            assert not on_segue() and not theirs

        @pytest.mark.anyio
        async def test_anyio(ours):
            assert not on_segue() and not ours

        @pytest.mark.segue
        async def test_segue(ours):
            assert on_segue() and ours
    """
    for mode in ("strict", "auto"):
        run(source, f"--segue-mode={mode}", others=True).assert_outcomes(passed=3)


def test_segue_testing_needs_no_pytest() -> None:
    program = "import sys; sys.modules['pytest'] = None; import segue.testing; print('fine')"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "fine\n"
