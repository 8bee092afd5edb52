/* The least that a WebSocket server can do, as the limit of what can be measured: one thread, one
 * epoll, one read and one write per message.
 *
 * It answers every message with the same, and what a client of /broadcast sends it sends to all of
 * those; a plain request gets a page. No fragments, no compression; messages have to be smaller
 * than its buffer. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failure.h"
#include "handshake.h"
#include "websocket.h"

enum { BATCH = 256, BUFFER_SIZE = 2 << 20, HEAD_MAX = 4096 };

struct connection {
    int fd;
    bool is_open;
    bool is_broadcast;
    uint8_t *rest; /* read, but no whole frame */
    size_t rest_size;
    uint8_t *unsent;
    size_t unsent_size;
    struct connection *previous_member, *next_member;
};

static int epoll;
static struct connection *members;
static uint8_t input[2 * BUFFER_SIZE];
static uint8_t output[2 * BUFFER_SIZE];
static size_t output_size;

static void keep(uint8_t **kept, size_t *kept_size, const uint8_t *data, size_t size) {
    *kept = realloc(*kept, *kept_size + size);
    memcpy(*kept + *kept_size, data, size);
    *kept_size += size;
}

static void watch(struct connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->fd, &event))
        fail_errno("epoll_ctl");
}

static void member_join(struct connection *connection) {
    connection->is_broadcast = true;
    connection->next_member = members;
    if (members)
        members->previous_member = connection;
    members = connection;
}

static void member_leave(struct connection *connection) {
    if (connection->previous_member)
        connection->previous_member->next_member = connection->next_member;
    else
        members = connection->next_member;
    if (connection->next_member)
        connection->next_member->previous_member = connection->previous_member;
}

static void connection_end(struct connection *connection) {
    if (connection->is_broadcast)
        member_leave(connection);
    close(connection->fd);
    free(connection->rest);
    free(connection->unsent);
    free(connection);
}

/* An error shows at the next read. */
static void write_out(struct connection *connection, const uint8_t *data, size_t size) {
    ssize_t sent = 0;
    if (!connection->unsent_size)
        sent = send(connection->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == size)
        return;
    if (!connection->unsent_size)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    keep(&connection->unsent, &connection->unsent_size, data + sent, size - (size_t)sent);
}

static void write_unsent(struct connection *connection) {
    ssize_t sent = send(connection->fd, connection->unsent, connection->unsent_size, MSG_NOSIGNAL);
    if (sent < 0)
        return;
    connection->unsent_size -= (size_t)sent;
    memmove(connection->unsent, connection->unsent + sent, connection->unsent_size);
    if (!connection->unsent_size)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void message_came(struct connection *connection, enum opcode opcode, const uint8_t *payload,
                         size_t size) {
    if (connection->is_broadcast && opcode < OPCODE_CLOSE) {
        uint8_t frame[FRAME_HEAD_MAX + 65536];
        size_t frame_size = frame_write(frame, opcode, false, NULL, payload, size);
        for (struct connection *each = members; each; each = each->next_member)
            write_out(each, frame, frame_size);
        return;
    }
    if (opcode == OPCODE_PING)
        opcode = OPCODE_PONG;
    output_size += frame_write(output + output_size, opcode, false, NULL, payload, size);
}

/* How many of the bytes were whole frames. */
static size_t read_frames(struct connection *connection, uint8_t *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        struct frame_head_reader reader = {0};
        struct frame_head head;
        bool is_complete;
        size_t head_size = frame_head_read(&reader, data + at, size - at, &head, &is_complete);
        if (!is_complete || size - at - head_size < head.payload_size)
            break;
        uint8_t *payload = data + at + head_size;
        mask_apply(payload, (size_t)head.payload_size, head.mask, 0);
        message_came(connection, head.opcode, payload, (size_t)head.payload_size);
        at += head_size + (size_t)head.payload_size;
    }
    return at;
}

static void answer_request(struct connection *connection, const char *request) {
    static const char PAGE[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    char response[256];
    int size = handshake_answer(request, response, sizeof response);
    if (!size) {
        write_out(connection, (const uint8_t *)PAGE, sizeof PAGE - 1);
        return;
    }
    write_out(connection, (const uint8_t *)response, (size_t)size);
    connection->is_open = true;
    if (!strncmp(request, "GET /broadcast ", 15))
        member_join(connection);
}

/* How many of the bytes were the request; 0 if it is not complete. */
static size_t read_request(struct connection *connection, uint8_t *data, size_t size) {
    uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    end[2] = 0;
    answer_request(connection, (const char *)data);
    return (size_t)(end - data) + 4;
}

/* False when the connection has ended. */
static bool read_in(struct connection *connection) {
    if (connection->rest_size)
        memcpy(input, connection->rest, connection->rest_size);
    ssize_t size = recv(connection->fd, input + connection->rest_size, BUFFER_SIZE, 0);
    if (size <= 0)
        return size < 0 && errno == EAGAIN;
    size_t have = connection->rest_size + (size_t)size;
    connection->rest_size = 0;
    output_size = 0;
    size_t at = connection->is_open ? 0 : read_request(connection, input, have);
    if (connection->is_open)
        at += read_frames(connection, input + at, have - at);
    if (at < have)
        keep(&connection->rest, &connection->rest_size, input + at, have - at);
    if (connection->rest_size > BUFFER_SIZE)
        return false;
    if (output_size)
        write_out(connection, output, output_size);
    return true;
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct connection *connection = calloc(1, sizeof *connection);
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_on(uint16_t port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail_errno("port %d", port);
    return listener;
}

int main(int argc, char **argv) {
    if (argc != 2)
        fail("usage: echo_server PORT");
    int listener = listen_on((uint16_t)atoi(argv[1]));
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                write_unsent(connection);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !read_in(connection))
                connection_end(connection);
        }
    }
}
