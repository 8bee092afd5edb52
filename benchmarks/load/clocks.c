#include "clocks.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "failure.h"

static uint64_t read_ns(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail_errno("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void) { return read_ns(CLOCK_MONOTONIC); }

/* /proc/PID/stat has the same in hundredths of a second. */
static uint64_t servers_cpu_ns(const struct options *options) {
    uint64_t sum = 0;
    for (size_t i = 0; i < options->server_pid_count; i++) {
        clockid_t clock;
        errno = clock_getcpuclockid(options->server_pids[i], &clock);
        if (errno)
            fail_errno("process %d", (int)options->server_pids[i]);
        sum += read_ns(clock);
    }
    return sum;
}

void stretch_start(struct stretch *stretch, const struct options *options) {
    stretch->clock_ns = now_ns();
    stretch->load_cpu_ns = read_ns(CLOCK_PROCESS_CPUTIME_ID);
    stretch->server_cpu_ns = servers_cpu_ns(options);
}

void stretch_end(struct stretch *stretch, const struct options *options) {
    struct stretch end;
    stretch_start(&end, options);
    stretch->clock_ns = end.clock_ns - stretch->clock_ns;
    stretch->load_cpu_ns = end.load_cpu_ns - stretch->load_cpu_ns;
    stretch->server_cpu_ns = end.server_cpu_ns - stretch->server_cpu_ns;
}

void stretch_print(const struct stretch *stretch) {
    printf("{\"seconds\": %.6f, \"load_cpu_s\": %.6f, \"server_cpu_s\": %.6f",
           (double)stretch->clock_ns / 1e9, (double)stretch->load_cpu_ns / 1e9,
           (double)stretch->server_cpu_ns / 1e9);
}
