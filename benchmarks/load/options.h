/* What the command line asks for. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SERVER_PIDS_MAX = 64, WINDOW_MAX = 64 };

struct options {
    const char *mode;
    uint16_t port;
    const char *path;
    size_t clients;
    size_t handshakes; /* at once */
    size_t window;     /* messages of one client that may be on their way */
    size_t in_flight;  /* messages of all clients together; 0: as many as the windows allow */
    double rate;       /* messages per second of all clients together; 0: as fast as answered */
    double seconds;
    double warm_up_s;
    size_t rounds;
    double gap_s; /* between rounds */
    bool is_compressed;
    bool is_socketio;
    bool is_resumable;
    uint8_t *payload;
    size_t payload_size;
    pid_t server_pids[SERVER_PIDS_MAX];
    size_t server_pid_count;
};

/* Ends the program with a message if something is wrong with the arguments. */
struct options options_parse(int argc, char **argv);

#endif
