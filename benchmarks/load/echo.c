#include <stdio.h>
#include <stdlib.h>

#include "crowd.h"
#include "meter.h"
#include "modes.h"

enum { STRAGGLERS_S = 5 };

struct echo {
    struct meter meter;
    size_t next; /* the client whose turn it is, where they take turns */
};

static struct client *take_turn(struct crowd *crowd, struct echo *echo) {
    struct client *client = &crowd->clients[echo->next];
    echo->next = (echo->next + 1) % crowd->count;
    return client;
}

/* Closed loop: an answer is followed by the next message, until the time is over. */

static void send_again(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    struct echo *echo = crowd->owner;
    uint64_t at_ns = now_ns();
    meter_add(&echo->meter, at_ns - due_ns);
    client_send(crowd, client, at_ns);
}

static void send_by_next(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    (void)client;
    struct echo *echo = crowd->owner;
    uint64_t at_ns = now_ns();
    meter_add(&echo->meter, at_ns - due_ns);
    struct client *next = take_turn(crowd, echo);
    client_send(crowd, next, at_ns);
    client_flush(crowd, next);
}

static void begin(struct crowd *crowd, struct echo *echo) {
    const struct options *options = crowd->options;
    if (options->in_flight) {
        crowd->on_answer = send_by_next;
        for (size_t i = 0; i < options->in_flight; i++) {
            struct client *client = take_turn(crowd, echo);
            client_send(crowd, client, now_ns());
            client_flush(crowd, client);
        }
        return;
    }
    crowd->on_answer = send_again;
    for (size_t i = 0; i < crowd->count; i++) {
        for (size_t k = 0; k < options->window; k++)
            client_send(crowd, &crowd->clients[i], now_ns());
        client_flush(crowd, &crowd->clients[i]);
    }
}

static void run_closed(struct crowd *crowd, struct echo *echo) {
    begin(crowd, echo);
    while (meter_goes_on(&echo->meter, now_ns()))
        crowd_poll(crowd, 10);
    meter_print(&echo->meter);
}

/* Open loop: messages are due at fixed times, and what counts is the time since then, also when
 * they could only leave later. An answer that is late delays no message that comes after it. */

static void note_answer(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    (void)client;
    struct echo *echo = crowd->owner;
    if (due_ns >= echo->meter.begin_ns)
        meter_add(&echo->meter, now_ns() - due_ns);
}

static size_t unanswered(const struct crowd *crowd) {
    size_t sum = 0;
    for (size_t i = 0; i < crowd->count; i++)
        sum += crowd->clients[i].due_count;
    return sum;
}

static int ms_until(uint64_t due_ns) {
    uint64_t at_ns = now_ns();
    return due_ns > at_ns ? (int)((due_ns - at_ns) / 1000000) : 0;
}

static void run_open(struct crowd *crowd, struct echo *echo) {
    crowd->on_answer = note_answer;
    double interval_ns = 1e9 / crowd->options->rate;
    uint64_t started_ns = now_ns();
    uint64_t sent = 0;
    uint64_t due_ns = started_ns;
    while (meter_goes_on(&echo->meter, now_ns())) {
        for (; due_ns <= now_ns(); due_ns = started_ns + (uint64_t)((double)++sent * interval_ns)) {
            struct client *client = take_turn(crowd, echo);
            client_send(crowd, client, due_ns);
            client_flush(crowd, client);
        }
        crowd_poll(crowd, ms_until(due_ns));
    }
    uint64_t until_ns = now_ns() + STRAGGLERS_S * 1000000000ull;
    while (unanswered(crowd) && now_ns() < until_ns)
        crowd_poll(crowd, 10);
    meter_print(&echo->meter);
    printf(", \"unanswered\": %zu", unanswered(crowd));
}

/* In turns, the same client may be asked again before its answer has come. */
static size_t due_max(const struct options *options) {
    if (options->rate > 0) {
        double messages = options->rate * (options->seconds + options->warm_up_s);
        return (size_t)(messages / (double)options->clients) + 2;
    }
    return options->in_flight ? options->in_flight : options->window;
}

void run_echo(const struct options *options) {
    struct echo *echo = calloc(1, sizeof *echo);
    struct crowd crowd;
    crowd_init(&crowd, options, due_max(options));
    crowd.owner = echo;
    crowd_connect(&crowd);
    meter_init(&echo->meter, options);
    if (options->rate > 0)
        run_open(&crowd, echo);
    else
        run_closed(&crowd, echo);
    printf("}\n");
}
