#include "meter.h"

#include <stdio.h>

void meter_init(struct meter *meter, const struct options *options) {
    *meter = (struct meter){.options = options};
    meter->begin_ns = now_ns() + (uint64_t)(options->warm_up_s * 1e9);
    meter->end_ns = meter->begin_ns + (uint64_t)(options->seconds * 1e9);
}

bool meter_goes_on(struct meter *meter, uint64_t at_ns) {
    if (!meter->has_begun && at_ns >= meter->begin_ns) {
        meter->has_begun = true;
        stretch_start(&meter->stretch, meter->options);
    }
    if (at_ns < meter->end_ns)
        return true;
    stretch_end(&meter->stretch, meter->options);
    return false;
}

void meter_add(struct meter *meter, uint64_t time_ns) {
    if (!meter->has_begun)
        return;
    meter->count++;
    histogram_add(&meter->times_ns, time_ns);
}

void meter_print(const struct meter *meter) {
    stretch_print(&meter->stretch);
    printf(", \"count\": %llu", (unsigned long long)meter->count);
    static const struct {
        const char *name;
        double share;
    } QUANTILES[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    for (int i = 0; i < 4; i++)
        printf("%s\"%s\": %.1f", i ? ", " : ", \"us\": {", QUANTILES[i].name,
               (double)histogram_quantile(&meter->times_ns, QUANTILES[i].share) / 1e3);
    printf("}");
}
