#include "websocket.h"

#include <string.h>

static size_t head_write(uint8_t *out, uint8_t first, uint8_t mask_bit, size_t size) {
    out[0] = first;
    if (size < 126) {
        out[1] = mask_bit | (uint8_t)size;
        return 2;
    }
    size_t extended = size < 65536 ? 2 : 8;
    out[1] = mask_bit | (extended == 2 ? 126 : 127);
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)((uint64_t)size >> (8 * (extended - 1 - i)));
    return 2 + extended;
}

size_t frame_write(uint8_t *out, enum opcode opcode, bool is_compressed, const uint8_t *mask,
                   const uint8_t *payload, size_t size) {
    uint8_t first = 0x80 | (is_compressed ? 0x40 : 0) | (uint8_t)opcode;
    size_t head = head_write(out, first, mask ? 0x80 : 0, size);
    if (mask) {
        memcpy(out + head, mask, 4);
        head += 4;
    }
    memcpy(out + head, payload, size);
    if (mask)
        mask_apply(out + head, size, mask, 0);
    return head + size;
}

void mask_apply(uint8_t *data, size_t size, const uint8_t *mask, size_t offset) {
    uint8_t turned[8];
    for (size_t i = 0; i < 8; i++)
        turned[i] = mask[(offset + i) % 4];
    uint64_t wide;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; i++)
        data[i] ^= turned[i % 8];
}

static size_t extended_size_of(uint8_t second) {
    uint8_t size = second & 0x7f;
    return size == 126 ? 2 : size == 127 ? 8 : 0;
}

static size_t head_size(const struct frame_head_reader *reader) {
    if (reader->have < 2)
        return 2;
    return 2 + extended_size_of(reader->bytes[1]) + (reader->bytes[1] & 0x80 ? 4 : 0);
}

static void head_parse(const uint8_t *bytes, struct frame_head *head) {
    size_t extended = extended_size_of(bytes[1]);
    head->opcode = bytes[0] & 15;
    head->is_final = bytes[0] & 0x80;
    head->is_compressed = bytes[0] & 0x40;
    head->payload_size = extended ? 0 : bytes[1] & 0x7f;
    for (size_t i = 0; i < extended; i++)
        head->payload_size = head->payload_size << 8 | bytes[2 + i];
    memset(head->mask, 0, 4);
    if (bytes[1] & 0x80)
        memcpy(head->mask, bytes + 2 + extended, 4);
}

size_t frame_head_read(struct frame_head_reader *reader, const uint8_t *data, size_t size,
                       struct frame_head *head, bool *is_complete) {
    size_t taken = 0;
    *is_complete = false;
    while (taken < size && reader->have < head_size(reader))
        reader->bytes[reader->have++] = data[taken++];
    if (reader->have == head_size(reader)) {
        head_parse(reader->bytes, head);
        reader->have = 0;
        *is_complete = true;
    }
    return taken;
}
