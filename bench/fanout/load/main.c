// A load generator for WebSocket servers: opens clients, subscribes them, and counts and checks what they get.
//
// It prints {"ready":N,...} once every client is subscribed, then obeys lines on its input: `begin` starts a window,
// `report` prints what was counted, as one line of JSON; it ends with its input.
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, READ_MOST = 1 << 18, CONNECTS_A_TURN = 50, COMMANDS = -1, READY_MS = 60000 };

settings given = {.path = "/", .clients = 1, .symbols = 1, .per_client = 1, .measured = -1, .head = "", .tail = ""};
counters count;

static client *clients;
static int poller, waiting; // clients that are not subscribed yet

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void watch(int fd, int number) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = number};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
        fail("epoll: %s", strerror(errno));
}

// A client that reads no more: closed, or stalled.
static void unwatch(client *one) {
    epoll_ctl(poller, EPOLL_CTL_DEL, one->fd, NULL);
    if (one->closed) {
        count.closed++;
        close(one->fd);
    }
}

static void keep(client *one, const uint8_t *bytes, size_t length) {
    if (length > one->rest_room) {
        one->rest = realloc(one->rest, length);
        one->rest_room = length;
    }
    if (length)
        memcpy(one->rest, bytes, length);
    one->rest_length = length;
}

// All that one read gives, behind what was left of the last; every frame in it came at the same moment.
static void read_client(client *one) {
    static uint8_t *inbox;
    static size_t room;
    if (one->rest_length + READ_MOST > room) {
        room = one->rest_length + READ_MOST;
        inbox = realloc(inbox, room);
    }
    memcpy(inbox, one->rest, one->rest_length);
    ssize_t got = recv(one->fd, inbox + one->rest_length, READ_MOST, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            one->closed = true;
            unwatch(one);
        }
        return;
    }
    bool before = one->subscribed;
    size_t length = one->rest_length + (size_t)got;
    size_t left = take_frames(one, inbox, length, wall_us());
    keep(one, inbox + length - left, left);
    count.bytes += (uint64_t)got;
    waiting -= one->subscribed && !before;
    if (one->closed || (one->subscribed && !one->reads))
        unwatch(one);
}

// One command; whether it goes on.
static bool obey(void) {
    static char line[64];
    ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
    if (got <= 0)
        return false;
    line[got] = 0;
    if (strstr(line, "begin")) {
        for (int i = 0; i < given.clients; i++)
            clients[i].ticks = 0;
        begin_window();
    }
    if (strstr(line, "report"))
        print_report(clients);
    return true;
}

// Everything that is there to be read; whether it goes on.
static bool turn(int wait_ms) {
    static struct epoll_event events[EVENTS];
    int found = epoll_wait(poller, events, EVENTS, wait_ms);
    for (int i = 0; i < found; i++) {
        if (events[i].data.fd == COMMANDS) {
            if (!obey())
                return false;
        } else if (!clients[events[i].data.fd].closed) {
            read_client(&clients[events[i].data.fd]);
        }
    }
    return true;
}

static void open_all(void) {
    clients = calloc((size_t)given.clients, sizeof *clients);
    waiting = given.clients;
    for (int i = 0; i < given.clients; i++) {
        client *one = &clients[i];
        one->number = i;
        one->reads = i < given.clients - given.stalled;
        one->measured = one->reads && (given.measured < 0 || i < given.measured);
        one->last_seq = calloc((size_t)given.symbols, sizeof *one->last_seq);
        open_client(one);
        watch(one->fd, i);
        // Those that are open already must be read, and their pings answered, while the others come.
        if (i % CONNECTS_A_TURN == 0)
            turn(0);
    }
    uint64_t until_us = wall_us() + READY_MS * 1000ull;
    while (waiting) {
        turn(50);
        if (count.closed || count.bad || wall_us() > until_us)
            fail("%d of %d clients could not subscribe", waiting, given.clients);
    }
}

static void read_arguments(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'u'},     {"clients", 1, 0, 'n'}, {"symbols", 1, 0, 's'},
        {"per-client", 1, 0, 'c'}, {"stalled", 1, 0, 'x'}, {"measured", 1, 0, 'm'}, {"head", 1, 0, 'h'},
        {"tail", 1, 0, 't'},    {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'p': given.port = atoi(optarg); break;
        case 'u': given.path = optarg; break;
        case 'n': given.clients = atoi(optarg); break;
        case 's': given.symbols = atoi(optarg); break;
        case 'c': given.per_client = atoi(optarg); break;
        case 'x': given.stalled = atoi(optarg); break;
        case 'm': given.measured = atoi(optarg); break;
        case 'h': given.head = optarg; break;
        case 't': given.tail = optarg; break;
        default: exit(2);
        }
    }
    if (given.per_client > given.symbols || given.stalled > given.clients || given.clients < 1 || !given.port)
        fail("the numbers do not fit: --port --clients N --stalled <= N --symbols M --per-client <= M");
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    uint64_t begin_us = wall_us();
    open_all();
    printf("{\"ready\":%d,\"seconds\":%.2f}\n", given.clients, (double)(wall_us() - begin_us) / 1e6);
    fflush(stdout);
    begin_window();
    watch(STDIN_FILENO, COMMANDS);
    while (turn(-1)) {
    }
    return 0;
}
