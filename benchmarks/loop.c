/* The floor: an echo server that is nothing but a level-triggered epoll loop in C, one recv and one send a message.
 * What a peer does not take at once waits in its buffer until the socket is writable; till then nothing is read from it.
 * Prints its port, and serves until it is ended. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FDS = 1 << 16, MOST_EVENTS = 1024, BUFFER = 65536 };

struct rest { char *bytes; ssize_t size; };

static struct rest rests[MOST_FDS]; /* what each peer is owed, by descriptor */
static char buffer[BUFFER];
static int poll_fd;

static void fail(const char *what) { perror(what); exit(1); }

static void end(int fd) {
    free(rests[fd].bytes);
    rests[fd] = (struct rest){ 0 };
    close(fd);
}

static void watch(int fd, int how, unsigned events) {
    struct epoll_event event = { .events = events, .data.fd = fd };
    if (epoll_ctl(poll_fd, how, fd, &event) < 0) fail("epoll_ctl");
}

static void owe(int fd, const char *bytes, ssize_t size) {
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    free(rests[fd].bytes);
    rests[fd] = (struct rest){ copy, size };
    watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void offer(int fd, const char *bytes, ssize_t size) {
    ssize_t taken = send(fd, bytes, size, MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN) { end(fd); return; }
    if (taken < 0) taken = 0;
    if (taken < size) owe(fd, bytes + taken, size - taken);
    else if (rests[fd].size) {
        free(rests[fd].bytes);
        rests[fd] = (struct rest){ 0 };
        watch(fd, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void serve(int fd) {
    if (rests[fd].size) { offer(fd, rests[fd].bytes, rests[fd].size); return; }
    ssize_t got = recv(fd, buffer, BUFFER, 0);
    if (got > 0) offer(fd, buffer, got);
    else if (got == 0 || errno != EAGAIN) end(fd);
}

static void greet(int listener) {
    for (;;) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(void) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    static struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int found = epoll_wait(poll_fd, events, MOST_EVENTS, -1);
        for (int i = 0; i < found; i++) {
            if (events[i].data.fd == listener) greet(listener);
            else serve(events[i].data.fd);
        }
    }
}
