/* relay.h - the loop of a program that joins each client to a connection of its own upstream:
 * one thread, epoll. What passes between the two is the program's. */
#ifndef RELAY_H
#define RELAY_H
#include "wsconn.h"

enum { CLIENT, UPSTREAM };

typedef struct {
    conn *side[2];
} pair;

static int ep;

static inline conn *other_side(const conn *c) { return ((pair *)c->user)->side[!c->kind]; }

/* Connects upstream; what is put there before the connection stands is sent then. NULL: it cannot be had. */
static inline conn *join_upstream(pair *pr, int port) {
    int fd = tcp_connect("127.0.0.1", port);
    if (fd < 0) return NULL;
    conn *up = pr->side[UPSTREAM] = conn_new(ep, fd, NULL, UPSTREAM, pr);
    conn_arm(up, 1);
    return up;
}

/* Until SIGINT or SIGTERM. `accepted` (may be NULL) is told of a new client; `serve` is called when a connection
 * has something to read. What returns other than 0 ends both connections of the pair. */
static inline void relay_run(int port, int (*accepted)(pair *), int (*serve)(conn *)) {
    stop_on_signals();
    ep = epoll_create1(EPOLL_CLOEXEC);
    int lfd = tcp_listen(port);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, evs[128];
    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev);
    while (!stop) {
        int n = epoll_wait(ep, evs, 128, 1000);
        for (int i = 0; i < n; i++) {
            conn *c = evs[i].data.ptr;
            if (!c) {
                int fd;
                while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    pair *pr = calloc(1, sizeof *pr);
                    if (!pr) die("calloc");
                    pr->side[CLIENT] = conn_new(ep, fd, NULL, CLIENT, pr);
                    if (accepted && accepted(pr)) conn_close(pr->side[CLIENT]);
                }
                continue;
            }
            int gone = 0;
            if (c->closed) continue;
            if (evs[i].events & EPOLLOUT) gone = conn_flush(c);
            if (!gone && evs[i].events & ~(uint32_t)EPOLLOUT) gone = serve(c);
            if (gone) { /* the structs are kept: an event for the other side may be in this batch */
                conn_close(c);
                if (other_side(c)) conn_close(other_side(c));
            }
        }
    }
}

#endif
