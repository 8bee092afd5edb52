#include "handshake.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DIGEST_SIZE = 20, BLOCK_SIZE = 64, KEY_SIZE = 24 };

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static uint32_t rotate(uint32_t word, int by) { return word << by | word >> (32 - by); }

/* FIPS 180-4, section 6.1.2. */
static void sha1_block(uint32_t state[5], const uint8_t *block) {
    uint32_t words[80];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotate(a, 5) + mixed + e + words[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* Of a text that fits into two blocks with its padding. */
static void sha1(const char *text, size_t size, uint8_t digest[DIGEST_SIZE]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[2 * BLOCK_SIZE] = {0};
    memcpy(blocks, text, size);
    blocks[size] = 0x80;
    size_t end = size + 9 > BLOCK_SIZE ? 2 * BLOCK_SIZE : BLOCK_SIZE;
    blocks[end - 2] = (uint8_t)(8 * size >> 8);
    blocks[end - 1] = (uint8_t)(8 * size);
    for (size_t at = 0; at < end; at += BLOCK_SIZE)
        sha1_block(state, blocks + at);
    for (int i = 0; i < DIGEST_SIZE; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t digest[DIGEST_SIZE], char *out) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[DIGEST_SIZE + 1] = {0};
    memcpy(padded, digest, DIGEST_SIZE);
    for (int i = 0; i < DIGEST_SIZE + 1; i += 3) {
        uint32_t group = (uint32_t)padded[i] << 16 | (uint32_t)padded[i + 1] << 8 | padded[i + 2];
        for (int k = 0; k < 4; k++)
            *out++ = DIGITS[group >> (18 - 6 * k) & 63];
    }
    out[-1] = '=';
    *out = 0;
}

int handshake_answer(const char *request, char *response, size_t room) {
    const char *key = strcasestr(request, "\r\nSec-WebSocket-Key:");
    if (!key)
        return 0;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    char text[KEY_SIZE + sizeof GUID];
    int size = snprintf(text, sizeof text, "%.*s%s", KEY_SIZE, key, GUID);
    uint8_t digest[DIGEST_SIZE];
    sha1(text, (size_t)size, digest);
    char accept[32];
    base64(digest, accept);
    return snprintf(response, room,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                    accept);
}
