#include <stdio.h>

#include "clocks.h"
#include "crowd.h"
#include "failure.h"
#include "modes.h"

enum { WARM_UP_ROUNDS = 3, ROUNDS_MIN = 3, ROUNDS_MAX = 10000, DEADLINE_S = 30 };

static void count_receipt(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    (void)client;
    (void)due_ns;
    size_t *receipts = crowd->owner;
    ++*receipts;
}

static void rest(struct crowd *crowd, double seconds) {
    for (uint64_t until_ns = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < until_ns;)
        crowd_poll(crowd, 1);
}

/* From the sending to the last receipt. */
static uint64_t round_ns(struct crowd *crowd) {
    size_t *receipts = crowd->owner;
    *receipts = 0;
    uint64_t started_ns = now_ns();
    client_send(crowd, &crowd->clients[0], started_ns);
    client_flush(crowd, &crowd->clients[0]);
    while (*receipts < crowd->count) {
        crowd_poll(crowd, 1000);
        if (now_ns() > started_ns + DEADLINE_S * 1000000000ull)
            fail("%zu of %zu clients have the broadcast after %d s", *receipts, crowd->count,
                 DEADLINE_S);
    }
    return now_ns() - started_ns;
}

void run_broadcast(const struct options *options) {
    size_t receipts = 0;
    struct crowd crowd;
    crowd_init(&crowd, options, 1);
    crowd.owner = &receipts;
    crowd.on_answer = count_receipt;
    crowd_connect(&crowd);
    for (int i = 0; i < WARM_UP_ROUNDS; i++) {
        rest(&crowd, options->gap_s);
        round_ns(&crowd);
    }
    uint64_t times_ns[ROUNDS_MAX];
    size_t rounds = 0;
    struct stretch stretch;
    stretch_start(&stretch, options);
    uint64_t end_ns = now_ns() + (uint64_t)(options->seconds * 1e9);
    while (rounds < options->rounds && (rounds < ROUNDS_MIN || now_ns() < end_ns)) {
        rest(&crowd, options->gap_s);
        times_ns[rounds++] = round_ns(&crowd);
    }
    stretch_end(&stretch, options);
    stretch_print(&stretch);
    printf(", \"count\": %zu, \"ms\": [", rounds * crowd.count);
    for (size_t i = 0; i < rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)times_ns[i] / 1e6);
    printf("]}\n");
}
