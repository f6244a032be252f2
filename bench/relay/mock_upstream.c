/* mock_upstream - a realtime voice service stand-in for the relay bench.
 *
 * WebSocket server on loopback. It sends session.created, answers session.update, and echoes
 * every PCM block it gets in input_audio_buffer.append back inside response.audio.delta events.
 * Blocks that carry a stamp (see wsconn.h) get the mock's receive and send times written in.
 * Keys come in the order, and ids in the varying lengths, that the live service was recorded with.
 *
 *   --port N            listen port                                       (9100)
 *   --block N           bytes of one PCM block                            (960)
 *   --delta-blocks N    blocks echoed in one delta                        (10 -> 9600 bytes, 200 ms)
 *   --ack-every N       uplink-only load: echo just every Nth block       (0 = echo all)
 *   --transcript N      a transcript delta after every Nth audio delta    (1; 0 = never)
 *   --response-deltas N audio deltas in one response before response.done (25)
 *   --create-ms N       audio sent for an explicit response.create        (1000)
 *   --names beta|ga     response.audio.* or response.output_audio.*       (beta)
 *   --require-key 0|1   401 without an api-key or Authorization header    (1)
 *   --cert F --key F    serve TLS
 *
 * Prints one JSON line with its totals when it gets SIGUSR1, and at its end on SIGTERM or SIGINT. */
#include "wsconn.h"

typedef struct {
    uint8_t *acc; /* blocks waiting for the next delta */
    size_t acc_len;
    uint8_t part[65536]; /* start of a block whose rest is in the next append */
    size_t part_len;
    uint64_t blocks, events;
    unsigned deltas, resp_no, sess_no;
    int in_response;
} peer;

static int block = 960, delta_blocks = 10, ack_every, transcript = 1, resp_deltas = 25, create_ms = 1000, require_key = 1;
static const char *audio_name = "response.audio", *text_name = "response.audio_transcript";
static uint64_t n_conns, n_open, n_append, n_bytes, n_delta, n_bad, n_update, n_create, n_cancel;
static volatile sig_atomic_t report;
static void on_report(int s) { (void)s; report = 1; }

static void print_totals(void) {
    printf("{\"connections\":%llu,\"open\":%llu,\"appends\":%llu,\"pcm_bytes\":%llu,\"deltas\":%llu,\"updates\":%llu,"
           "\"creates\":%llu,\"cancels\":%llu,\"bad\":%llu}\n",
           (unsigned long long)n_conns, (unsigned long long)n_open, (unsigned long long)n_append,
           (unsigned long long)n_bytes, (unsigned long long)n_delta, (unsigned long long)n_update,
           (unsigned long long)n_create, (unsigned long long)n_cancel, (unsigned long long)n_bad);
    fflush(stdout);
}

static void text(conn *c, const char *fmt, ...) {
    char buf[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    ws_put(c, WS_TEXT, buf, (size_t)n, 0);
}

#define EVENT(c, p, type, fmt, ...)                                                                        \
    do {                                                                                                   \
        text(c, "{\"event_id\":\"event_%06x%0*llx\",\"type\":\"%s\"" fmt "}", (p)->sess_no,                  \
             14 + (int)((p)->events % 3), (unsigned long long)(p)->events, type, ##__VA_ARGS__);           \
        (p)->events++;                                                                                     \
    } while (0)

static void response_begin(conn *c, peer *p) {
    if (p->in_response) return;
    p->in_response = 1;
    p->deltas = 0;
    p->resp_no++;
    EVENT(c, p, "response.created",
          ",\"response\":{\"id\":\"resp_%08x%04x\",\"object\":\"realtime.response\",\"status\":\"in_progress\","
          "\"output\":[]}",
          p->sess_no, p->resp_no);
}

static void response_end(conn *c, peer *p, const char *status) {
    char type[64];
    if (!p->in_response) return;
    p->in_response = 0;
    snprintf(type, sizeof type, "%s.done", audio_name);
    EVENT(c, p, type,
          ",\"response_id\":\"resp_%08x%04x\",\"item_id\":\"item_%08x%04x\",\"output_index\":0,\"content_index\":0",
          p->sess_no, p->resp_no, p->sess_no, p->resp_no);
    EVENT(c, p, "response.done",
          ",\"response\":{\"id\":\"resp_%08x%04x\",\"object\":\"realtime.response\",\"status\":\"%s\",\"output\":[]}",
          p->sess_no, p->resp_no, status);
}

static void send_delta(conn *c, peer *p, uint8_t *pcm, size_t n) {
    char head[512];
    response_begin(c, p);
    uint64_t t = now_ns();
    for (size_t o = 0; o + sizeof(stamp) <= n; o += (size_t)block) {
        stamp *s = (stamp *)(pcm + o);
        if (s->magic == STAMP_MAGIC) s->t_mock_tx = t;
    }
    int h = snprintf(head, sizeof head,
                     "{\"event_id\":\"event_%06x%0*llx\",\"type\":\"%s.delta\",\"response_id\":\"resp_%08x%04x\","
                     "\"item_id\":\"item_%08x%04x\",\"output_index\":0,\"content_index\":0,\"delta\":\"",
                     p->sess_no, 14 + (int)(p->events % 3), (unsigned long long)p->events, audio_name, p->sess_no,
                     p->resp_no, p->sess_no, p->resp_no);
    p->events++;
    size_t total = (size_t)h + b64_len(n) + 2;
    uint8_t *w = ws_begin(c, WS_TEXT, total, 0);
    memcpy(w, head, (size_t)h);
    size_t e = b64_enc(pcm, n, w + h);
    memcpy(w + h + e, "\"}", 2);
    ws_end(c, w, total, 0);
    n_delta++;
    p->deltas++;
    if (transcript && p->deltas % (unsigned)transcript == 0) {
        char type[64];
        snprintf(type, sizeof type, "%s.delta", text_name);
        EVENT(c, p, type,
              ",\"response_id\":\"resp_%08x%04x\",\"item_id\":\"item_%08x%04x\",\"output_index\":0,"
              "\"content_index\":0,\"delta\":\" word %u\"",
              p->sess_no, p->resp_no, p->sess_no, p->resp_no, p->deltas);
    }
    if (p->deltas >= (unsigned)resp_deltas) response_end(c, p, "completed");
}

static void take_block(conn *c, peer *p, const uint8_t *b, uint64_t t) {
    p->blocks++;
    if (ack_every && p->blocks % (uint64_t)ack_every) return;
    uint8_t *d = p->acc + p->acc_len;
    memcpy(d, b, (size_t)block);
    stamp *s = (stamp *)d;
    if (s->magic == STAMP_MAGIC) s->t_mock_rx = t;
    p->acc_len += (size_t)block;
    if (ack_every || p->acc_len >= (size_t)block * (size_t)delta_blocks) {
        send_delta(c, p, p->acc, p->acc_len);
        p->acc_len = 0;
    }
}

static void take_audio(conn *c, peer *p, const uint8_t *b64, size_t n) {
    static uint8_t pcm[1 << 22];
    uint64_t t = now_ns();
    n_append++;
    if (n / 4 * 3 + 16 > sizeof pcm) {
        n_bad++;
        return;
    }
    long got = b64_dec(b64, n, pcm);
    if (got < 0) {
        n_bad++;
        EVENT(c, p, "error", ",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"audio is not base64\"}");
        return;
    }
    n_bytes += (uint64_t)got;
    size_t o = 0, len = (size_t)got;
    if (p->part_len) {
        size_t need = (size_t)block - p->part_len, k = len < need ? len : need;
        memcpy(p->part + p->part_len, pcm, k);
        p->part_len += k;
        o = k;
        if (p->part_len < (size_t)block) return;
        p->part_len = 0;
        take_block(c, p, p->part, t);
    }
    for (; o + (size_t)block <= len; o += (size_t)block) take_block(c, p, pcm + o, t);
    p->part_len = len - o;
    memcpy(p->part, pcm + o, p->part_len);
}

static int is(const char *v, size_t n, const char *s) { return n == strlen(s) && !memcmp(v, s, n); }

static void take_event(conn *c, peer *p, const char *j, size_t n) {
    const char *type, *v;
    size_t tn, vn;
    if (!json_top(j, n, "type", &type, &tn)) {
        n_bad++;
        EVENT(c, p, "error", ",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no type\"}");
    } else if (is(type, tn, "input_audio_buffer.append")) {
        if (json_top(j, n, "audio", &v, &vn)) take_audio(c, p, (const uint8_t *)v, vn);
        else n_bad++;
    } else if (is(type, tn, "session.update")) {
        n_update++;
        EVENT(c, p, "session.updated", ",\"session\":{\"id\":\"sess_%08x\"}", p->sess_no);
    } else if (is(type, tn, "response.create")) {
        static uint8_t pcm[1 << 20];
        size_t left = (size_t)create_ms * 48, step = (size_t)block * (size_t)delta_blocks;
        n_create++;
        response_begin(c, p);
        memset(pcm, 0, step < sizeof pcm ? step : sizeof pcm);
        while (left && p->in_response) {
            size_t k = left < step ? left : step;
            send_delta(c, p, pcm, k);
            left -= k;
        }
        response_end(c, p, "completed");
    } else if (is(type, tn, "response.cancel")) {
        n_cancel++;
        if (p->in_response) response_end(c, p, "cancelled");
        else
            EVENT(c, p, "error", ",\"error\":{\"type\":\"invalid_request_error\",\"code\":\"response_cancel_not_active\","
                                 "\"message\":\"no active response\"}");
    } else if (is(type, tn, "input_audio_buffer.clear")) {
        p->part_len = p->acc_len = 0;
        EVENT(c, p, "input_audio_buffer.cleared", "");
    } else if (is(type, tn, "input_audio_buffer.commit")) {
        EVENT(c, p, "input_audio_buffer.committed", ",\"item_id\":\"item_%08x_in\"", p->sess_no);
    } else {
        n_bad++;
        EVENT(c, p, "error", ",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"unknown event\"}");
    }
}

/* -1: drop the connection. */
static int upgrade(conn *c, peer *p) {
    size_t total;
    char *head = http_head(c, &total), tmp[8];
    if (!head) return 0;
    int known = strstr(head, "/realtime") && strstr(head, "/realtime") < strstr(head, "\r\n");
    int keyed = http_header(head, "api-key", tmp, sizeof tmp) || http_header(head, "Authorization", tmp, sizeof tmp);
    const char *deny = !known ? "404 Not Found" : require_key && !keyed ? "401 Unauthorized" : NULL;
    if (deny) {
        char res[128];
        int n = snprintf(res, sizeof res, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", deny);
        out_put(c, res, (size_t)n);
        conn_flush(c);
        return -1;
    }
    if (ws_server_upgrade(c, head)) return -1;
    c->in_off += total;
    EVENT(c, p, "session.created",
          ",\"session\":{\"id\":\"sess_%08x\",\"object\":\"realtime.session\",\"model\":\"mock\",\"modalities\":"
          "[\"text\",\"audio\"],\"voice\":\"mock\",\"input_audio_format\":\"pcm16\",\"output_audio_format\":\"pcm16\"}",
          p->sess_no);
    return 0;
}

static int serve(conn *c) {
    peer *p = c->user;
    uint8_t *d;
    size_t n;
    int gone = conn_read(c), op;
    if (!c->upgraded && upgrade(c, p)) return -1;
    while (c->upgraded && (op = ws_next(c, &d, &n, 0))) {
        if (op < 0) return -1;
        if (op == WS_TEXT) take_event(c, p, (const char *)d, n);
    }
    if (conn_flush(c)) return -1;
    return gone;
}

int main(int ac, char **av) {
    int port = (int)arg_num(ac, av, "--port", 9100);
    block = (int)arg_num(ac, av, "--block", block);
    delta_blocks = (int)arg_num(ac, av, "--delta-blocks", delta_blocks);
    ack_every = (int)arg_num(ac, av, "--ack-every", 0);
    transcript = (int)arg_num(ac, av, "--transcript", transcript);
    resp_deltas = (int)arg_num(ac, av, "--response-deltas", resp_deltas);
    create_ms = (int)arg_num(ac, av, "--create-ms", create_ms);
    require_key = (int)arg_num(ac, av, "--require-key", 1);
    if (!strcmp(arg_str(ac, av, "--names", "beta"), "ga")) {
        audio_name = "response.output_audio";
        text_name = "response.output_audio_transcript";
    }
    const char *cert = arg_str(ac, av, "--cert", NULL), *key = arg_str(ac, av, "--key", NULL);
    if (block < (int)sizeof(stamp) || block > 65536 || delta_blocks < 1 || block * delta_blocks > 1 << 20) {
        fprintf(stderr, "--block must be %zu..65536 and a delta at most 1 MiB\n", sizeof(stamp));
        return 2;
    }
    SSL_CTX *tls = NULL;
    if (cert && key) {
        tls = SSL_CTX_new(TLS_server_method());
        if (!tls || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
            fprintf(stderr, "cannot load the certificate or key\n");
            return 2;
        }
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    stop_on_signals();
    struct sigaction sa = {.sa_handler = on_report};
    sigaction(SIGUSR1, &sa, NULL);

    int ep = epoll_create1(EPOLL_CLOEXEC), lfd = tcp_listen(port);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, evs[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev);
    while (!stop) {
        int n = epoll_wait(ep, evs, 256, 1000);
        if (report) {
            report = 0;
            print_totals();
        }
        for (int i = 0; i < n; i++) {
            conn *c = evs[i].data.ptr;
            if (!c) {
                int fd;
                while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    peer *p = calloc(1, sizeof *p);
                    if (!p || !(p->acc = malloc((size_t)block * (size_t)delta_blocks))) die("malloc");
                    p->sess_no = (unsigned)++n_conns;
                    n_open++;
                    SSL *ssl = NULL;
                    if (tls) {
                        ssl = SSL_new(tls);
                        SSL_set_fd(ssl, fd);
                        SSL_set_accept_state(ssl);
                    }
                    conn_new(ep, fd, ssl, 0, p);
                }
                continue;
            }
            int gone = 0;
            if (evs[i].events & EPOLLOUT) gone = conn_flush(c);
            if (!gone && evs[i].events & ~(uint32_t)EPOLLOUT) gone = serve(c);
            if (gone) {
                peer *p = c->user;
                conn_close(c);
                free(p->acc);
                free(p);
                free(c);
                n_open--;
            }
        }
    }
    print_totals();
    return 0;
}
