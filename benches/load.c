/*
 * Load generator for the network rows: one thread, epoll, as little work per message as possible, so that the
 * server under test is the bottleneck and not this program. Python never runs on this side.
 *
 *   load tcp|tls|udp HOST PORT CONNS SIZE count N          each connection echoes N messages, then all close
 *   load tcp|tls|udp HOST PORT CONNS SIZE time WARM SECS   once every connection has had an echo: echo for
 *                                                          WARM + SECS seconds; the last SECS count
 *   load connect     HOST PORT CONNS 0    count N | time WARM SECS
 *
 * Each connection has one message of SIZE bytes in flight: it sends the next one when the echo of the last has come
 * back complete. The first echo on every connection is compared byte for byte; of the later ones over TCP the kernel
 * counts the bytes without copying them here, and large messages are sent from a memory file, also without a copy.
 * `connect` opens a connection, waits for the server to close it and opens the next (CONNS at a time).
 *
 * Output: one JSON object on standard output. Any failure is a message on standard error and exit status 1.
 * Not a general benchmarking tool: no latency histogram, IPv4 only, no pipelining.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifndef NO_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum kind { TCP, TLS, UDP, CONNECT };

struct conn {
    int fd;
    uint32_t interest;
    size_t sent;     /* bytes of the current message already handed to the kernel */
    size_t received; /* bytes of its echo already read */
    long done;       /* complete messages */
#ifndef NO_TLS
    SSL *ssl;
#endif
};

static enum kind kind;
static struct sockaddr_in address;
static size_t size;
static char *payload, *inbox;
static int payload_file = -1; /* the payload in memory, for sendfile; -1 for small messages, where a copy is cheaper */
static long per_connection = -1; /* messages per connection; -1 when the run is bounded by time */
static long messages;            /* all complete messages, warm-up included */
static long retransmitted;       /* UDP datagrams sent again after a silence */
static long open_connections;
static long silent_connections; /* those that no echo has come back on yet */
static int epoll_fd;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void watch(struct conn *c, uint32_t interest, int operation) {
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (operation == EPOLL_CTL_MOD && c->interest == interest) return;
    c->interest = interest;
    if (epoll_ctl(epoll_fd, operation, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static int open_socket(int blocking) {
    int one = 1;
    int fd = socket(AF_INET, (kind == UDP ? SOCK_DGRAM : SOCK_STREAM) | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    if (kind == TCP || kind == TLS) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (kind == CONNECT) { /* close with RST: no TIME_WAIT on either side, however many connections */
        struct linger abortive = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof abortive);
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect to port %d: %s", ntohs(address.sin_port), strerror(errno));
    return fd;
}

/* ---- bytes: >0 moved, 0 would block, exits on anything else --------------------------------------------------- */

static size_t send_some(struct conn *c) {
    const char *data = payload + c->sent;
    size_t length = size - c->sent;
#ifndef NO_TLS
    if (kind == TLS) {
        int n = SSL_write(c->ssl, data, (int)length);
        if (n > 0) return (size_t)n;
        int why = SSL_get_error(c->ssl, n);
        if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) return 0;
        die("SSL_write: %s", ERR_error_string(ERR_get_error(), NULL));
    }
#endif
    off_t offset = (off_t)c->sent;
    ssize_t n = payload_file >= 0 ? sendfile(c->fd, payload_file, &offset, length)
                                  : send(c->fd, data, length, MSG_NOSIGNAL);
    if (n >= 0) return (size_t)n;
    if (errno == EAGAIN || errno == EINTR) return 0;
    die("send after %ld messages: %s", messages, strerror(errno));
    return 0;
}

static size_t receive_some(struct conn *c, size_t room) {
#ifndef NO_TLS
    if (kind == TLS) {
        int n = SSL_read(c->ssl, inbox, (int)room);
        if (n > 0) return (size_t)n;
        int why = SSL_get_error(c->ssl, n);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return 0;
        die("SSL_read: %s", ERR_error_string(ERR_get_error(), NULL));
    }
#endif
    ssize_t n = recv(c->fd, inbox, room, kind == TCP && c->done > 0 ? MSG_TRUNC : 0);
    if (n > 0) return (size_t)n;
    if (n == 0) die("the server closed a connection after %ld messages", messages);
    if (errno == EAGAIN || errno == EINTR) return 0;
    die("recv after %ld messages: %s", messages, strerror(errno));
    return 0;
}

/* ---- echo ------------------------------------------------------------------------------------------------------ */

static void push(struct conn *c) {
    while (c->sent < size) {
        size_t n = send_some(c);
        if (n == 0) break;
        c->sent += n;
    }
    watch(c, c->sent < size ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void pull(struct conn *c) {
    /* One read per readiness is enough for a whole message; a second would only return EAGAIN. TLS may hold
       decrypted bytes back from epoll, so it reads until the message is complete or the socket is dry. */
    do {
        size_t n = receive_some(c, size - c->received);
        if (n == 0) return;
        if (c->done == 0 && memcmp(inbox, payload + c->received, n) != 0) die("the echo differs from what was sent");
        c->received += n;
    } while (c->received < size && kind == TLS);
    if (c->received < size) return;
    messages++;
    if (c->done++ == 0) silent_connections--;
    c->received = c->sent = 0;
    if (c->done == per_connection) {
        open_connections--;
        watch(c, 0, EPOLL_CTL_MOD);
        return;
    }
    push(c);
}

static void establish(struct conn *c) {
    c->fd = open_socket(1);
#ifndef NO_TLS
    if (kind == TLS) {
        static SSL_CTX *context;
        if (!context) {
            context = SSL_CTX_new(TLS_client_method());
            SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        }
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_connect(c->ssl) != 1) die("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
    }
#endif
    if (fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK)) die("fcntl: %s", strerror(errno));
}

/* ---- connect ---------------------------------------------------------------------------------------------------- */

static void reopen(struct conn *c, int first) {
    if (!first) {
        close(c->fd); /* also leaves the epoll set */
        messages++;
        c->done++;
        if (c->done == per_connection) {
            open_connections--;
            return;
        }
    }
    c->fd = open_socket(0);
    watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
}

/* ---- main ------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv) {
    if (argc < 8) die("usage: load tcp|tls|udp|connect HOST PORT CONNS SIZE count N | time WARM SECS");
    const char *name = argv[1];
    if (!strcmp(name, "tcp")) kind = TCP;
    else if (!strcmp(name, "udp")) kind = UDP;
    else if (!strcmp(name, "connect")) kind = CONNECT;
#ifndef NO_TLS
    else if (!strcmp(name, "tls")) kind = TLS;
#else
    else if (!strcmp(name, "tls")) die("built without TLS: install the OpenSSL headers (libssl-dev)");
#endif
    else die("unknown kind %s", name);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) die("not an IPv4 address: %s", argv[2]);
    int count = atoi(argv[4]);
    size = (size_t)atol(argv[5]);
    double warm = 0, seconds = 0;
    if (!strcmp(argv[6], "count")) {
        per_connection = atol(argv[7]);
    } else {
        if (argc < 9) die("`time` needs WARM and SECS");
        warm = atof(argv[7]);
        seconds = atof(argv[8]);
    }

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    payload = malloc(size + 1);
    inbox = malloc(size + 1);
    for (size_t i = 0; i < size; i++) payload[i] = (char)('a' + i % 23);
    if (kind == TCP && size >= 16384) {
        payload_file = memfd_create("payload", 0);
        if (payload_file < 0 || write(payload_file, payload, size) != (ssize_t)size) die("memfd: %s", strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(0);
    struct conn *connections = calloc((size_t)count, sizeof *connections);
    open_connections = count;
    silent_connections = kind == CONNECT ? 0 : count;

    if (kind != CONNECT) /* all are connected before the first byte is sent */
        for (int i = 0; i < count; i++) {
            establish(&connections[i]);
            watch(&connections[i], EPOLLIN, EPOLL_CTL_ADD);
        }
    double begin = now(), begin_cpu = cpu(), last_progress = begin;
    for (int i = 0; i < count; i++) {
        if (kind == CONNECT) reopen(&connections[i], 1);
        else push(&connections[i]);
    }

    long counted_from = 0, established_at = 0, seen = 0;
    double counting_since = begin, counting_cpu = begin_cpu;
    int counting = 0;
    struct epoll_event events[256];
    while (open_connections > 0) {
        int n = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (kind == CONNECT) {
                reopen(c, 0);
                continue;
            }
            if (events[i].events & EPOLLOUT) push(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT) pull(c);
        }
        double t = now();
        if (messages != seen) {
            seen = messages;
            last_progress = t;
        } else if (kind == UDP && t - last_progress > 0.2 && retransmitted < 1000) {
            for (int i = 0; i < count; i++) { /* a datagram was dropped: send it again */
                if (connections[i].done == per_connection) continue;
                connections[i].sent = 0;
                push(&connections[i]);
                retransmitted++;
            }
            last_progress = t;
        } else if (t - last_progress > 20) {
            die("no progress for 20 s after %ld messages", messages);
        }
        if (per_connection >= 0) continue;
        if (silent_connections > 0) {
            begin = t; /* the server is still accepting */
            established_at = messages;
        } else if (!counting && t - begin >= warm) {
            counting = 1;
            counting_since = t;
            counting_cpu = cpu();
            counted_from = messages;
        } else if (counting && t - counting_since >= seconds) {
            break;
        }
    }
    double end = now(), end_cpu = cpu();
    long all = messages;
    printf("{\"messages\": %ld, \"seconds\": %.6f, \"all_messages\": %ld, \"load_busy\": %.3f, \"resent\": %ld}\n",
           all - counted_from, end - counting_since, all - established_at, (end_cpu - counting_cpu) / (end - counting_since),
           retransmitted);
    return 0;
}
