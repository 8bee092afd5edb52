/* Clients for the benchmarks: one thread, which has to be faster than any server it measures. */

#include <string.h>

#include "failure.h"
#include "modes.h"

static const struct {
    const char *name;
    void (*run)(const struct options *options);
} MODES[] = {
    {"echo", run_echo},           {"stay", run_stay}, {"broadcast", run_broadcast},
    {"connect", run_connect},     {"http", run_http},
};

int main(int argc, char **argv) {
    struct options options = options_parse(argc, argv);
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++) {
        if (!strcmp(options.mode, MODES[i].name)) {
            MODES[i].run(&options);
            return 0;
        }
    }
    fail("there is no mode %s", options.mode);
}
