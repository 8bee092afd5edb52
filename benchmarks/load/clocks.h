/* The time, and the time that processes have spent on processors. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdint.h>

#include "options.h"

uint64_t now_ns(void);

/* Between its start and its end: the clock, our processor time, the servers' processor time. */
struct stretch {
    uint64_t clock_ns;
    uint64_t load_cpu_ns;
    uint64_t server_cpu_ns;
};

void stretch_start(struct stretch *stretch, const struct options *options);
void stretch_end(struct stretch *stretch, const struct options *options);

/* Print the three as the beginning of a JSON object. */
void stretch_print(const struct stretch *stretch);

#endif
