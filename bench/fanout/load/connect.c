// Opens clients: TCP, the WebSocket handshake, and the subscription.
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PER_ADDRESS = 5000, HEAD_MOST = 8192, TEXT = 1 };

// A key and the answer to it that RFC 6455, section 1.3, works out.
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// Loopback has a whole network of addresses: one alone would run out of ports.
static int connect_from(int number) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        fail("client %d: no socket: %s (see ulimit -n)", number, strerror(errno));
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (unsigned)(number / PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)given.port);
    int on = 1;
    // The port is chosen when the connection is made, so that ports of other addresses do not count.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("client %d cannot connect: %s", number, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void keep_rest(client *one, const char *bytes, size_t length) {
    one->rest = length ? memcpy(malloc(length), bytes, length) : NULL;
    one->rest_length = one->rest_room = length;
}

// The server must agree; what it sent behind its head belongs to the first frames.
static void shake_hands(client *one) {
    char text[HEAD_MOST + 1];
    int length = snprintf(text, sizeof text,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          given.path, given.port);
    if (write(one->fd, text, (size_t)length) != length)
        fail("client %d: %s", one->number, strerror(errno));
    size_t got = 0;
    const char *end = NULL;
    while (!end) {
        ssize_t more = read(one->fd, text + got, HEAD_MOST - got);
        if (more <= 0)
            fail("client %d: the server ended the handshake", one->number);
        got += (size_t)more;
        text[got] = 0;
        end = strstr(text, "\r\n\r\n");
    }
    if (strncmp(text, "HTTP/1.1 101", 12) || !strstr(text, ACCEPT))
        fail("client %d: no WebSocket: %.300s", one->number, text);
    keep_rest(one, end + 4, got - (size_t)(end + 4 - text));
}

// Every client's choice is its own, and the same in every run.
static void subscribe(const client *one) {
    int *left = malloc(sizeof(int) * (size_t)given.symbols);
    char *text = malloc(strlen(given.head) + strlen(given.tail) + 16 * (size_t)given.per_client + 1);
    uint64_t random = 0x9E3779B97F4A7C15ull * (uint64_t)(one->number + 1);
    for (int i = 0; i < given.symbols; i++)
        left[i] = i;
    char *at = stpcpy(text, given.head);
    for (int i = 0; i < given.per_client; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        int pick = i + (int)(random % (uint64_t)(given.symbols - i));
        at += sprintf(at, "%s\"SYM%d\"", i ? "," : "", left[pick]);
        left[pick] = left[i];
    }
    at = stpcpy(at, given.tail);
    send_frame(one, TEXT, text, (size_t)(at - text));
    free(text);
    free(left);
}

// Clients must mask; a mask of zeros leaves the bytes as they are.
void send_frame(const client *one, int opcode, const char *payload, size_t length) {
    size_t extra = length < 126 ? 0 : 2, begin = 2 + extra + 4;
    if (length > 65535)
        fail("a message of %zu bytes is too long for this generator", length);
    uint8_t *bytes = calloc(1, begin + length);
    bytes[0] = 0x80 | (uint8_t)opcode;
    bytes[1] = 0x80 | (extra ? 126 : (uint8_t)length);
    if (extra) {
        bytes[2] = (uint8_t)(length >> 8);
        bytes[3] = (uint8_t)length;
    }
    memcpy(bytes + begin, payload, length);
    // A few bytes on a connection that carries nothing else our way: they fit, or the server is gone.
    ssize_t sent = send(one->fd, bytes, begin + length, MSG_NOSIGNAL);
    if (sent != (ssize_t)(begin + length) && opcode == TEXT)
        fail("client %d cannot subscribe: %s", one->number, strerror(errno));
    free(bytes);
}

void open_client(client *one) {
    one->fd = connect_from(one->number);
    shake_hands(one);
    subscribe(one);
    fcntl(one->fd, F_SETFL, O_NONBLOCK);
}
