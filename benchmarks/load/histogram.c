#include "histogram.h"

#include <math.h>
#include <string.h>

/* A power of two is divided into 64 steps; what is below 128 has a bucket for each value. */
static unsigned bucket_of(uint64_t value) {
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 57 - (unsigned)__builtin_clzll(value);
    return shift * (HISTOGRAM_STEPS / 2) + (unsigned)(value >> shift);
}

static uint64_t highest_in(unsigned bucket) {
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / (HISTOGRAM_STEPS / 2) - 1;
    uint64_t step = bucket - shift * (HISTOGRAM_STEPS / 2);
    return ((step + 1) << shift) - 1;
}

void histogram_clear(struct histogram *histogram) { memset(histogram, 0, sizeof *histogram); }

void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->count++;
    histogram->buckets[bucket_of(value)]++;
    if (value > histogram->max)
        histogram->max = value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share) {
    uint64_t rank = (uint64_t)ceil(share * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS && rank > 0; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= rank)
            return highest_in(bucket) < histogram->max ? highest_in(bucket) : histogram->max;
    }
    return 0;
}
