#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "clocks.h"
#include "crowd.h"
#include "modes.h"

static void send_one(struct crowd *crowd, struct client *client) {
    client_send(crowd, client, now_ns());
}

static void count_answer(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    (void)client;
    (void)due_ns;
    size_t *answered = crowd->owner;
    ++*answered;
}

static bool standard_input_has_ended(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

void run_idle(const struct options *options) {
    size_t answered = 0;
    struct crowd crowd;
    crowd_init(&crowd, options, 1);
    crowd.owner = &answered;
    crowd.on_open = send_one;
    crowd.on_answer = count_answer;
    struct stretch stretch;
    stretch_start(&stretch, options);
    crowd_connect(&crowd);
    while (answered < crowd.count)
        crowd_poll(&crowd, 1000);
    stretch_end(&stretch, options);
    stretch_print(&stretch);
    printf(", \"count\": %zu}\n", answered);
    fflush(stdout);
    while (!standard_input_has_ended())
        crowd_poll(&crowd, 50);
}
