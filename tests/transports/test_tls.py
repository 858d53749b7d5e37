"""TLS connections: opening them, what they tell of themselves, and bytes both ways. On asyncio and on Segue."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import socket
import ssl
import subprocess
import weakref

import pytest
import tls_peer
from tls_peer import Recorder, calling, connect, listening, receive, serving, until


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol):
    """Reads into a buffer of its own, perhaps smaller than a record."""

    def __init__(self, size):
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]

    def connection_lost(self, exc):
        self.lost.set_result(exc)


PAYLOAD = bytes(range(256)) * 4096  # 1 MiB


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 1000, 16384, 16385, len(PAYLOAD)])
def test_streams_echo(run, certificates, version, size):
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(100_000):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        client_context = certificates.client()
        client_context.maximum_version = client_context.minimum_version = version
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.server())
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(
                host, port, ssl=client_context, server_hostname="localhost"
            )
            assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
            writer.write(PAYLOAD[:size])
            assert await reader.readexactly(size) == PAYLOAD[:size]
            writer.close()
            await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("size", [13, 1000, 300_000])
def test_buffered_protocol_gets_every_byte(run, certificates, size):
    def send(sock):
        with certificates.server().wrap_socket(sock, server_side=True) as tls:
            tls.sendall(PAYLOAD)
            tls.unwrap()

    async def main():
        with listening(send) as (address, peer):
            transport, protocol = await connect(address, certificates.client(), lambda: Buffered(size))
            await until(lambda: len(protocol.data) == len(PAYLOAD))
            assert bytes(protocol.data) == PAYLOAD
            assert await protocol.lost is None
            await peer.join()

    run(main())


def test_writes_of_every_kind_arrive_in_order(run, certificates):
    pieces = [b"first,", bytearray(b"second,"), memoryview(b"third,"), b"", b"x" * 100_000]

    def take(sock):
        with certificates.server().wrap_socket(sock, server_side=True) as tls:
            data = receive(tls, 2 * 100_019 + 5)
            tls.unwrap()
            return data

    async def main():
        with listening(take) as (address, peer):
            transport, protocol = await connect(address, certificates.client())
            for piece in pieces:
                transport.write(piece)
            transport.writelines(iter(pieces))
            transport.write(bytearray(b"last!"))
            expected = b"".join(pieces)
            assert await peer.join() == expected * 2 + b"last!"
            assert await protocol.lost is None

    run(main())


def test_what_a_protocol_writes_while_it_is_called_is_sent_even_if_it_aborts(run, certificates):
    class Hasty(Recorder):
        def data_received(self, data):
            for _ in range(3):
                self.transport.write(b"bye ")
            self.transport.abort()

    def talk(sock):
        with certificates.server().wrap_socket(sock, server_side=True, suppress_ragged_eofs=True) as tls:
            tls.sendall(b"hello")
            return receive(tls, 12)

    async def main():
        with listening(talk) as (address, peer):
            _, protocol = await connect(address, certificates.client(), Hasty)
            assert await peer.join() == b"bye bye bye "
            assert await protocol.lost is None
        assert run.reports == []

    run(main())


def test_write_refuses_what_is_not_bytes(run, certificates):
    async def main():
        async with serving(certificates.server()) as (address, _):
            transport, protocol = await connect(address, certificates.client())
            with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got str"):
                transport.write("text")
            transport.close()
            assert await protocol.lost is None

    run(main())


def test_extra_info(run, certificates):
    async def main():
        async with serving(certificates.server()) as (address, servers):
            context = certificates.client()
            transport, protocol = await connect(address, context)
            assert isinstance(transport, asyncio.Transport)
            ssl_object = transport.get_extra_info("ssl_object")
            assert isinstance(ssl_object, ssl.SSLObject)
            assert ssl_object.version() == "TLSv1.3"
            assert transport.get_extra_info("sslcontext") is context
            assert transport.get_extra_info("cipher") == ssl_object.cipher()
            assert transport.get_extra_info("compression") is None
            names = transport.get_extra_info("peercert")["subjectAltName"]
            assert ("DNS", "localhost") in names
            assert transport.get_extra_info("peername") == address
            assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
            assert transport.get_extra_info("socket").family == socket.AF_INET
            assert transport.get_extra_info("unheard of") is None
            assert transport.get_extra_info("unheard of", 7) == 7
            await until(lambda: servers and servers[0].transport)
            assert servers[0].transport.get_extra_info("peercert") is None
            transport.close()
            assert await protocol.lost is None
            assert transport.get_extra_info("sslcontext") is context
            assert transport.get_extra_info("peername") is None

    run(main())


def test_alpn(run, certificates):
    async def main():
        server_context, client_context = certificates.server(), certificates.client()
        server_context.set_alpn_protocols(["h2", "http/1.1"])
        client_context.set_alpn_protocols(["http/1.1"])
        async with serving(server_context) as (address, _):
            transport, protocol = await connect(address, client_context)
            assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            transport.close()
            await protocol.lost

    run(main())


def test_sni_callback_chooses_the_certificate(run, certificates):
    async def main():
        asked = []
        contexts = {"other.example": certificates.server(certificates.other)}

        def choose(ssl_object, name, context):
            asked.append(name)
            ssl_object.context = contexts.get(name, context)

        server_context = certificates.server()
        server_context.sni_callback = choose
        async with serving(server_context) as (address, _):
            for name in ("other.example", "localhost"):
                transport, protocol = await connect(address, certificates.client(), server_hostname=name)
                assert ("DNS", name) in transport.get_extra_info("peercert")["subjectAltName"]
                transport.close()
                await protocol.lost
        assert asked == ["other.example", "localhost"]

    run(main())


def test_wrong_server_name_is_refused(run, certificates):
    async def main():
        async with serving(certificates.server(certificates.other)) as (address, servers):
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch") as caught:
                await connect(address, certificates.client())
            assert caught.value.reason == "CERTIFICATE_VERIFY_FAILED"
            await until(lambda: servers)
        assert run.reports == []

    run(main())


def test_unknown_authority_is_refused(run, certificates):
    async def main():
        async with serving(certificates.server()) as (address, _):
            with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
                await connect(address, ssl.create_default_context())
        assert run.reports == []

    run(main())


def test_client_certificate(run, certificates):
    async def main():
        server_context, client_context = certificates.server(), certificates.client()
        server_context.verify_mode = ssl.CERT_REQUIRED
        certificates.authority.configure_trust(server_context)
        certificates.person.configure_cert(client_context)
        async with serving(server_context) as (address, servers):
            transport, protocol = await connect(address, client_context)
            await until(lambda: servers and servers[0].transport)
            names = servers[0].transport.get_extra_info("peercert")["subjectAltName"]
            assert names == (("email", "person@example.org"),)
            transport.close()
            assert await protocol.lost is None

    run(main())


def test_missing_client_certificate_reaches_the_client_as_an_alert(run, certificates):
    """In TLS 1.3 the client learns it after its handshake: from the first read, with OpenSSL's own reason."""

    def refuse(sock):
        context = certificates.server()
        context.verify_mode = ssl.CERT_REQUIRED
        certificates.authority.configure_trust(context)
        with context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as tls:
            with pytest.raises(ssl.SSLError):
                tls.do_handshake()
            tls.shutdown(socket.SHUT_WR)
            tls.recv(10_000)

    async def main():
        with listening(refuse) as (address, peer):
            _, protocol = await connect(address, certificates.client())
            error = await protocol.lost
            assert isinstance(error, ssl.SSLError)
            assert error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
            assert error.library == "SSL"
            await peer.join()
        assert run.reports == []

    run(main())


def test_certificate_asked_for_after_the_handshake(run, certificates):
    def ask(sock):
        context = certificates.server()
        context.post_handshake_auth = True
        context.verify_mode = ssl.CERT_OPTIONAL
        certificates.authority.configure_trust(context)
        with context.wrap_socket(sock, server_side=True) as tls:
            assert tls.getpeercert() is None
            tls.verify_client_post_handshake()
            tls.sendall(b"who are you?")
            assert receive(tls, 2) == b"me"
            return tls.getpeercert()["subjectAltName"]

    async def main():
        context = certificates.client()
        context.post_handshake_auth = True
        certificates.person.configure_cert(context)
        with listening(ask) as (address, peer):
            transport, protocol = await connect(address, context)
            assert await protocol.received(12) == b"who are you?"
            transport.write(b"me")
            assert await peer.join() == (("email", "person@example.org"),)

    run(main())


@pytest.mark.parametrize("command", ["K", "R"], ids=["key update", "renegotiation"])
def test_new_keys_in_the_middle(run, certificates, tmp_path: pathlib.Path, command):
    """With OpenSSL's own client, whose K updates keys (TLS 1.3) and whose R renegotiates (TLS 1.2)."""
    authority = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(authority))
    version = "-tls1_3" if command == "K" else "-tls1_2"

    async def main():
        context = certificates.server()
        context.options |= 0x100  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which Python has no name for
        async with serving(context, Echo) as (address, _):
            arguments = ["-connect", f"127.0.0.1:{address[1]}", "-CAfile", str(authority), version]
            client = await asyncio.create_subprocess_exec(
                "openssl", "s_client", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert client.stdin is not None and client.stdout is not None
            done = {"K": "KEYUPDATE", "R": "RENEGOTIATING"}
            for line in ("before it", command, "after it", command, "at the end"):
                client.stdin.write(line.encode() + b"\n")
                async with asyncio.timeout(tls_peer.TIMEOUT):
                    await client.stdout.readuntil(done.get(line, line).encode() + b"\n")
            client.stdin.write(b"Q\n")
            await client.communicate()
        assert run.reports == []

    run(main())


def test_keys_are_logged(run, certificates, tmp_path: pathlib.Path):
    async def main():
        context = certificates.client()
        context.keylog_filename = str(tmp_path / "keys")
        async with serving(certificates.server()) as (address, _):
            transport, protocol = await connect(address, context)
            transport.close()
            await protocol.lost

    run(main())
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in (tmp_path / "keys").read_text()


def test_an_ssl_object_class_of_the_users_own_is_used(run, certificates):
    """As truststore's, which verifies certificates in `do_handshake`, and as one that counts bytes."""
    calls = []

    class Counting(ssl.SSLObject):
        def do_handshake(self):
            super().do_handshake()
            calls.append("handshake")

        def read(self, *arguments):
            data = super().read(*arguments)
            calls.append("read")
            return data

        def write(self, data):
            calls.append("write")
            return super().write(data)

    async def main():
        context = certificates.client()
        context.sslobject_class = Counting
        async with serving(certificates.server(), Echo) as (address, _):
            transport, protocol = await connect(address, context)
            transport.write(PAYLOAD)
            assert await protocol.received(len(PAYLOAD)) == PAYLOAD
            transport.close()
            assert await protocol.lost is None
        assert calls[0] == "handshake"
        assert "read" in calls and "write" in calls

    run(main())


def test_unix_sockets(run, certificates, tmp_path: pathlib.Path):
    async def main():
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(Echo, path, ssl=certificates.server())
        async with server:
            transport, protocol = await loop.create_unix_connection(
                Recorder, path, ssl=certificates.client(), server_hostname="localhost"
            )
            transport.write(b"over a path")
            assert await protocol.received(11) == b"over a path"
            transport.close()
            assert await protocol.lost is None

    run(main())


def test_accepted_socket(run, certificates):
    def talk(sock):
        with certificates.client().wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(b"hello")
            assert receive(tls, 5) == b"hello"
            tls.unwrap()

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            peer = calling(listener.getsockname(), talk)
            sock, _ = await loop.sock_accept(listener)
        transport, protocol = await loop.connect_accepted_socket(Recorder, sock, ssl=certificates.server())
        transport.write(await protocol.received(5))
        assert await protocol.lost is None
        await peer.join()

    run(main())


def test_many_connections_at_once(run, certificates):
    async def main():
        async with serving(certificates.server(), Echo) as (address, _):

            async def one(number):
                transport, protocol = await connect(address, certificates.client())
                message = str(number).encode() * 5000
                for _ in range(5):
                    protocol.data.clear()
                    transport.write(message)
                    assert await protocol.received(len(message)) == message
                transport.close()
                assert await protocol.lost is None

            async with asyncio.TaskGroup() as group:
                for number in range(25):
                    group.create_task(one(number))

    run(main())


def test_sendfile_over_tls_copies(run, certificates, tmp_path: pathlib.Path):
    path = tmp_path / "file"
    path.write_bytes(PAYLOAD)

    def take(sock):
        with certificates.server().wrap_socket(sock, server_side=True) as tls:
            return receive(tls, 500_000)

    async def main():
        loop = asyncio.get_running_loop()
        with listening(take) as (address, peer), path.open("rb") as file:
            transport, _ = await connect(address, certificates.client())
            with pytest.raises(RuntimeError, match="fallback is disabled"):
                await loop.sendfile(transport, file, fallback=False)
            assert await loop.sendfile(transport, file, 1000, 500_000) == 500_000
            assert await peer.join() == PAYLOAD[1000:501_000]
            transport.abort()

    run(main())


def test_a_closed_connection_leaves_nothing_behind(run, certificates):
    async def main():
        context = certificates.client()
        async with serving(certificates.server(), Echo) as (address, _):
            transport, protocol = await connect(address, context)
            transport.close()
            await protocol.lost
        kept = [weakref.ref(context), weakref.ref(protocol)]
        del context, protocol, transport
        await asyncio.sleep(0)
        gc.collect()
        assert [reference() for reference in kept] == [None, None]

    run(main())
