/* tcp_proxy - the floor below every relay: bytes from one socket to the other, nothing read or changed.
 *
 * One thread, epoll. The load generator speaks the upstream's own JSON through it.
 *
 *   --port N (9200)  --upstream-port N (9100) */
#include "wsconn.h"

static int ep;
static volatile sig_atomic_t stop;
static void on_stop(int s) { (void)s; stop = 1; }

static int serve(conn *c) {
    conn *other = c->user;
    int gone = conn_read(c);
    if (c->in_len > c->in_off) {
        out_put(other, c->in + c->in_off, c->in_len - c->in_off);
        c->in_off = c->in_len;
        if (!other->armed_out && conn_flush(other)) return -1;
    }
    return gone;
}

int main(int ac, char **av) {
    int port = (int)arg_num(ac, av, "--port", 9200), up_port = (int)arg_num(ac, av, "--upstream-port", 9100);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction sa = {.sa_handler = on_stop};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
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
                    int up_fd = tcp_connect("127.0.0.1", up_port);
                    if (up_fd < 0) {
                        close(fd);
                        continue;
                    }
                    conn *client = conn_new(ep, fd, NULL, 0, NULL);
                    client->user = conn_new(ep, up_fd, NULL, 1, client);
                    conn_arm(client->user, 1); /* what comes before the connection stands is sent then */
                }
                continue;
            }
            int gone = 0;
            if (c->closed) continue;
            if (evs[i].events & EPOLLOUT) gone = conn_flush(c);
            if (!gone && evs[i].events & ~(uint32_t)EPOLLOUT) gone = serve(c);
            if (gone) { /* the structs are kept: an event for the other side may be in this batch */
                conn_close(c);
                conn_close(c->user);
            }
        }
    }
    return 0;
}
