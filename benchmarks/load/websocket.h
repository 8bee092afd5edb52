/* Frames of RFC 6455 as bytes: made whole, taken apart in whatever pieces they come in. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opcode { OPCODE_TEXT = 1, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

enum { FRAME_HEAD_MAX = 14, CONTROL_PAYLOAD_MAX = 125 };

/* Write the frame into `out`, which has room for FRAME_HEAD_MAX more than the payload, and return
 * its size. `mask` is NULL in what a server sends, else four bytes. */
size_t frame_write(uint8_t *out, enum opcode opcode, bool is_compressed, const uint8_t *mask,
                   const uint8_t *payload, size_t size);

/* XOR with the four bytes of `mask`, the first of which is for the payload's byte `offset`. */
void mask_apply(uint8_t *data, size_t size, const uint8_t *mask, size_t offset);

struct frame_head {
    enum opcode opcode;
    bool is_final;
    bool is_compressed;
    uint8_t mask[4]; /* zeros where the frame is not masked */
    uint64_t payload_size;
};

/* The bytes of a frame's head that have come so far. Begins as zeros. */
struct frame_head_reader {
    uint8_t bytes[FRAME_HEAD_MAX];
    size_t have;
};

/* Take what belongs to the head from `data`, and say how much that was. When `*is_complete`, the
 * head is in `head` and the reader is ready for the next one. */
size_t frame_head_read(struct frame_head_reader *reader, const uint8_t *data, size_t size,
                       struct frame_head *head, bool *is_complete);

#endif
