"""urllib in a thread."""
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


def get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


async def download(url: str) -> bytes:
    return await asyncio.to_thread(get, url)


async def main(url: str) -> None:
    task = asyncio.create_task(download(url), name="downloader")
    print(await task)


asyncio.run(main(serve()))
