/*
 * The least that readiness I/O can do for an echo, in C: one wait for many connections, then one recv and one send a message,
 * always through the same buffer. No Python, no protocol, no transport, no handling of errors or of what doesn't fit. What a
 * loop takes beyond this is its own; this itself is the kernel's, and no loop of the kind can save it.
 *
 *   floor CONNECTIONS
 *
 * Speaks with measure.py as worker.py does: prints its address as JSON, serves until its standard input ends, prints the CPU
 * time and page faults between the moment at which all connections are there and that at which the first one leaves.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[256 * 1024];
static struct epoll_event events[1024];

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

static void watch(int epoll, int fd, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("floor: epoll_ctl");
        exit(1);
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: floor CONNECTIONS\n");
        return 2;
    }
    int expected = atoi(arguments[1]), seen = 0, one = 1, left = 0;
    struct rusage before, after;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1024) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        perror("floor: listener");
        return 1;
    }
    printf("{\"address\": [\"127.0.0.1\", %d]}\n", ntohs(address.sin_port));
    fflush(stdout);
    int epoll = epoll_create1(0);
    watch(epoll, listener, EPOLLIN);
    watch(epoll, STDIN_FILENO, EPOLLIN);
    getrusage(RUSAGE_SELF, &before);
    after = before;
    for (;;) {
        int ready = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                if (!left)
                    getrusage(RUSAGE_SELF, &after);
                double cpu = seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) -
                             seconds(before.ru_stime);
                printf("{\"cpu\": %.6f, \"minor_faults\": %ld}\n", cpu, after.ru_minflt - before.ru_minflt);
                return 0;
            }
            if (fd == listener) {
                int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (accepted < 0)
                    continue;
                setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(epoll, accepted, EPOLLIN | EPOLLRDHUP | EPOLLET);
                if (++seen == expected)
                    getrusage(RUSAGE_SELF, &before);
                continue;
            }
            ssize_t received = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (received > 0)
                send(fd, buffer, (size_t)received, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (received == 0) {
                if (!left)
                    getrusage(RUSAGE_SELF, &after);
                left = 1;
                close(fd);
            }
        }
    }
}
