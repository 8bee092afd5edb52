/* WebSocket clients that all send the same message, on one epoll and one thread.
 *
 * A message is sent as often as `client_send` is called; what the socket does not take at once
 * follows when it does. Any other message than the same one as answer ends the program.
 *
 * With --resumable they speak wshandler.1 as far as a client has to whose connection is never lost:
 * they offer it, wait for the hello, and acknowledge. */
#ifndef CROWD_H
#define CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "websocket.h"

enum client_state {
    CLIENT_IDLE,        /* has no socket */
    CLIENT_CONNECTING,  /* TCP */
    CLIENT_HANDSHAKING, /* has sent its request */
    CLIENT_JOINING,     /* Socket.IO: has asked for the name space; resumable: awaits the hello */
    CLIENT_OPEN,
};

struct client {
    int fd;
    enum client_state state;
    uint32_t watched; /* epoll's events */
    uint64_t began_ns;

    /* Sending: so many bytes of the endless row of equal frames, from this byte of a frame on. */
    size_t unsent;
    size_t frame_at;
    uint8_t reply[FRAME_HEAD_MAX + CONTROL_PAYLOAD_MAX]; /* goes out between two frames */
    size_t reply_size;

    /* Receiving. */
    char *head;
    size_t head_size;
    struct frame_head_reader reader;
    struct frame_head frame;
    bool in_payload;
    uint64_t payload_have;
    bool is_answer; /* so far */
    uint8_t payload_begin[CONTROL_PAYLOAD_MAX];

    /* Resumable: messages taken, and since when some of them are not acknowledged. */
    uint64_t taken;
    uint64_t acknowledged;
    uint64_t owes_since_ns;

    /* When the messages on their way were due, the oldest first. */
    uint64_t *due_ns;
    size_t due_first;
    size_t due_count;
};

struct crowd {
    const struct options *options;
    int epoll;
    struct client *clients;
    size_t count;
    size_t open_count;
    size_t due_max;
    uint64_t next_acknowledgements_ns;
    uint8_t *frames; /* the frame, again and again */
    size_t frames_size;
    size_t frame_size;
    void *owner; /* the caller's */

    /* Set by the caller. `due_ns` is what it gave to client_send for the message answered. */
    void (*on_open)(struct crowd *crowd, struct client *client);
    void (*on_answer)(struct crowd *crowd, struct client *client, uint64_t due_ns);
    void (*on_close)(struct crowd *crowd, struct client *client);
};

/* Clients that are not connected yet. Up to `due_max` messages of one can be on their way. */
void crowd_init(struct crowd *crowd, const struct options *options, size_t due_max);

/* Connect all, `--handshakes` at once; returns when all are open. */
void crowd_connect(struct crowd *crowd);

/* Wait for events for at most so long, and do what they call for. */
void crowd_poll(struct crowd *crowd, int timeout_ms);

void client_connect(struct crowd *crowd, struct client *client);

/* Send one message. `client_flush` has to follow, but within on_answer for the same client. */
void client_send(struct crowd *crowd, struct client *client, uint64_t due_ns);
void client_flush(struct crowd *crowd, struct client *client);

/* Begin the closing handshake; on_close follows. */
void client_close(struct crowd *crowd, struct client *client);

#endif
