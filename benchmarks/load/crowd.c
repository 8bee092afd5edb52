#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clocks.h"
#include "failure.h"

enum {
    BATCH = 256,
    RECEIVE_SIZE = 256 * 1024,
    SEND_SIZE = 256 * 1024,
    HEAD_MAX = 4096,
    CONNECT_DEADLINE_S = 120,
};

/* wshandler.1: "Each end acknowledges when 64 messages are not yet acknowledged, or 64 KiB of them,
 * or one second after the first of these." What is due by the clock is looked for this often. */
enum { ACKNOWLEDGE_MESSAGES = 64, ACKNOWLEDGE_BYTES = 64 * 1024 };
static const uint64_t ACKNOWLEDGE_NS = 1000000000, ACKNOWLEDGE_CHECK_NS = 100000000;

static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

/* RFC 6455, section 1.3: the key of its example and the answer to it. */
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static uint8_t received[RECEIVE_SIZE];

static void client_free_head(struct client *client) {
    free(client->head);
    client->head = NULL;
    client->head_size = 0;
}

void crowd_init(struct crowd *crowd, const struct options *options, size_t due_max) {
    *crowd = (struct crowd){.options = options, .count = options->clients, .due_max = due_max};
    crowd->epoll = epoll_create1(0);
    crowd->clients = calloc(crowd->count, sizeof *crowd->clients);
    for (size_t i = 0; i < crowd->count; i++) {
        crowd->clients[i].fd = -1;
        crowd->clients[i].due_ns = calloc(due_max, sizeof(uint64_t));
    }
    size_t room = options->payload_size + FRAME_HEAD_MAX;
    size_t times = SEND_SIZE / room + 2;
    crowd->frames = malloc(room * times);
    crowd->frame_size = frame_write(crowd->frames, OPCODE_TEXT, options->is_compressed, MASK,
                                    options->payload, options->payload_size);
    crowd->frames_size = crowd->frame_size * times;
    for (size_t i = 1; i < times; i++)
        memcpy(crowd->frames + i * crowd->frame_size, crowd->frames, crowd->frame_size);
}

/* Sending */

static void watch(struct crowd *crowd, struct client *client, uint32_t events) {
    if (client->watched == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = client};
    int operation = client->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(crowd->epoll, operation, client->fd, &event))
        fail_errno("epoll_ctl");
    client->watched = events;
}

/* False when the socket takes no more. */
static bool send_reply(struct client *client) {
    if (!client->reply_size)
        return true;
    ssize_t sent = send(client->fd, client->reply, client->reply_size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN)
        return false;
    if (sent != (ssize_t)client->reply_size)
        fail_errno("a control frame was sent in part");
    client->reply_size = 0;
    return true;
}

static bool send_frames(struct crowd *crowd, struct client *client) {
    while (client->unsent) {
        size_t size = crowd->frames_size - client->frame_at;
        if (size > client->unsent)
            size = client->unsent;
        /* With a reply waiting, only to the end of this frame. */
        if (client->reply_size && size > crowd->frame_size - client->frame_at)
            size = crowd->frame_size - client->frame_at;
        ssize_t sent = send(client->fd, crowd->frames + client->frame_at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return false;
        if (sent < 0)
            fail_errno("send");
        client->unsent -= (size_t)sent;
        client->frame_at = (client->frame_at + (size_t)sent) % crowd->frame_size;
        if (client->frame_at == 0 && !send_reply(client))
            return false;
    }
    return true;
}

void client_flush(struct crowd *crowd, struct client *client) {
    bool is_all = client->frame_at || send_reply(client);
    is_all = is_all && send_frames(crowd, client);
    watch(crowd, client, is_all ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void client_send(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    if (client->due_count == crowd->due_max)
        fail("more than %zu messages of one client on their way", crowd->due_max);
    client->due_ns[(client->due_first + client->due_count++) % crowd->due_max] = due_ns;
    client->unsent += crowd->frame_size;
}

/* An earlier one that has not left is replaced; RFC 6455 allows that of pongs. */
static void reply(struct client *client, enum opcode opcode, const void *payload, size_t size) {
    client->reply_size = frame_write(client->reply, opcode, false, MASK, payload, size);
}

void client_close(struct crowd *crowd, struct client *client) {
    static const uint8_t NORMAL_CLOSURE[2] = {1000 >> 8, 1000 & 0xff};
    reply(client, OPCODE_CLOSE, NORMAL_CLOSURE, sizeof NORMAL_CLOSURE);
    client_flush(crowd, client);
}

/* Acknowledging */

static void acknowledge(struct client *client) {
    char text[32];
    int size = snprintf(text, sizeof text, "a%llu", (unsigned long long)client->taken);
    reply(client, OPCODE_TEXT, text, (size_t)size);
    client->acknowledged = client->taken;
}

static void message_taken(struct crowd *crowd, struct client *client) {
    if (client->taken++ == client->acknowledged)
        client->owes_since_ns = now_ns();
    uint64_t owed = client->taken - client->acknowledged;
    if (owed == ACKNOWLEDGE_MESSAGES || owed * crowd->options->payload_size >= ACKNOWLEDGE_BYTES)
        acknowledge(client);
}

static void acknowledge_in_time(struct crowd *crowd) {
    if (!crowd->options->is_resumable)
        return;
    uint64_t at_ns = now_ns();
    if (at_ns < crowd->next_acknowledgements_ns)
        return;
    crowd->next_acknowledgements_ns = at_ns + ACKNOWLEDGE_CHECK_NS;
    for (size_t i = 0; i < crowd->count; i++) {
        struct client *client = &crowd->clients[i];
        if (client->state != CLIENT_OPEN || client->taken == client->acknowledged ||
            at_ns < client->owes_since_ns + ACKNOWLEDGE_NS)
            continue;
        acknowledge(client);
        client_flush(crowd, client);
    }
}

/* Connecting */

static void is_open(struct crowd *crowd, struct client *client) {
    client->state = CLIENT_OPEN;
    crowd->open_count++;
    if (crowd->on_open)
        crowd->on_open(crowd, client);
}

void client_connect(struct crowd *crowd, struct client *client) {
    uint64_t *due_ns = client->due_ns;
    *client = (struct client){.state = CLIENT_CONNECTING, .began_ns = now_ns(), .due_ns = due_ns};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        fail_errno("socket");
    int yes = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(crowd->options->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail_errno("connect");
    watch(crowd, client, EPOLLOUT);
}

static void send_request(struct crowd *crowd, struct client *client) {
    int error;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    if (error)
        fail_errno("connect");
    char request[1024];
    int length = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s%s\r\n",
        crowd->options->path, crowd->options->port, KEY,
        crowd->options->is_compressed ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "",
        crowd->options->is_resumable ? "Sec-WebSocket-Protocol: wshandler.1\r\n" : "");
    if (send(client->fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        fail_errno("the request was not sent");
    client->state = CLIENT_HANDSHAKING;
    client->head = malloc(HEAD_MAX);
    watch(crowd, client, EPOLLIN);
}

/* Ends the program unless the server accepts as asked. */
static void check_response(const struct crowd *crowd, const char *head) {
    if (strncmp(head, "HTTP/1.1 101", 12))
        fail("the server answers %.*s", (int)strcspn(head, "\r"), head);
    if (!strstr(head, ACCEPT))
        fail("the server's Sec-WebSocket-Accept is wrong");
    if (crowd->options->is_compressed && !strstr(head, "permessage-deflate"))
        fail("the server does not agree to compression");
    if (crowd->options->is_resumable && !strstr(head, "wshandler.1"))
        fail("the server does not speak wshandler.1");
}

/* How many of the bytes belong to the response's head. */
static size_t read_response(struct crowd *crowd, struct client *client, const uint8_t *data,
                            size_t size) {
    size_t before = client->head_size;
    size_t taken = size < HEAD_MAX - 1 - before ? size : HEAD_MAX - 1 - before;
    memcpy(client->head + before, data, taken);
    client->head_size += taken;
    client->head[client->head_size] = 0;
    char *end = strstr(client->head, "\r\n\r\n");
    if (!end && client->head_size == HEAD_MAX - 1)
        fail("the head of the response has more than %d bytes", HEAD_MAX - 1);
    if (!end)
        return size;
    end[2] = 0;
    check_response(crowd, client->head);
    size_t head_size = (size_t)(end - client->head) + 4;
    client_free_head(client);
    if (crowd->options->is_socketio || crowd->options->is_resumable)
        client->state = CLIENT_JOINING;
    else
        is_open(crowd, client);
    return head_size - before;
}

void crowd_connect(struct crowd *crowd) {
    uint64_t deadline_ns = now_ns() + CONNECT_DEADLINE_S * 1000000000ull;
    for (size_t begun = 0; crowd->open_count < crowd->count;) {
        while (begun < crowd->count && begun - crowd->open_count < crowd->options->handshakes)
            client_connect(crowd, &crowd->clients[begun++]);
        crowd_poll(crowd, 1000);
        if (now_ns() > deadline_ns)
            fail("%zu of %zu clients are connected after %d s", crowd->open_count, crowd->count,
                 CONNECT_DEADLINE_S);
    }
}

/* Receiving */

static void socket_closed(struct crowd *crowd, struct client *client) {
    if (!crowd->on_close)
        fail("the server has closed a connection");
    close(client->fd);
    client->fd = -1;
    client->watched = 0;
    client->state = CLIENT_IDLE;
    crowd->open_count--;
    client_free_head(client);
    crowd->on_close(crowd, client);
}

static void answer_came(struct crowd *crowd, struct client *client) {
    uint64_t due_ns = 0;
    if (client->due_count) {
        due_ns = client->due_ns[client->due_first];
        client->due_first = (client->due_first + 1) % crowd->due_max;
        client->due_count--;
    }
    if (crowd->options->is_resumable)
        message_taken(crowd, client);
    crowd->on_answer(crowd, client, due_ns);
}

/* Engine.IO: 0 opened, 2 ping, 3 pong, 4 message; then Socket.IO: 0 connected. */
static void engine_packet_came(struct crowd *crowd, struct client *client) {
    const uint8_t *packet = client->payload_begin;
    if (packet[0] == '0')
        reply(client, OPCODE_TEXT, "40", 2);
    else if (packet[0] == '2')
        reply(client, OPCODE_TEXT, "3", 1);
    else if (packet[0] == '4' && packet[1] == '0' && client->state == CLIENT_JOINING)
        is_open(crowd, client);
    else
        fail("unexpected packet %.*s", (int)client->payload_have, packet);
}

/* wshandler.1: the hello, acknowledgements, and the question whether anybody is there. */
static void resumable_message_came(struct crowd *crowd, struct client *client) {
    const uint8_t *message = client->payload_begin;
    if (message[0] == 'h' && client->state == CLIENT_JOINING)
        is_open(crowd, client);
    else if (message[0] == 'p')
        acknowledge(client);
    else if (message[0] != 'a')
        fail("unexpected message that begins with %c", message[0]);
}

static void close_came(struct crowd *crowd, struct client *client) {
    if (!crowd->on_close)
        fail("the server closes with %d",
             client->payload_have < 2 ? 1005
                                      : client->payload_begin[0] << 8 | client->payload_begin[1]);
    socket_closed(crowd, client);
}

static void frame_came(struct crowd *crowd, struct client *client) {
    const struct frame_head *frame = &client->frame;
    client->in_payload = false;
    if (frame->opcode == OPCODE_PING)
        reply(client, OPCODE_PONG, client->payload_begin, (size_t)frame->payload_size);
    else if (frame->opcode == OPCODE_CLOSE)
        close_came(crowd, client);
    else if (client->is_answer)
        answer_came(crowd, client);
    else if (crowd->options->is_socketio)
        engine_packet_came(crowd, client);
    else if (crowd->options->is_resumable)
        resumable_message_came(crowd, client);
    else if (crowd->options->is_compressed && !frame->is_compressed)
        fail("the server answers without compression");
    else if (frame->opcode != OPCODE_PONG)
        fail("a message came back changed");
}

static void frame_begins(struct crowd *crowd, struct client *client) {
    const struct frame_head *frame = &client->frame;
    const struct options *options = crowd->options;
    if (!frame->is_final)
        fail("the server fragments its messages");
    client->in_payload = true;
    client->payload_have = 0;
    /* A deflated answer depends on those before it. It is not inflated. */
    client->is_answer = frame->opcode < OPCODE_CLOSE && client->state == CLIENT_OPEN &&
                        (options->is_compressed ? frame->is_compressed
                                                : frame->payload_size == options->payload_size);
}

static size_t read_payload(struct crowd *crowd, struct client *client, const uint8_t *data,
                           size_t size) {
    uint64_t left = client->frame.payload_size - client->payload_have;
    size_t taken = size < left ? size : (size_t)left;
    if (client->is_answer && !crowd->options->is_compressed &&
        memcmp(data, crowd->options->payload + client->payload_have, taken))
        client->is_answer = false;
    for (size_t i = 0; i < taken && client->payload_have + i < CONTROL_PAYLOAD_MAX; i++)
        client->payload_begin[client->payload_have + i] = data[i];
    client->payload_have += taken;
    return taken;
}

static size_t read_frame(struct crowd *crowd, struct client *client, const uint8_t *data,
                         size_t size) {
    size_t taken = 0;
    if (!client->in_payload) {
        bool is_complete;
        taken = frame_head_read(&client->reader, data, size, &client->frame, &is_complete);
        if (!is_complete)
            return taken;
        frame_begins(crowd, client);
    }
    taken += read_payload(crowd, client, data + taken, size - taken);
    if (client->payload_have == client->frame.payload_size)
        frame_came(crowd, client);
    return taken;
}

static void receive(struct crowd *crowd, struct client *client) {
    ssize_t size = recv(client->fd, received, sizeof received, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size < 0)
        fail_errno("recv");
    if (size == 0) {
        socket_closed(crowd, client);
        return;
    }
    for (size_t at = 0; at < (size_t)size && client->fd >= 0;) {
        if (client->state == CLIENT_HANDSHAKING)
            at += read_response(crowd, client, received + at, (size_t)size - at);
        else
            at += read_frame(crowd, client, received + at, (size_t)size - at);
    }
    if (client->fd >= 0 && (client->unsent || client->reply_size))
        client_flush(crowd, client);
}

void crowd_poll(struct crowd *crowd, int timeout_ms) {
    struct epoll_event events[BATCH];
    int count = epoll_wait(crowd->epoll, events, BATCH, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->state == CLIENT_CONNECTING)
            send_request(crowd, client);
        else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(crowd, client);
        else
            client_flush(crowd, client);
    }
    acknowledge_in_time(crowd);
}
