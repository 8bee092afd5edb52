#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

enum { PAYLOAD_MAX = 1 << 20 };

static const char USAGE[] =
    "usage: load echo|stay|broadcast|connect|http --port PORT [options]\n"
    "  --path PATH           of the request (/echo)\n"
    "  --clients N           connections (100)\n"
    "  --handshakes N        of them at once (32)\n"
    "  --payload FILE        what is sent, as it is on the wire (32 times 'x')\n"
    "  --compressed          FILE is deflated already; the server has to deflate, too\n"
    "  --socketio            speak Engine.IO and Socket.IO first; FILE is an event packet\n"
    "  --resumable           speak wshandler.1; FILE is a message with its m\n"
    "  --seconds S           to measure (2)\n"
    "  --warm-up S           before that (0.5)\n"
    "  --window N            echo: messages of one client on their way at once (1)\n"
    "  --in-flight N         echo: of all clients together; they take turns\n"
    "  --rate R              echo, stay: messages per second of all, whatever the answers do\n"
    "  --rounds N            broadcast: how many are measured at most (20); 3, if time is up\n"
    "  --gap S               broadcast: silence before each (0.02)\n"
    "  --server-pids A,B     processes whose time on processors is measured along\n";

static void usage(void) {
    fputs(USAGE, stderr);
    exit(2);
}

static double number(const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || value < least || value > most)
        fail("%s is no number between %g and %g", text, least, most);
    return value;
}

static void payload_load(struct options *options, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_errno("%s", path);
    options->payload = malloc(PAYLOAD_MAX);
    options->payload_size = fread(options->payload, 1, PAYLOAD_MAX, file);
    if (options->payload_size == 0 || options->payload_size == PAYLOAD_MAX)
        fail("%s has %zu bytes; 1 to %d are possible", path, options->payload_size,
             PAYLOAD_MAX - 1);
    fclose(file);
}

static void pids_parse(struct options *options, const char *text) {
    char *copy = strdup(text);
    for (char *pid = strtok(copy, ","); pid; pid = strtok(NULL, ",")) {
        if (options->server_pid_count == SERVER_PIDS_MAX)
            fail("more than %d --server-pids", SERVER_PIDS_MAX);
        options->server_pids[options->server_pid_count++] = (pid_t)number(pid, 1, 1 << 30);
    }
    free(copy);
}

enum option_name {
    PORT = 1, PATH, CLIENTS, HANDSHAKES, PAYLOAD, COMPRESSED, SOCKETIO, RESUMABLE, SECONDS, WARM_UP,
    WINDOW, IN_FLIGHT, RATE, ROUNDS, GAP, SERVER_PIDS
};

static const struct option LONG_OPTIONS[] = {
    {"port", required_argument, NULL, PORT},
    {"path", required_argument, NULL, PATH},
    {"clients", required_argument, NULL, CLIENTS},
    {"handshakes", required_argument, NULL, HANDSHAKES},
    {"payload", required_argument, NULL, PAYLOAD},
    {"compressed", no_argument, NULL, COMPRESSED},
    {"socketio", no_argument, NULL, SOCKETIO},
    {"resumable", no_argument, NULL, RESUMABLE},
    {"seconds", required_argument, NULL, SECONDS},
    {"warm-up", required_argument, NULL, WARM_UP},
    {"window", required_argument, NULL, WINDOW},
    {"in-flight", required_argument, NULL, IN_FLIGHT},
    {"rate", required_argument, NULL, RATE},
    {"rounds", required_argument, NULL, ROUNDS},
    {"gap", required_argument, NULL, GAP},
    {"server-pids", required_argument, NULL, SERVER_PIDS},
    {NULL, 0, NULL, 0},
};

static void option_apply(struct options *options, int name) {
    switch (name) {
    case PORT: options->port = (uint16_t)number(optarg, 1, 65535); break;
    case PATH: options->path = optarg; break;
    case CLIENTS: options->clients = (size_t)number(optarg, 1, 1e6); break;
    case HANDSHAKES: options->handshakes = (size_t)number(optarg, 1, 4096); break;
    case PAYLOAD: payload_load(options, optarg); break;
    case COMPRESSED: options->is_compressed = true; break;
    case SOCKETIO: options->is_socketio = true; break;
    case RESUMABLE: options->is_resumable = true; break;
    case SECONDS: options->seconds = number(optarg, 0.01, 3600); break;
    case WARM_UP: options->warm_up_s = number(optarg, 0, 3600); break;
    case WINDOW: options->window = (size_t)number(optarg, 1, WINDOW_MAX); break;
    case IN_FLIGHT: options->in_flight = (size_t)number(optarg, 1, 1e6); break;
    case RATE: options->rate = number(optarg, 0.1, 1e7); break;
    case ROUNDS: options->rounds = (size_t)number(optarg, 1, 1e4); break;
    case GAP: options->gap_s = number(optarg, 0, 60); break;
    case SERVER_PIDS: pids_parse(options, optarg); break;
    default: usage();
    }
}

struct options options_parse(int argc, char **argv) {
    struct options options = {
        .path = "/echo", .clients = 100, .handshakes = 32, .window = 1, .seconds = 2,
        .warm_up_s = 0.5, .rounds = 20, .gap_s = 0.02,
    };
    if (argc < 2 || argv[1][0] == '-')
        usage();
    options.mode = argv[1];
    for (int name; (name = getopt_long(argc - 1, argv + 1, "", LONG_OPTIONS, NULL)) != -1;)
        option_apply(&options, name);
    if (!options.port || optind != argc - 1)
        usage();
    if (options.in_flight > options.clients)
        fail("--in-flight %zu is more than --clients %zu", options.in_flight, options.clients);
    if (!options.payload) {
        options.payload_size = 32;
        options.payload = malloc(options.payload_size);
        memset(options.payload, 'x', options.payload_size);
    }
    return options;
}
