/* A kernel without a kernel: preloaded into a server, it answers accept, epoll_wait, recv and send in memory, so that the
 * instructions a server spends on a message can be counted, and do not depend on the neighbours, the network or the clock.
 *
 * A server listens as always (that is real). From then on the shim is its clients: CONNECTIONS of them connect, each has
 * OUTSTANDING messages of SIZE bytes under way, and sends the next one when its echo has come back whole. Each echoed byte
 * is compared. After MESSAGES echoes the process ends at once, so that no teardown is counted.
 *
 * A wait reports all that is ready at once, in the order of descriptors, from where the last one ended. The monotonic
 * clock stands still but for TICK_NS a message, and for a wait that finds nothing ready: that one lasts its whole timeout.
 *
 * All comes from the environment: SHIM_CONNECTIONS, SHIM_IDLE (connections more that never send), SHIM_SIZE,
 * SHIM_OUTSTANDING, SHIM_MESSAGES, SHIM_CHURN (1: each connection sends one message, and ends; a message is then counted
 * when the server has closed). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

enum { MOST_FDS = 1 << 16, TICK_NS = 10000 };
enum { REAL, LISTENER, PEER };

struct fake {
    char kind, watched, reported, ended, idle;
    uint32_t interest;
    epoll_data_t data;
    int pending;   /* bytes that the server may receive */
    int received;  /* where in the stream of messages it is, modulo SIZE */
    int returned;  /* bytes of the message under way that came back */
};

static struct fake fakes[MOST_FDS];
static char *message;
static long messages, most_messages, warm_up, now_ns = 1000000000000L;
static int connections, idle, size, outstanding, churn, alive, accepted, highest, turn;

static void settings(void) __attribute__((constructor));
static int number(const char *name, int otherwise) { const char *text = getenv(name); return text ? atoi(text) : otherwise; }
static void settings(void) {
    connections = number("SHIM_CONNECTIONS", 100);
    idle = number("SHIM_IDLE", 0);
    size = number("SHIM_SIZE", 64);
    outstanding = number("SHIM_OUTSTANDING", 1);
    most_messages = number("SHIM_MESSAGES", 1000);
    warm_up = number("SHIM_WARM_UP", 0);
    churn = number("SHIM_CHURN", 0);
    message = malloc((size_t)size * outstanding * 2);
    for (int i = 0; i < size * outstanding * 2; i++) message[i] = (char)(i % size * 31 + 7);
}

#define NEXT(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static struct fake *of(int fd, int kind) {
    return fd >= 0 && fd < MOST_FDS && fakes[fd].kind == kind ? &fakes[fd] : NULL;
}

static void refuse(const char *what) { fprintf(stderr, "shim: %s\n", what); _exit(3); }

static void count(void) {
    now_ns += TICK_NS;
    if (++messages == warm_up) CALLGRIND_START_INSTRUMENTATION;
    if (messages == warm_up + most_messages) {
        CALLGRIND_STOP_INSTRUMENTATION;
        fprintf(stderr, "shim: %ld messages\n", most_messages);
        _exit(0);
    }
}

/* Connections. */

int listen(int fd, int backlog) {
    int result = NEXT(listen)(fd, backlog);
    if (result == 0 && fd < MOST_FDS) fakes[fd].kind = LISTENER;
    return result;
}

static int someone_connects(void) {
    return accepted < idle || alive < connections;
}

static void say_name(struct sockaddr *address, socklen_t *length) {
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(40000), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (address && length) { memcpy(address, &name, *length < sizeof name ? *length : sizeof name); *length = sizeof name; }
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    if (!of(fd, LISTENER)) return NEXT(accept4)(fd, address, length, flags);
    if (!someone_connects()) { errno = EAGAIN; return -1; }
    int peer = socket(AF_INET, SOCK_STREAM | (flags & (SOCK_NONBLOCK | SOCK_CLOEXEC)), 0);
    if (peer < 0) return -1;
    if (peer >= MOST_FDS) refuse("too many descriptors");
    fakes[peer] = (struct fake){ .kind = PEER, .pending = size * outstanding };
    if (accepted < idle) { fakes[peer].idle = 1; fakes[peer].pending = 0; } else alive++;
    accepted++;
    if (peer > highest) highest = peer;
    say_name(address, length);
    return peer;
}

int accept(int fd, struct sockaddr *address, socklen_t *length) { return accept4(fd, address, length, 0); }

int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    if (!of(fd, PEER)) return NEXT(getpeername)(fd, address, length);
    say_name(address, length);
    return 0;
}

int shutdown(int fd, int how) { return of(fd, PEER) ? 0 : NEXT(shutdown)(fd, how); }

int close(int fd) {
    struct fake *p = of(fd, PEER);
    if (p && !p->idle) {
        if (!p->ended) refuse("the server closed a connection that had not ended");
        alive--;
    }
    if (fd >= 0 && fd < MOST_FDS) fakes[fd] = (struct fake){ .kind = REAL };
    int result = NEXT(close)(fd);
    if (p) count();
    return result;
}

/* Bytes. */

/* Nobody sends before all have connected; who ends after one message does not wait. */
static int readable(const struct fake *p) { return p->pending && (churn || accepted >= idle + connections); }

static ssize_t take(struct fake *p, const struct iovec *parts, int many, int peek) {
    ssize_t total = 0;
    if (!readable(p)) {
        if (p->ended) return 0;
        errno = EAGAIN;
        return -1;
    }
    for (int i = 0; i < many && p->pending > total; i++) {
        size_t n = parts[i].iov_len, left = p->pending - total;
        if (n > left) n = left;
        memcpy(parts[i].iov_base, message + p->received + total, n);
        total += n;
    }
    if (!peek) {
        p->pending -= total;
        p->received = (p->received + total) % size;
    }
    return total;
}

static ssize_t give(struct fake *p, const struct iovec *parts, int many) {
    ssize_t total = 0;
    for (int i = 0; i < many; i++) {
        const char *from = parts[i].iov_base;
        for (size_t left = parts[i].iov_len; left;) {
            size_t n = size - p->returned;
            if (n > left) n = left;
            if (memcmp(from, message + p->returned, n)) refuse("an echo is wrong");
            from += n; left -= n; total += n;
            p->returned += n;
            if (p->returned < size) continue;
            p->returned = 0;
            p->reported = 0;
            if (churn) p->ended = 1;
            else { p->pending += size; count(); }
        }
    }
    return total;
}

static ssize_t one(int fd, void *buffer, size_t n, int giving, int peek) {
    struct iovec part = { buffer, n };
    return giving ? give(&fakes[fd], &part, 1) : take(&fakes[fd], &part, 1, peek);
}

ssize_t recv(int fd, void *buffer, size_t n, int flags) {
    return of(fd, PEER) ? one(fd, buffer, n, 0, flags & MSG_PEEK) : NEXT(recv)(fd, buffer, n, flags);
}
ssize_t recvfrom(int fd, void *buffer, size_t n, int flags, struct sockaddr *address, socklen_t *length) {
    return of(fd, PEER) ? one(fd, buffer, n, 0, flags & MSG_PEEK) : NEXT(recvfrom)(fd, buffer, n, flags, address, length);
}
ssize_t read(int fd, void *buffer, size_t n) {
    return of(fd, PEER) ? one(fd, buffer, n, 0, 0) : NEXT(read)(fd, buffer, n);
}
ssize_t readv(int fd, const struct iovec *parts, int many) {
    return of(fd, PEER) ? take(&fakes[fd], parts, many, 0) : NEXT(readv)(fd, parts, many);
}
ssize_t recvmsg(int fd, struct msghdr *letter, int flags) {
    if (!of(fd, PEER)) return NEXT(recvmsg)(fd, letter, flags);
    letter->msg_controllen = letter->msg_flags = 0;
    return take(&fakes[fd], letter->msg_iov, letter->msg_iovlen, flags & MSG_PEEK);
}
ssize_t send(int fd, const void *buffer, size_t n, int flags) {
    return of(fd, PEER) ? one(fd, (void *)buffer, n, 1, 0) : NEXT(send)(fd, buffer, n, flags);
}
ssize_t sendto(int fd, const void *buffer, size_t n, int flags, const struct sockaddr *address, socklen_t length) {
    return of(fd, PEER) ? one(fd, (void *)buffer, n, 1, 0) : NEXT(sendto)(fd, buffer, n, flags, address, length);
}
ssize_t write(int fd, const void *buffer, size_t n) {
    return of(fd, PEER) ? one(fd, (void *)buffer, n, 1, 0) : NEXT(write)(fd, buffer, n);
}
ssize_t writev(int fd, const struct iovec *parts, int many) {
    return of(fd, PEER) ? give(&fakes[fd], parts, many) : NEXT(writev)(fd, parts, many);
}
ssize_t sendmsg(int fd, const struct msghdr *letter, int flags) {
    return of(fd, PEER) ? give(&fakes[fd], letter->msg_iov, letter->msg_iovlen) : NEXT(sendmsg)(fd, letter, flags);
}

/* Readiness. */

int epoll_ctl(int poll_fd, int what, int fd, struct epoll_event *event) {
    struct fake *p = fd >= 0 && fd < MOST_FDS && fakes[fd].kind != REAL ? &fakes[fd] : NULL;
    if (!p) return NEXT(epoll_ctl)(poll_fd, what, fd, event);
    if (what == EPOLL_CTL_ADD && p->watched) { errno = EEXIST; return -1; }
    if (what != EPOLL_CTL_ADD && !p->watched) { errno = ENOENT; return -1; }
    p->watched = what != EPOLL_CTL_DEL;
    p->reported = 0;
    if (p->watched) { p->interest = event->events; p->data = event->data; }
    if (fd > highest) highest = fd;
    return 0;
}

static uint32_t readiness(const struct fake *p) {
    if (p->kind == LISTENER) return someone_connects() ? EPOLLIN & p->interest : 0;
    if (p->reported) return 0;
    uint32_t found = EPOLLOUT;
    if (readable(p) || p->ended) found |= EPOLLIN | (p->ended ? EPOLLRDHUP : 0);
    return found & p->interest;
}

static int look(struct epoll_event *events, int most) {
    int found = 0, spread = highest + 1, start = turn;
    for (int i = 0; i < spread && found < most; i++) {
        int fd = start + i < spread ? start + i : start + i - spread;
        struct fake *p = &fakes[fd];
        if (p->kind == REAL || !p->watched) continue;
        uint32_t ready = readiness(p);
        if (!ready) continue;
        events[found++] = (struct epoll_event){ .events = ready, .data = p->data };
        if (p->interest & EPOLLET) p->reported = 1;
        if (p->interest & EPOLLONESHOT) p->interest = 0;
        turn = fd + 1 < spread ? fd + 1 : 0;
    }
    return found;
}

int epoll_pwait(int poll_fd, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask) {
    int found = look(events, most);
    if (found) return found;
    found = NEXT(epoll_pwait)(poll_fd, events, most, timeout_ms > 0 && highest ? 0 : timeout_ms, mask);
    if (!found && timeout_ms > 0) now_ns += timeout_ms * 1000000L;
    return found;
}
int epoll_wait(int poll_fd, struct epoll_event *events, int most, int timeout_ms) {
    return epoll_pwait(poll_fd, events, most, timeout_ms, NULL);
}
int epoll_pwait2(int poll_fd, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask) {
    return epoll_pwait(poll_fd, events, most, timeout ? timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000 : -1, mask);
}

int clock_gettime(clockid_t which, struct timespec *t) {
    if (which != CLOCK_MONOTONIC && which != CLOCK_MONOTONIC_COARSE) return NEXT(clock_gettime)(which, t);
    t->tv_sec = now_ns / 1000000000L;
    t->tv_nsec = now_ns % 1000000000L;
    return 0;
}

/* libuv registers descriptors through io_uring where there is one, past epoll_ctl; without it, it calls
 * epoll_ctl. It closes past close(2), too. */
long syscall(long which, ...) {
    if (which == SYS_io_uring_setup) { errno = ENOSYS; return -1; }
    va_list rest;
    va_start(rest, which);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long), d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    if (which == SYS_close) return close(a);
    return NEXT(syscall)(which, a, b, c, d, e, f);
}
