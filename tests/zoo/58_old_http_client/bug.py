# code: blocking-call, loop-blocked
# tasks: downloader
# cure: to_thread
"""urllib on the loop."""
import asyncio
import http.server
import threading
import time
import urllib.request


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.2)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page")

    def log_message(self, *args: object) -> None:
        pass


def serve() -> str:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


async def download(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:  # BUG
        return answer.read()


async def main(url: str) -> None:
    task = asyncio.create_task(download(url), name="downloader")
    print(await task)


asyncio.run(main(serve()))
