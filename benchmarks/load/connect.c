#include <stdio.h>
#include <stdlib.h>

#include "crowd.h"
#include "meter.h"
#include "modes.h"

struct lives {
    struct meter meter;
    struct client **ended;
    size_t ended_count;
};

static void send_one(struct crowd *crowd, struct client *client) {
    client_send(crowd, client, now_ns());
}

static void close_now(struct crowd *crowd, struct client *client, uint64_t due_ns) {
    (void)due_ns;
    client_close(crowd, client);
}

static void count_life(struct crowd *crowd, struct client *client) {
    struct lives *lives = crowd->owner;
    meter_add(&lives->meter, now_ns() - client->began_ns);
    lives->ended[lives->ended_count++] = client;
}

void run_connect(const struct options *options) {
    struct lives *lives = calloc(1, sizeof *lives);
    struct crowd crowd;
    crowd_init(&crowd, options, 1);
    crowd.owner = lives;
    crowd.on_open = send_one;
    crowd.on_answer = close_now;
    crowd.on_close = count_life;
    lives->ended = calloc(crowd.count, sizeof *lives->ended);
    for (size_t i = 0; i < crowd.count; i++)
        lives->ended[lives->ended_count++] = &crowd.clients[i];
    meter_init(&lives->meter, options);
    while (meter_goes_on(&lives->meter, now_ns())) {
        while (lives->ended_count)
            client_connect(&crowd, lives->ended[--lives->ended_count]);
        crowd_poll(&crowd, 10);
    }
    meter_print(&lives->meter);
    printf("}\n");
}
