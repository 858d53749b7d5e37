"""Children of a program find its `__main__` again, however they're started and the program was named."""

from __future__ import annotations

from case import Case, script

POOL = """
    import multiprocessing, os, sys

    class Point:
        def __init__(self, x): self.x = x
        def __eq__(self, other): return self.x == other.x

    def square(point):
        return Point(point.x ** 2), __name__, sys.argv, os.path.basename(sys.modules["__main__"].__file__)

    if __name__ == "__main__":
        context = multiprocessing.get_context("METHOD")
        with context.Pool(2) as pool:
            for result, name, argv, main in pool.map(square, [Point(n) for n in range(4)], chunksize=1):
                print(type(result) is Point, result.x, name, argv, main)
"""
FAILS = """
    import multiprocessing

    def work():
        raise ValueError("in the child")

    if __name__ == "__main__":
        process = multiprocessing.get_context("METHOD").Process(target=work, name="child")
        process.start()
        process.join()
        print(process.exitcode)
"""
METHODS = ("spawn", "fork", "forkserver")

CASES = [
    *[
        script(f"pool of {method} children", POOL.replace("METHOD", method), "app.py arg")
        for method in METHODS
    ],
    *[
        Case(f"pool of {method} children of -m", "-m app arg", {"app.py": POOL.replace("METHOD", method)})
        for method in METHODS
    ],
    Case(
        "pool of spawned children of a package's module",
        "-m package.app arg",
        {"package/__init__.py": "", "package/app.py": POOL.replace("METHOD", "spawn")},
    ),
    *[
        script(f"pool of {method} children with -I", POOL.replace("METHOD", method), "-I app.py arg")
        for method in ("spawn", "fork")
    ],
    *[script(f"{method} child that fails", FAILS.replace("METHOD", method)) for method in METHODS],
    script(
        "spawn without the guard",
        """
            import multiprocessing as m
            p = m.get_context('spawn').Process(target=print)
            p.start(); p.join(); print(p.exitcode)
            """,
    ),
    script(
        "process pool executor",
        """
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing

        def double(n):
            if n == 3:
                raise KeyError(n)
            return n * 2

        if __name__ == "__main__":
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
                print(list(pool.map(double, range(3))))
                print(repr(pool.submit(double, 3).exception()))
        """,
    ),
    script(
        "os.fork",
        """
        import os, sys
        if os.fork() == 0:
            print("child", flush=True)
            sys.exit(3)
        print("parent", os.waitstatus_to_exitcode(os.wait()[1]))
        """,
    ),
]
