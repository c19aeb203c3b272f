// Takes apart the frames of a server (RFC 6455, section 5), and counts those that must not be.
#include "load.h"

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };
enum { FIN = 0x80, RESERVED = 0x70, MASKED = 0x80, CONTROL_MOST = 125 };
static const uint64_t FRAME_MOST = 1 << 24;

typedef struct {
    int opcode;
    size_t begin, length; // of the payload
    bool whole, good;
} frame;

// The head of a frame; not `whole` where bytes are missing. Lengths must take the shortest form.
static frame read_head(const uint8_t *bytes, size_t length) {
    frame found = {.whole = false, .good = true};
    if (length < 2)
        return found;
    size_t short_length = bytes[1] & 127;
    size_t extra = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    if (length < 2 + extra)
        return found;
    uint64_t size = short_length;
    if (extra) {
        size = 0;
        for (size_t i = 0; i < extra; i++)
            size = size << 8 | bytes[2 + i];
    }
    found.opcode = bytes[0] & 15;
    found.begin = 2 + extra;
    found.length = size;
    bool control = found.opcode >= CLOSE;
    // No server here sends fragments or binary messages, and none may mask or use extensions nobody agreed on.
    found.good = (bytes[0] & FIN) && !(bytes[0] & RESERVED) && !(bytes[1] & MASKED) && size <= FRAME_MOST &&
                 (found.opcode == TEXT || (found.opcode >= CLOSE && found.opcode <= PONG)) &&
                 !(control && size > CONTROL_MOST) && !(extra == 2 && size < 126) && !(extra == 8 && size < 65536);
    found.whole = length - found.begin >= size;
    return found;
}

static void take_frame(client *one, const frame *found, const uint8_t *payload, uint64_t now_us) {
    if (found->opcode == TEXT) {
        take_message(one, (const char *)payload, found->length, now_us);
    } else if (found->opcode == PING) {
        count.pings++;
        send_frame(one, PONG, (const char *)payload, found->length);
    } else if (found->opcode == CLOSE) {
        count.close_code = found->length >= 2 ? payload[0] << 8 | payload[1] : 1005;
    }
}

size_t take_frames(client *one, uint8_t *bytes, size_t length, uint64_t now_us) {
    size_t at = 0;
    while (at < length) {
        frame found = read_head(bytes + at, length - at);
        if (!found.good) {
            // Where one frame is wrong, nothing tells where the next begins.
            count.bad++;
            one->closed = true;
            return 0;
        }
        if (!found.whole)
            break;
        take_frame(one, &found, bytes + at + found.begin, now_us);
        at += found.begin + found.length;
    }
    return length - at;
}
