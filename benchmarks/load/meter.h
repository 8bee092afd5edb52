/* What happens between the end of the warm-up and the end of the measurement. */
#ifndef METER_H
#define METER_H

#include <stdbool.h>
#include <stdint.h>

#include "clocks.h"
#include "histogram.h"
#include "options.h"

struct meter {
    const struct options *options;
    uint64_t begin_ns;
    uint64_t end_ns;
    struct stretch stretch;
    bool has_begun;
    uint64_t count;
    struct histogram times_ns;
};

/* The warm-up begins now. */
void meter_init(struct meter *meter, const struct options *options);

/* To be called with the time, often; false once the end is reached. */
bool meter_goes_on(struct meter *meter, uint64_t at_ns);

/* Count something, unless it is still the warm-up. */
void meter_add(struct meter *meter, uint64_t time_ns);

/* The line of JSON, without the bracket that ends it. */
void meter_print(const struct meter *meter);

#endif
