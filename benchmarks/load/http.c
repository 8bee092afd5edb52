#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failure.h"
#include "meter.h"
#include "modes.h"

enum { RESPONSE_MAX = 8192, BATCH = 64 };

struct requester {
    int fd;
    uint64_t asked_ns;
    size_t have;
    char response[RESPONSE_MAX];
};

struct requesters {
    const struct options *options;
    struct meter meter;
    int epoll;
    char request[512];
    size_t request_size;
};

static void ask(struct requesters *all, struct requester *requester) {
    requester->have = 0;
    requester->asked_ns = now_ns();
    if (send(requester->fd, all->request, all->request_size, MSG_NOSIGNAL) !=
        (ssize_t)all->request_size)
        fail_errno("a request was not sent");
}

/* Waits; the kernel accepts for the server. */
static void requester_connect(struct requesters *all, struct requester *requester) {
    requester->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(all->options->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (connect(requester->fd, (struct sockaddr *)&address, sizeof address))
        fail_errno("connect");
    int yes = 1;
    setsockopt(requester->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = requester};
    if (epoll_ctl(all->epoll, EPOLL_CTL_ADD, requester->fd, &event))
        fail_errno("epoll_ctl");
    ask(all, requester);
}

static bool is_complete(const struct requester *requester) {
    const char *end = strstr(requester->response, "\r\n\r\n");
    if (!end)
        return false;
    const char *length = strcasestr(requester->response, "\r\nContent-Length:");
    if (!length || length > end)
        fail("the response has no Content-Length");
    size_t head_size = (size_t)(end - requester->response) + 4;
    return requester->have >= head_size + (size_t)atoi(length + strlen("\r\nContent-Length:"));
}

static void response_came(struct requesters *all, struct requester *requester) {
    if (strncmp(requester->response, "HTTP/1.1 200", 12))
        fail("the server answers %.*s", (int)strcspn(requester->response, "\r"),
             requester->response);
    meter_add(&all->meter, now_ns() - requester->asked_ns);
    ask(all, requester);
}

static void receive(struct requesters *all, struct requester *requester) {
    size_t room = RESPONSE_MAX - 1 - requester->have;
    ssize_t size = recv(requester->fd, requester->response + requester->have, room, 0);
    if (size < 0 && errno != ECONNRESET)
        fail_errno("recv");
    if (size <= 0) { /* it keeps a connection for so many requests only */
        close(requester->fd);
        requester_connect(all, requester);
        return;
    }
    requester->have += (size_t)size;
    requester->response[requester->have] = 0;
    if (is_complete(requester))
        response_came(all, requester);
    else if (requester->have == RESPONSE_MAX - 1)
        fail("a response has more than %d bytes", RESPONSE_MAX - 1);
}

void run_http(const struct options *options) {
    struct requesters *all = calloc(1, sizeof *all);
    all->options = options;
    all->epoll = epoll_create1(0);
    all->request_size = (size_t)snprintf(all->request, sizeof all->request,
                                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                                         options->path, options->port);
    struct requester *requesters = calloc(options->clients, sizeof *requesters);
    meter_init(&all->meter, options);
    for (size_t i = 0; i < options->clients; i++)
        requester_connect(all, &requesters[i]);
    while (meter_goes_on(&all->meter, now_ns())) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(all->epoll, events, BATCH, 10);
        for (int i = 0; i < count; i++)
            receive(all, events[i].data.ptr);
    }
    meter_print(&all->meter);
    printf("}\n");
}
