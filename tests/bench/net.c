/* What TLS costs two processes that talk over loopback through src/net/: batches of frames there and back, plain and under
 * TLS turn by turn. Built and run by tests/bench/tls.sh. usage: net DIR (for certificates) [REPS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../src/base/mem.h"
#include "../../src/net/net.h"
#include "../../src/tls/issue.h"

#define SECONDS 1.0

static const struct {
	unsigned frames, bytes;
} shapes[] = {{1, 128}, {64, 128}, {16, 65536}};

static uv_loop_t loop;
static struct net_limits limits;
static unsigned wanted, came, bytes;
static uint64_t rounds, began_ns, took_ns;

static void put(struct net_conn *c, unsigned n)
{
	static uint8_t zeros[65536];

	for (unsigned i = 0; i < n; i++) {
		size_t start = frame_begin(net_conn_out(c));

		buf_put(net_conn_out(c), zeros, bytes);
		frame_end(net_conn_out(c), start, FRAME_RAFT);
	}
	net_conn_flush(c);
}

static void on_frame(struct net_conn *c, const struct frame *f)
{
	bytes = f->len;
	if (++came < wanted)
		return;
	came = 0;
	rounds++;
	if (began_ns == 0) { /* the server: as many back */
		put(c, wanted);
		return;
	}
	took_ns = uv_hrtime() - began_ns;
	if ((double)took_ns > SECONDS * 1e9)
		net_conn_close(c);
	else
		put(c, wanted);
}

static void on_dialled(struct net_conn *c, uint64_t id, uint64_t incarnation)
{
	(void)id;
	(void)incarnation;
	began_ns = uv_hrtime();
	put(c, wanted);
}

static void on_accepted(struct net_conn *c, uint64_t id, uint64_t incarnation)
{
	(void)c;
	(void)id;
	(void)incarnation;
}

static void on_close(struct net_conn *c, const struct rfs_err *err)
{
	(void)c;
	if (err->code != 0 && began_ns != 0)
		(void)fprintf(stderr, "%s\n", err->msg);
	uv_stop(&loop);
}

static struct tls_context *context(const char *dir, struct cert_name who)
{
	struct tls_opts o = {.optional = false};
	struct tls_context *t = NULL;
	struct rfs_err err = {0};

	if (issue_cert(dir, &who, 1, &o.files, &err) != 0 || tls_context_new(&t, &o, &err) != 0)
		(void)fprintf(stderr, "%s\n", err.msg);
	return t;
}

static double cpu_s(int who)
{
	struct rusage u;

	(void)getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void serve(struct tls_context *tls, int port_to)
{
	static const struct net_handler handler = {on_accepted, on_frame, on_close};
	struct net_identity self = {.cluster = "bench", .node_id = 1, .incarnation = 1, .tls = tls};
	struct net_listener *l;
	struct rfs_err err;
	uint16_t port;

	if (net_listen(&l, &loop, &self, &limits, "127.0.0.1", 0, &handler, NULL, &err) != 0)
		exit(1);
	port = net_listener_port(l);
	if (write(port_to, &port, sizeof(port)) != sizeof(port))
		exit(1);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	exit(0);
}

/* Rounds a second, and the processor time of both for one. */
static void measure(struct tls_context *node, struct tls_context *client, double *rate,
                    double *cpu_us)
{
	static const struct net_handler handler = {on_dialled, on_frame, on_close};
	struct net_identity self = {.cluster = "bench", .tls = client};
	double before;
	uint16_t port = 0;
	pid_t child;
	int p[2];

	if (pipe(p) != 0 || (child = fork()) < 0)
		exit(1);
	(void)uv_loop_init(&loop);
	limits = NET_LIMITS_DEFAULT;
	rounds = began_ns = came = 0;
	if (child == 0)
		serve(node, p[1]);
	if (read(p[0], &port, sizeof(port)) != sizeof(port))
		exit(1);
	before = cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN);
	(void)net_dial(&loop, &self, &limits, "127.0.0.1", port, 1, &handler, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	(void)close(p[0]);
	(void)close(p[1]);
	(void)waitpid(child, NULL, 0);
	*rate = (double)rounds / ((double)took_ns / 1e9);
	*cpu_us = (cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN) - before) / (double)rounds * 1e6;
}

int main(int argc, char **argv)
{
	unsigned reps = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
	struct tls_context *node, *client;
	struct rfs_err err = {0};

	if (argc < 2 || issue_ca(argv[1], "bench", &err) != 0) {
		(void)fprintf(stderr, "usage: net DIR [REPS]: %s\n", err.msg);
		return 2;
	}
	node = context(argv[1], (struct cert_name){.role = CERT_NODE, .node_id = 1});
	client = context(argv[1], (struct cert_name){.role = CERT_CLIENT, .name = "bench"});
	for (unsigned r = 0; r < reps; r++)
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
			for (int tls = 0; tls < 2; tls++) {
				double rate, cpu_us;

				wanted = shapes[i].frames;
				bytes = shapes[i].bytes;
				measure(tls ? node : NULL, tls ? client : NULL, &rate, &cpu_us);
				(void)printf(
				        "{\"label\":\"%s\",\"workload\":\"%u frames of %u B and "
				        "back\","
				        "\"threads\":1,\"ops_s\":%.1f,\"srv_cpu_us_op\":%.2f}\n",
				        tls ? "tls" : "plain", wanted, bytes, rate, cpu_us);
				(void)fflush(stdout);
			}
	return 0;
}
