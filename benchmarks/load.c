/* A lean load generator, which compares every byte that comes back.
 *
 * usage: load PORT CONNECTIONS SIZE OUTSTANDING IDLE CHURN FIREHOSE
 *
 * CONNECTIONS sockets have OUTSTANDING messages of SIZE bytes under way each; the next is sent when one has come back whole.
 * IDLE sockets more echo one message and are silent from then on. With CHURN 1 the connections are made anew: each is
 * connected, echoes one message, is shut down, and counts when the server has closed it too. With FIREHOSE 1 one socket more
 * sends all that the system takes and reads all that comes back, while the others play ping-pong.
 *
 * What a connection sends is its own part of one stream of random bytes, from an own place on: an echo of other bytes, of
 * another connection's, twice or in another order is found.
 *
 * It connects, prints "ready", and then makes a slice for each line "MILLISECONDS LATENCIES" that it reads: it sends for so
 * long, waits for what is under way, so that nothing is left over between two slices, and prints the messages that came
 * back, the nanoseconds that took, the firehose's bytes, and with LATENCIES 1 how many messages took how long, as
 * BUCKET:COUNT; bucket b is for latencies from 1.02^b µs on. It ends at the end of its input. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD = 65521, CHUNK = 65536, BATCH = 256, WARM_UP = 3, MOST_EVENTS = 256, SILENCE_MS = 20000, BUCKETS = 900 };
enum { MOST_UNDER_WAY = 64 << 20 };
enum kind { PING, IDLE, CHURN, FIREHOSE };

struct peer { int fd; enum kind kind; int origin; long sent, goal, received; double since_ns; };

static int size, outstanding, poll_fd, stopping, timing;
static long owed, messages, flood, connected, counts[BUCKETS];
static char *stream, buffer[CHUNK];
static struct sockaddr_in to;

static void fail(const char *what) { perror(what); exit(1); }
static void accuse(const char *what) { fprintf(stderr, "load: %s\n", what); exit(1); }

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void stamp(struct peer *p) {
    if (!timing) return;
    double b = log((now_ns() - p->since_ns) / 1e3) / log(1.02);
    counts[b < 0 ? 0 : b >= BUCKETS ? BUCKETS - 1 : (int)b]++;
}

static const char *bytes_at(const struct peer *p, long position) { return stream + (p->origin + position) % PERIOD; }

/* Sending. */

static void aim(struct peer *p, long goal) {
    owed += goal - p->goal;
    p->goal = goal;
    if (timing && p->kind != CHURN) p->since_ns = now_ns();
}

static void push(struct peer *p) {
    while (p->sent < p->goal) {
        long n = p->goal - p->sent;
        ssize_t taken = send(p->fd, bytes_at(p, p->sent), n < CHUNK ? n : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0) { if (errno == EAGAIN) return; fail("send"); }
        p->sent += taken;
    }
}

static void gush(struct peer *p) {
    if (stopping || p->sent - p->received > MOST_UNDER_WAY) return;
    ssize_t taken = send(p->fd, bytes_at(p, p->sent), CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0) { if (errno == EAGAIN) return; fail("send"); }
    p->sent += taken;
    aim(p, p->sent);
}

static void watch(struct peer *p, int how, unsigned events) {
    struct epoll_event e = { .events = events, .data.ptr = p };
    if (epoll_ctl(poll_fd, how, p->fd, &e) < 0) fail("epoll_ctl");
}

/* Connections come from many addresses of the loopback net, so that ports that rest after a close do not run out. */
static void join(struct peer *p) {
    int one = 1;
    long n = connected++;
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 | (1 + n % 200) << 8 | (1 + n / 200 % 200)) };
    p->sent = p->goal = p->received = 0;
    p->origin = n * 7919 % PERIOD;
    if (timing) p->since_ns = now_ns();
    if ((p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0) fail("socket");
    setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(p->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(p, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | (p->kind == FIREHOSE ? 0 : EPOLLET));
    if (p->kind == FIREHOSE) return;
    aim(p, p->kind == PING ? (long)size * outstanding : size);
    push(p);
}

/* Receiving. */

static void received(struct peer *p, long n) {
    if (p->received + n > p->sent) accuse("more comes back than was sent");
    if (memcmp(buffer, bytes_at(p, p->received), n)) accuse("an echo is wrong");
    long before = p->received / size;
    p->received += n;
    owed -= n;
    if (p->kind == FIREHOSE) { flood += n; return; }
    long whole = p->received / size - before;
    if (!whole || p->kind == IDLE) return;
    if (p->kind == CHURN) { shutdown(p->fd, SHUT_WR); owed++; return; } /* owed: its end */
    messages += whole;
    if (outstanding == 1) stamp(p);
    if (!stopping) aim(p, (p->received / size + outstanding) * size);
}

static void ended(struct peer *p) {
    if (p->kind != CHURN || p->received < size) accuse("the server ended a connection");
    owed--;
    close(p->fd);
    p->fd = -1;
    messages++;
    stamp(p);
    if (!stopping) join(p);
}

static void hear(struct peer *p) {
    do {
        ssize_t got = recv(p->fd, buffer, CHUNK, MSG_DONTWAIT);
        if (got < 0) { if (errno == EAGAIN) return; fail("recv"); }
        if (got == 0) { ended(p); return; }
        received(p, got);
        if (p->kind != FIREHOSE) push(p);
    } while (p->kind != FIREHOSE);
}

/* Goes on until it is told to stop (by time, or by the number of messages) and nothing is owed. */
static void run(double end_ns, long most) {
    struct epoll_event events[MOST_EVENTS];
    while (owed || !stopping) {
        int n = epoll_wait(poll_fd, events, MOST_EVENTS, SILENCE_MS);
        if (n == 0) accuse("the server is silent");
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (p->kind == FIREHOSE && events[i].events & EPOLLOUT) gush(p);
            else if (events[i].events & EPOLLOUT) push(p);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(p);
        }
        if (messages >= most || now_ns() >= end_ns) stopping = 1;
    }
}

static void slice(struct peer *peers, int count, double length_ms) {
    stopping = 0;
    messages = flood = 0;
    memset(counts, 0, sizeof counts);
    double start_ns = now_ns();
    for (int i = 0; i < count; i++) {
        struct peer *p = &peers[i];
        if (p->kind == FIREHOSE) watch(p, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        else if (p->kind == CHURN) join(p);
        else { aim(p, p->received + (long)size * outstanding); push(p); }
    }
    if (length_ms > 0) run(start_ns + length_ms * 1e6, 1L << 60);
    else run(1e300, (long)count * WARM_UP);
    for (int i = 0; i < count; i++) if (peers[i].kind == FIREHOSE) watch(&peers[i], EPOLL_CTL_MOD, EPOLLIN);
    if (length_ms <= 0) return;
    printf("%ld %.0f %ld", messages, now_ns() - start_ns, flood);
    if (timing) for (int b = 0; b < BUCKETS; b++) if (counts[b]) printf(" %d:%ld", b, counts[b]);
    printf("\n");
    fflush(stdout);
}

static void fill_stream(int longest) {
    unsigned long seed = 88172645463325252UL;
    stream = malloc(PERIOD + longest);
    for (int i = 0; i < PERIOD + longest; i++) {
        seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17;
        stream[i] = i < PERIOD ? (char)seed : stream[i - PERIOD];
    }
}

static void all_join(struct peer *peers, int count) {
    for (int i = 0; i < count; i++) {
        join(&peers[i]);
        if (i % BATCH == BATCH - 1 || i == count - 1) { stopping = 1; run(0, 0); } /* so that the backlog is never full */
    }
}

int main(int argc, char **argv) {
    if (argc != 8) { fprintf(stderr, "usage: load PORT CONNECTIONS SIZE OUTSTANDING IDLE CHURN FIREHOSE\n"); return 2; }
    int count = atoi(argv[2]), idle = atoi(argv[5]), churn = atoi(argv[6]), firehose = atoi(argv[7]);
    size = atoi(argv[3]);
    outstanding = atoi(argv[4]);
    to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    fill_stream(CHUNK);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct peer *peers = calloc(count + idle + 1, sizeof *peers);
    for (int i = 0; i < count + idle + firehose; i++) peers[i].kind = i < count ? (churn ? CHURN : PING) : FIREHOSE;
    for (int i = 0; i < idle; i++) peers[count + firehose + i].kind = IDLE;
    if (!churn) all_join(peers, count + firehose);
    all_join(peers + count + firehose, idle);
    slice(peers, count + firehose, 0);
    printf("ready\n");
    fflush(stdout);
    double length_ms;
    while (scanf("%lf %d", &length_ms, &timing) == 2) slice(peers, count + firehose, length_ms);
    return 0;
}
