#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "clocks.h"
#include "crowd.h"
#include "failure.h"
#include "modes.h"

enum { ON_THEIR_WAY_MAX = 64, DEADLINE_S = 30 };

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

/* At the rate, by one client after the other; or silent, if that is 0. */
static void chat_until_input_ends(struct crowd *crowd) {
    double rate = crowd->options->rate;
    uint64_t started_ns = now_ns();
    uint64_t sent = 0;
    while (!standard_input_has_ended()) {
        double seconds = (double)(now_ns() - started_ns) / 1e9;
        for (; (double)sent < seconds * rate; sent++) {
            struct client *client = &crowd->clients[sent % crowd->count];
            client_send(crowd, client, now_ns());
            client_flush(crowd, client);
        }
        crowd_poll(crowd, rate > 0 ? 1 : 50);
    }
}

static void nothing_follows(struct crowd *crowd, struct client *client) {
    (void)crowd;
    (void)client;
}

/* A resumable client that just goes is away, and has its place for a minute. */
static void leave_in_order(struct crowd *crowd) {
    crowd->on_close = nothing_follows;
    for (size_t i = 0; i < crowd->count; i++)
        client_close(crowd, &crowd->clients[i]);
    uint64_t deadline_ns = now_ns() + DEADLINE_S * 1000000000ull;
    while (crowd->open_count && now_ns() < deadline_ns)
        crowd_poll(crowd, 100);
}

void run_stay(const struct options *options) {
    size_t answered = 0;
    struct crowd crowd;
    crowd_init(&crowd, options, ON_THEIR_WAY_MAX);
    crowd.owner = &answered;
    crowd.on_open = send_one;
    crowd.on_answer = count_answer;
    struct stretch stretch;
    stretch_start(&stretch, options);
    crowd_connect(&crowd);
    uint64_t deadline_ns = now_ns() + DEADLINE_S * 1000000000ull;
    while (answered < crowd.count) {
        crowd_poll(&crowd, 1000);
        if (now_ns() > deadline_ns)
            fail("%zu of %zu clients are answered after %d s", answered, crowd.count, DEADLINE_S);
    }
    stretch_end(&stretch, options);
    stretch_print(&stretch);
    printf(", \"count\": %zu}\n", answered);
    fflush(stdout);
    chat_until_input_ends(&crowd);
    if (options->is_resumable)
        leave_in_order(&crowd);
}
