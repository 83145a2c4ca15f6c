/* A lean load generator: CONNECTIONS sockets, each with one message of SIZE bytes on its way, for MILLISECONDS.
 * Every echoed byte is compared. It connects, echoes a few messages on each connection, prints "ready" and waits for a
 * line; then it measures, prints the number of messages that came back, and waits for a line again before it
 * disconnects: so who reads clocks at the two edges sees messages only, neither connects nor closes.
 * usage: load PORT CONNECTIONS SIZE MILLISECONDS */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct peer { int fd; int sent; int received; };

enum { WARM_UP = 5 };

static char *message, *reply;
static int size;

static void fail(const char *what) { perror(what); exit(1); }

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void push(struct peer *p) {
    while (p->sent < size) {
        ssize_t n = send(p->fd, message + p->sent, size - p->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) { if (errno == EAGAIN) return; fail("send"); }
        p->sent += n;
    }
}

static long run(int poll_fd, long most, double end_ms) {
    struct epoll_event events[256];
    long messages = 0;
    while (messages != most && now_ms() < end_ms) {
        int n = epoll_wait(poll_fd, events, 256, 100);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            push(p);
            for (;;) {
                ssize_t got = recv(p->fd, reply, size - p->received, MSG_DONTWAIT);
                if (got < 0) { if (errno == EAGAIN) break; fail("recv"); }
                if (got == 0) { fprintf(stderr, "the server ended a connection\n"); exit(1); }
                if (memcmp(reply, message + p->received, got)) { fprintf(stderr, "an echo is wrong\n"); exit(1); }
                p->received += got;
                if (p->received == size) { p->received = p->sent = 0; messages++; push(p); }
            }
        }
        if (most >= 0 && messages >= most) break;
    }
    return messages;
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: load PORT CONNECTIONS SIZE MILLISECONDS\n"); return 2; }
    int port = atoi(argv[1]), count = atoi(argv[2]);
    double length_ms = atof(argv[4]);
    size = atoi(argv[3]);
    message = malloc(size); reply = malloc(size);
    for (int i = 0; i < size; i++) message[i] = (char)(i * 31 + 7);
    struct peer *peers = calloc(count, sizeof *peers);
    int poll_fd = epoll_create1(0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < count; i++) {
        int one = 1;
        peers[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(peers[i].fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        setsockopt(peers[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &peers[i] };
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, peers[i].fd, &e) < 0) fail("epoll_ctl");
    }
    for (int i = 0; i < count; i++) push(&peers[i]);
    run(poll_fd, (long)count * WARM_UP, 1e12);
    printf("ready\n"); fflush(stdout);
    if (getchar() == EOF) return 1;
    printf("%ld\n", run(poll_fd, -1, now_ms() + length_ms)); fflush(stdout);
    getchar();
    return 0;
}
