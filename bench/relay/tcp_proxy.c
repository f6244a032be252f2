/* tcp_proxy - the floor below every relay: bytes from one socket to the other, nothing read or changed.
 *
 * One thread, epoll. The load generator speaks the upstream's own JSON through it.
 *
 *   --port N (9200)  --upstream-port N (9100) */
#include "relay.h"

static int up_port;

static int accepted(pair *pr) { return join_upstream(pr, up_port) ? 0 : -1; }

static int serve(conn *c) {
    conn *other = other_side(c);
    int gone = conn_read(c);
    if (c->in_len > c->in_off) {
        out_put(other, c->in + c->in_off, c->in_len - c->in_off);
        c->in_off = c->in_len;
        if (!other->armed_out && conn_flush(other)) return -1;
    }
    return gone;
}

int main(int ac, char **av) {
    int port = (int)arg_num(ac, av, "--port", 9200);
    up_port = (int)arg_num(ac, av, "--upstream-port", 9100);
    relay_run(port, accepted, serve);
    return 0;
}
