// Reads the messages: the number and time of each tick, checked against what came before; closed candles.
//
// Ticks are read from their end, where numbers and keys have fixed places: {..., "time":T,"seq":S} or, where older ticks
// gave way to this one, {..., "time":T,"seq":S,"skipped":N}. A message that says it is a tick and reads otherwise is bad.
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define TRADE "{\"type\":\"trade\",\"symbol\":\"SYM"
#define CANDLE "{\"type\":\"candle\","
#define SUBSCRIBED "{\"type\":\"subscribed\""
#define ERROR "{\"type\":\"error\""
#define GAP "{\"type\":\"gap\""

static bool begins(const char *text, size_t length, const char *with, size_t with_length) {
    return length >= with_length && !memcmp(text, with, with_length);
}
#define BEGINS(text, length, with) begins(text, length, with, sizeof(with) - 1)

// Takes `,"key":digits` or `"key":digits` off the end of a text; whether it was there.
static bool take_number(const char *text, size_t *end, const char *key, size_t key_length, uint64_t *value) {
    size_t at = *end;
    uint64_t sum = 0, unit = 1;
    while (at && text[at - 1] >= '0' && text[at - 1] <= '9') {
        sum += unit * (uint64_t)(text[--at] - '0');
        unit *= 10;
    }
    if (at == *end || at < key_length || memcmp(text + at - key_length, key, key_length))
        return false;
    *end = at - key_length;
    *value = sum;
    return true;
}
#define TAKE_NUMBER(text, end, key, value) take_number(text, end, key, sizeof(key) - 1, value)

// A tick's number must follow the last of its symbol, but for those that it says were skipped.
static void check_seq(client *one, unsigned symbol, uint32_t seq, uint64_t skipped) {
    uint32_t last = one->last_seq[symbol];
    if (seq == last) {
        count.repeated++;
    } else if (seq < last) {
        count.reordered++;
    } else {
        uint64_t missing = seq - last - 1;
        if (missing > skipped)
            count.lost += missing - skipped;
        else
            count.repeated += skipped - missing;
        one->last_seq[symbol] = seq;
    }
}

static void take_tick(client *one, const char *text, size_t length, uint64_t now_us) {
    size_t end = length - 1;
    uint64_t skipped = 0, seq, time;
    TAKE_NUMBER(text, &end, ",\"skipped\":", &skipped);
    if (!TAKE_NUMBER(text, &end, ",\"seq\":", &seq) || !TAKE_NUMBER(text, &end, ",\"time\":", &time)) {
        count.bad++;
        return;
    }
    unsigned symbol = 0;
    const char *digit = text + sizeof(TRADE) - 1;
    while (*digit >= '0' && *digit <= '9' && symbol < 1000000)
        symbol = 10 * symbol + (unsigned)(*digit++ - '0');
    if (*digit != '"' || symbol >= (unsigned)given.symbols) {
        count.bad++;
        return;
    }
    check_seq(one, symbol, (uint32_t)seq, skipped);
    count.ticks++;
    count.all_ticks++;
    count.skipped += skipped;
    one->ticks++;
    if (one->measured)
        add_latency(now_us > time ? now_us - time : 0);
}

static closed_minute *minute_of(uint64_t time) {
    for (int i = count.minute_count; i-- > 0;)
        if (count.minutes[i].time == time)
            return &count.minutes[i];
    if (count.minute_count == MINUTES)
        return NULL;
    closed_minute *fresh = &count.minutes[count.minute_count++];
    fresh->time = time;
    return fresh;
}

// A final candle: when the first and the last of its minute came.
static void take_candle(const char *text, size_t length, uint64_t now_us) {
    static const char TIME[] = "\"time\":";
    if (!memmem(text, length, "\"final\":true", 12))
        return;
    const char *time = memmem(text, length, TIME, sizeof(TIME) - 1);
    closed_minute *minute = time ? minute_of(strtoull(time + sizeof(TIME) - 1, NULL, 10)) : NULL;
    if (!minute)
        return;
    if (!minute->count++)
        minute->first_us = now_us;
    minute->last_us = now_us;
}

void take_message(client *one, const char *text, size_t length, uint64_t now_us) {
    if (length < 2 || text[0] != '{' || text[length - 1] != '}') {
        count.bad++;
    } else if (BEGINS(text, length, TRADE)) {
        take_tick(one, text, length, now_us);
    } else if (BEGINS(text, length, CANDLE)) {
        take_candle(text, length, now_us);
    } else if (BEGINS(text, length, ERROR)) {
        fail("the server refused: %.*s", (int)length, text);
    } else {
        count.other++;
        count.gaps += BEGINS(text, length, GAP);
        one->subscribed |= BEGINS(text, length, SUBSCRIBED);
    }
}
