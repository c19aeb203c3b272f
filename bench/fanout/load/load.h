// What the parts of the load generator share: settings, one client, the counters, and who does what.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int port;
    const char *path;
    int clients;
    int symbols;    // in all: SYM0, SYM1, ...
    int per_client; // so many of them, a different choice for each client
    int stalled;    // the last so many clients read until they are subscribed, then never again
    int measured;   // latency is measured on the first so many clients
    const char *head, *tail; // of the subscription, around its list of symbols
} settings;

typedef struct {
    int fd;
    int number;
    bool subscribed, closed, reads, measured;
    uint8_t *rest; // the beginning of a frame whose end has not come yet
    size_t rest_length, rest_room;
    uint32_t *last_seq; // of each symbol
    uint64_t ticks;     // since `begin`
} client;

enum { MINUTES = 16 };

typedef struct {
    uint64_t time, count, first_us, last_us;
} closed_minute; // the final candles of one minute: how many came, and when

typedef struct {
    // Since `begin`.
    uint64_t ticks, bytes, skipped;
    // Since the start.
    uint64_t all_ticks, lost, repeated, reordered, gaps, other, pings, bad, closed;
    unsigned close_code; // the last that a server gave
    closed_minute minutes[MINUTES];
    int minute_count;
} counters;

extern settings given;
extern counters count;

uint64_t wall_us(void);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

// connect.c: opens clients.
void open_client(client *one);
void send_frame(const client *one, int opcode, const char *payload, size_t length);

// frames.c: takes bytes apart; what is left of `length` bytes, an unfinished frame, is returned.
size_t take_frames(client *one, uint8_t *bytes, size_t length, uint64_t now_us);

// messages.c: one text message.
void take_message(client *one, const char *text, size_t length, uint64_t now_us);

// report.c: latencies and the report.
void begin_window(void);
void add_latency(uint64_t us);
void print_report(const client *clients);
