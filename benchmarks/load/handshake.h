/* A server's side of the opening handshake: RFC 6455, section 4.2. */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include <stddef.h>

/* Write the response to the head of a request, which ends with a null byte, and return its size;
 * 0 if the request asks for no WebSocket. */
int handshake_answer(const char *request, char *response, size_t room);

#endif
