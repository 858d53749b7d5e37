"""Asyncio programs: what they print, how they fail and how they end, whatever loop is underneath."""

from __future__ import annotations

import signal

from case import Case, script

SLEEPS = """
    import asyncio
    async def main():
        print("ready", flush=True)
        try:
            await asyncio.sleep(30)
        finally:
            print("cleaned up")
    asyncio.run(main())
"""

CASES = [
    script(
        "hello",
        "import asyncio\nasync def main():\n  await asyncio.sleep(0); print('hello')\nasyncio.run(main())",
    ),
    script(
        "failing main",
        """
            import asyncio
            async def inner():
              await asyncio.sleep(0)
              1/0
            async def main():
              await inner()
            asyncio.run(main())
            """,
    ),
    script(
        "failing task group",
        """
        import asyncio
        async def fails(n):
            await asyncio.sleep(0)
            raise ValueError(n)
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(fails(1))
                group.create_task(fails(2))
        asyncio.run(main())
        """,
    ),
    script(
        "sys.exit in a task",
        """
            import asyncio, sys
            async def main():
              await asyncio.sleep(0)
              sys.exit(5)
            asyncio.run(main())
            """,
    ),
    script(
        "sys.exit in a child task",
        """
            import asyncio, sys
            async def child():
              sys.exit('message')
            async def main():
              await asyncio.create_task(child())
            asyncio.run(main())
            """,
    ),
    script(
        "KeyboardInterrupt in a task",
        "import asyncio\nasync def main():\n  raise KeyboardInterrupt\nasyncio.run(main())",
    ),
    script(
        "cancelled main",
        """
            import asyncio
            async def main():
              asyncio.current_task().cancel()
              await asyncio.sleep(1)
            asyncio.run(main())
            """,
    ),
    script(
        "timeout",
        """
            import asyncio
            async def main():
              async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
            asyncio.run(main())
            """,
    ),
    script(
        "run inside run",
        "import asyncio\nasync def main():\n  asyncio.run(main())\nasyncio.run(main())",
        "-W ignore app.py",
    ),
    script("run without a coroutine", "import asyncio\nasyncio.run(print)"),
    script(
        "never awaited", "import asyncio\nasync def f(): pass\nasync def main():\n  f()\nasyncio.run(main())"
    ),
    script(
        "no running loop",
        "import asyncio\ntry: asyncio.get_running_loop()\nexcept RuntimeError as e: print(e)",
    ),
    script(
        "never retrieved",
        """
        import asyncio, gc
        async def fails():
            raise ValueError("nobody asks")
        async def main():
            task = asyncio.create_task(fails(), name="failing")
            await asyncio.sleep(0.01)
            del task
            gc.collect()
        asyncio.run(main())
        """,
    ),
    script(
        "failing callback",
        """
        import asyncio
        def callback():
            raise RuntimeError("in a callback")
        async def main():
            asyncio.get_running_loop().call_soon(callback)
            await asyncio.sleep(0.01)
            print("still running")
        asyncio.run(main())
        """,
    ),
    script(
        "pending tasks at the end",
        "import asyncio\nasync def child():\n  try: await asyncio.sleep(60)\n  finally: print('finally')\n"
        "async def main():\n  asyncio.create_task(child()); await asyncio.sleep(0)\nasyncio.run(main())",
    ),
    script(
        "streams and a subprocess",
        """
        import asyncio, sys
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"echo\\n")
            print(await reader.read())
            writer.close()
            server.close()
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=-1)
            print(await process.communicate(), process.returncode)
            print(await asyncio.to_thread(sum, [1, 2]))
        asyncio.run(main())
        """,
    ),
    script(
        "old style",
        """
            import asyncio
            loop = asyncio.new_event_loop()
            print(loop.run_until_complete(asyncio.sleep(0, 7)))
            loop.close()
            """,
    ),
    script("Ctrl-C in asyncio.run", SLEEPS, kill=signal.SIGINT),
    Case("Ctrl-C in asyncio.run of -m", "-m app", {"app.py": SLEEPS}, kill=signal.SIGINT),
    script("Ctrl-C in asyncio.run with -I", SLEEPS, "-I app.py", kill=signal.SIGINT),
    script("SIGTERM in asyncio.run", SLEEPS, kill=signal.SIGTERM),
    script(
        "signal handler of the loop",
        """
        import asyncio, signal
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            print("ready", flush=True)
            await stop.wait()
            print("stopped")
        asyncio.run(main())
        """,
        kill=signal.SIGTERM,
    ),
    script(
        "Ctrl-C that main handles",
        """
        import asyncio
        async def main():
            print("ready", flush=True)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                print("cancelled")
        asyncio.run(main())
        """,
        kill=signal.SIGINT,
    ),
    script(
        "debug mode of the interpreter",
        """
            import asyncio
            async def main():
              print(asyncio.get_running_loop().get_debug())
            asyncio.run(main())
            """,
        "-X dev app.py",
    ),
    script(
        "slow callback in debug mode",
        "import asyncio, logging, re, time\n"
        "class H(logging.Handler):\n"
        "  def emit(self, r): print(r.levelname, re.sub('[0-9.]+ seconds', 'T', r.getMessage())[-20:])\n"
        # Segue says more, on a logger of its own: docs/compatibility.md.
        "logging.basicConfig(handlers=[h := H()])\n"
        "h.addFilter(logging.Filter('asyncio'))\n"
        "async def main():\n  time.sleep(0.2)\nasyncio.run(main())",
        env={"PYTHONASYNCIODEBUG": "1"},
    ),
    *[
        script(
            f"slow callback with asyncio's log silenced by {how}",
            f"import asyncio, logging, logging.config, time\n{code}\n"
            "async def main():\n  time.sleep(0.2)\nasyncio.run(main())",
            env={"PYTHONASYNCIODEBUG": "1"},
        )
        for how, code in {
            "its level": "logging.getLogger('asyncio').setLevel(logging.ERROR)",
            "the root's level": "logging.basicConfig(level=logging.ERROR)",
            "logging.disable": "logging.disable(logging.WARNING)",
            "being disabled": "logging.getLogger('asyncio').disabled = True",
            "a configuration": "logging.config.dictConfig({'version': 1})",
        }.items()
    ],
    Case(
        "asyncio in spawned children",
        "app.py",
        {
            "app.py": """
                import asyncio, multiprocessing
                async def answer(n):
                    await asyncio.sleep(0)
                    return n + 1
                def work(n):
                    return asyncio.run(answer(n))
                if __name__ == "__main__":
                    for method in ("spawn", "fork", "forkserver"):
                        with multiprocessing.get_context(method).Pool(1) as pool:
                            print(pool.map(work, [1, 2, 3]))
            """
        },
    ),
]
