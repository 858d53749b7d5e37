# Reference: other programs, files, signals.
import os
import signal
import subprocess
import sys
import tempfile

import trio

UPPER = "import sys; print(sys.stdin.read().upper(), end='')"


async def main():
    done = await trio.run_process([sys.executable, "-c", UPPER], stdin=b"hello\n", capture_stdout=True)
    print(done.returncode, done.stdout)
    try:
        await trio.run_process([sys.executable, "-c", "raise SystemExit(3)"])
    except subprocess.CalledProcessError as exc:
        print("exit status", exc.returncode)

    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            lambda task_status: trio.run_process(
                [sys.executable, "-c", UPPER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                task_status=task_status,
            )
        )
        async with process.stdin as stdin:
            await stdin.send_all(b"piped")
        async with process.stdout as stdout:
            print([chunk async for chunk in stdout])
        print(await process.wait())

    with trio.move_on_after(0.05) as scope:
        await trio.run_process([sys.executable, "-c", "import time; time.sleep(60)"])
    print("ended:", scope.cancelled_caught)

    with tempfile.TemporaryDirectory() as folder:
        async with await trio.open_file(os.path.join(folder, "lines"), "w+") as file:
            await file.write("one\ntwo\n")
            await file.seek(0)
            async for line in file:
                print(repr(line))

    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        async for number in signals:
            print(signal.Signals(number).name)
            break


trio.run(main)

# prints:
#     0 b'HELLO\n'
#     exit status 3
#     [b'PIPED']
#     0
#     ended: True
#     'one\n'
#     'two\n'
#     SIGUSR1
