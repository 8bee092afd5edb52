/* Times by their frequency, to within 1.6 %, in memory that does not grow. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 128, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);

/* The value that `share` (0 to 1) of all are not above; 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
