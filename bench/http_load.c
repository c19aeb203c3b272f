// Asks an HTTP server over connections that stay open: as fast as it answers, or on a schedule that does not wait for it.
//
// usage: http_load PORT CLIENTS WARM_S SECONDS RATE FILE
//
// FILE holds the requests, each ended by a zero byte; clients send them in turn. With RATE 0 each client asks again as soon as
// it has its answer. Else RATE requests a second fall due, and the time of each counts from when it was due, whether a client
// was free then or not. Bodies are counted by their Content-Length, and thrown away in the kernel. Prints a line of JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MOST = 16384, CLIENTS_MOST = 4096, REQUESTS_MOST = 65536, BUCKETS = 200000, BUCKET_US = 10, EVENTS = 256, SLOW_S = 30 };

typedef struct {
    int fd;
    int busy;
    double due_s;
    long left;  // bytes of the body that have not come
    size_t got; // bytes of the head that have
    char head[HEAD_MOST + 1];
} client;

static client *clients;
static char *requests[REQUESTS_MOST];
static size_t lengths[REQUESTS_MOST];
static int count, next_request;
static int idle[CLIENTS_MOST], idle_first, idles; // a ring: the longest idle first, as servers end what is idle for long
static double rate, next_due_s, began_s, end_s;
static long all, answers, bytes, not_modified, refused, buckets[BUCKETS + 1];
static double longest_s, cpu_s;
static int measuring;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *text, ...) {
    va_list more;
    va_start(more, text);
    vfprintf(stderr, text, more);
    va_end(more);
    fputc('\n', stderr);
    exit(1);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double used_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail("%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getdelim(&text, &room, 0, file)) > 1) {
        if (count == REQUESTS_MOST)
            fail("%s has more than %d requests", path, REQUESTS_MOST);
        lengths[count] = (size_t)length - 1;
        requests[count++] = memcpy(malloc((size_t)length), text, (size_t)length);
    }
    if (!count)
        fail("%s has no request", path);
    fclose(file);
}

static int connect_to(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("cannot connect to port %d: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void now_idle(client *one) {
    idle[(idle_first + idles++) % CLIENTS_MOST] = (int)(one - clients);
}

static client *first_idle(void) {
    client *one = &clients[idle[idle_first]];
    idle_first = (idle_first + 1) % CLIENTS_MOST;
    idles--;
    return one;
}

static void ask(client *one, double due_s) {
    int number = next_request++ % count;
    one->busy = 1;
    one->due_s = due_s;
    one->got = 0;
    one->left = -1;
    if (write(one->fd, requests[number], lengths[number]) != (ssize_t)lengths[number])
        fail("a request could not be sent: %s", strerror(errno));
}

static void begin_measuring(double now) {
    measuring = 1;
    began_s = now;
    cpu_s = used_s();
}

static void answered(client *one, double now) {
    one->busy = 0;
    all++;
    if (measuring) {
        double took_s = now - one->due_s;
        long bucket = (long)(took_s * 1e6) / BUCKET_US;
        buckets[bucket < BUCKETS ? bucket : BUCKETS]++;
        if (took_s > longest_s)
            longest_s = took_s;
        answers++;
    }
    if (rate == 0)
        ask(one, now);
    else
        now_idle(one);
}

// The head is there: what is its status, and how long is the body?
static void read_head(client *one, char *end) {
    *end = 0;
    if (strncmp(one->head, "HTTP/1.1 ", 9))
        fail("no HTTP: %.60s", one->head);
    int status = atoi(one->head + 9);
    if (measuring && status == 304)
        not_modified++;
    else if (measuring && status != 200)
        refused++;
    char *length = strcasestr(one->head, "\r\ncontent-length:");
    if (strcasestr(one->head, "\r\ntransfer-encoding:"))
        fail("an answer in chunks: %.200s", one->head);
    size_t head = (size_t)(end - one->head) + 4;
    one->left = (length ? atol(length + 17) : 0) - (long)(one->got - head);
    if (measuring)
        bytes += (long)head + one->left + (long)(one->got - head);
}

// What has come; 1 once the answer is whole.
static int take(client *one) {
    if (!one->busy)
        fail("the server ended a connection that was idle");
    while (one->left < 0) {
        ssize_t more = recv(one->fd, one->head + one->got, HEAD_MOST - one->got, MSG_DONTWAIT);
        if (more < 0 && errno == EAGAIN)
            return 0;
        if (more <= 0)
            fail("the server ended a connection");
        one->got += (size_t)more;
        one->head[one->got] = 0;
        char *end = strstr(one->head, "\r\n\r\n");
        if (end)
            read_head(one, end);
        else if (one->got == HEAD_MOST)
            fail("a head of more than %d bytes", HEAD_MOST);
    }
    while (one->left > 0) {
        ssize_t more = recv(one->fd, NULL, (size_t)one->left, MSG_DONTWAIT | MSG_TRUNC);
        if (more < 0 && errno == EAGAIN)
            return 0;
        if (more <= 0)
            fail("the server ended a connection");
        one->left -= more;
    }
    return 1;
}

// Requests that are due go to clients that are free; those that find none keep their time.
static void send_due(double now) {
    while (idles && next_due_s <= now) {
        ask(first_idle(), next_due_s);
        next_due_s += 1 / rate;
    }
}

static double percentile_ms(double share) {
    long wanted = (long)((double)answers * share), seen = 0;
    for (int i = 0; i <= BUCKETS; i++)
        if ((seen += buckets[i]) > wanted)
            return i * BUCKET_US / 1e3;
    return longest_s * 1e3;
}

static void arm(int timer) {
    double wait_s = next_due_s - now_s();
    if (wait_s < 1e-6)
        wait_s = 1e-6;
    struct itimerspec at = {.it_value = {(time_t)wait_s, (long)((wait_s - (double)(time_t)wait_s) * 1e9)}};
    timerfd_settime(timer, 0, &at, NULL);
}

int main(int argc, char **argv) {
    if (argc != 7)
        fail("usage: http_load PORT CLIENTS WARM_S SECONDS RATE FILE");
    int clients_count = atoi(argv[2]), poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    double warm_s = atof(argv[3]), seconds = atof(argv[4]);
    rate = atof(argv[5]);
    read_requests(argv[6]);
    if (clients_count < 1 || clients_count > CLIENTS_MOST)
        fail("found %s clients; allowed are 1 to %d", argv[2], CLIENTS_MOST);
    clients = calloc((size_t)clients_count, sizeof *clients);
    for (int i = 0; i < clients_count; i++) {
        clients[i].fd = connect_to(atoi(argv[1]));
        struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = (unsigned)i};
        epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &wanted);
        now_idle(&clients[i]);
    }
    struct epoll_event tick = {.events = EPOLLIN, .data.u32 = CLIENTS_MOST};
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &tick);
    double start_s = next_due_s = now_s();
    end_s = start_s + warm_s + seconds;
    if (rate == 0)
        while (idles)
            ask(first_idle(), start_s);
    double now = start_s;
    // A slow server is measured for as long as it takes to answer everybody once.
    while (now < end_s || (rate == 0 && answers < clients_count && now < end_s + SLOW_S)) {
        if (!measuring && now >= start_s + warm_s)
            begin_measuring(now);
        if (rate > 0) {
            send_due(now);
            if (idles)
                arm(timer);
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, 100);
        now = now_s();
        for (int i = 0; i < ready; i++) {
            if (events[i].data.u32 == CLIENTS_MOST) {
                unsigned long long fired;
                if (read(timer, &fired, sizeof fired) < 0 && errno != EAGAIN)
                    fail("timer: %s", strerror(errno));
            } else if (take(&clients[events[i].data.u32])) {
                answered(&clients[events[i].data.u32], now_s());
            }
        }
        now = now_s();
    }
    double took_s = now - began_s;
    printf("{\"all\":%ld,\"answers\":%ld,\"per_s\":%.1f,\"bytes\":%ld,\"not_modified\":%ld,\"refused\":%ld,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"max_ms\":%.3f,\"cpu\":%.3f}\n",
           all, answers, (double)answers / took_s, bytes, not_modified, refused, percentile_ms(0.5), percentile_ms(0.99),
           longest_s * 1e3, (used_s() - cpu_s) / took_s);
    return 0;
}
