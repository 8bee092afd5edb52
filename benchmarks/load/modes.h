/* What can be measured. Each runs to its end and prints one line of JSON. */
#ifndef MODES_H
#define MODES_H

#include "options.h"

/* All clients send, and are answered with the same: rate, and time to the answer. */
void run_echo(const struct options *options);

/* Connect, one message and its answer; then say so, and stay until standard input ends: silent, or
 * with messages at --rate. */
void run_stay(const struct options *options);

/* One client sends, all are sent it by the server: time until the last one has it. */
void run_broadcast(const struct options *options);

/* Connect, handshake, a message and its answer, closing handshake: whole lives per second. */
void run_connect(const struct options *options);

/* Plain requests on connections that stay: requests per second. */
void run_http(const struct options *options);

#endif
