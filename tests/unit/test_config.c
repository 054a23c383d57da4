/* cluster.toml: what a good file gives, and for each kind of bad one the sentence with file, line
 * and key. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../src/base/buf.h"
#include "../../src/base/op.h"
#include "../../src/config/config.h"

#define NAMED "[cluster]\nname = \"demo\"\n" /* two lines */
#define NODE  "[[node]]\nid = 1\nhost = \"127.0.0.1\"\nport = 7001\n"

static char dir[256], file[300];
static struct config cfg;
static struct rfs_err err;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, sizeof(dir), "%s/config.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	(void)snprintf(file, sizeof(file), "%s/cluster.toml", dir);
	(void)unsetenv("RAFTFS_CLUSTER");
	(void)unsetenv("XDG_DATA_HOME");
	err = (struct rfs_err){0};
}

static void teardown(void)
{
	(void)unlink(file);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void put(const char *path, const void *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	(void)close(fd);
}

static int load(const char *text)
{
	put(file, text, strlen(text));
	err = (struct rfs_err){0};
	return config_load(&cfg, file, &err);
}

/* The file must be refused with a sentence that starts with "cluster.toml:LINE: " and holds both
 * words. */
static void refused_bytes(const void *text, size_t n, unsigned line, const char *key,
                          const char *why)
{
	char start[400];
	int rc;

	put(file, text, n);
	err = (struct rfs_err){0};
	rc = config_load(&cfg, file, &err);
	(void)snprintf(start, sizeof(start), "%s:%u: %s", file, line, key);
	ck_assert_msg(rc == RFS_ECONFIG && err.code == RFS_ECONFIG, "accepted: %s",
	              (const char *)text);
	ck_assert_msg(strncmp(err.msg, start, strlen(start)) == 0, "wanted \"%s\", got \"%s\"",
	              start, err.msg);
	ck_assert_msg(strstr(err.msg, why) != NULL, "wanted \"%s\" in \"%s\"", why, err.msg);
}

static void refused(const char *text, unsigned line, const char *key, const char *why)
{
	refused_bytes(text, strlen(text), line, key, why);
}

/* ---- good files ---- */

START_TEST(test_a_full_file_gives_every_value)
{
	ck_assert_msg(load("[cluster]\nname = \"prod-1.a_b\"\ndata_directory = \"./data\"\n"
	                   "[raft]\nelection_timeout_ms = { min = 1000, max = 2000 "
	                   "}\nheartbeat_interval_ms = 100\n"
	                   "[client]\nsession_timeout_ms = 30000\n" NODE
	                   "[[node]]\nid = 2147483647\nhost = \"::1\"\nport = 65535\n"
	                   "[[node]]\nid = 3\nhost = \"db.example.com\"\nport = 1\n") == 0,
	              "%s", err.msg);
	ck_assert_str_eq(cfg.name, "prod-1.a_b");
	ck_assert_str_eq(cfg.path, file);
	ck_assert(strncmp(cfg.data_directory, dir, strlen(dir)) == 0);
	ck_assert_str_eq(cfg.data_directory + strlen(dir), "/data");
	ck_assert_uint_eq(cfg.election_min_ms, 1000);
	ck_assert_uint_eq(cfg.election_max_ms, 2000);
	ck_assert_uint_eq(cfg.heartbeat_ms, 100);
	ck_assert_uint_eq(cfg.session_timeout_ms, 30000);
	ck_assert_uint_eq(cfg.n_nodes, 3);
	ck_assert_uint_eq(cfg.nodes[0].id, 1);
	ck_assert_str_eq(cfg.nodes[1].host, "::1");
	ck_assert_uint_eq(cfg.nodes[1].port, 65535);
	ck_assert_ptr_eq(config_node_by_id(&cfg, 2147483647), &cfg.nodes[1]);
	ck_assert_ptr_null(config_node_by_id(&cfg, 2));
}
END_TEST

START_TEST(test_what_may_be_left_out_gets_its_default)
{
	ck_assert_msg(load(NAMED NODE) == 0, "%s", err.msg);
	ck_assert_str_eq(cfg.data_directory + strlen(dir), "/data");
	ck_assert_uint_eq(cfg.election_min_ms, 150);
	ck_assert_uint_eq(cfg.election_max_ms, 300);
	ck_assert_uint_eq(cfg.heartbeat_ms, 50);
	ck_assert_uint_eq(cfg.session_timeout_ms, 10000);
	ck_assert_uint_eq(cfg.protocol_version_max, FS_VERSION_MAX);
}
END_TEST

START_TEST(test_a_node_can_be_held_at_an_older_protocol_version)
{
	ck_assert_msg(load(NAMED "protocol_version_max = 1\n" NODE) == 0, "%s", err.msg);
	ck_assert_uint_eq(cfg.protocol_version_max, 1);
	refused(NAMED "protocol_version_max = 0\n" NODE, 3, "cluster.protocol_version_max",
	        "must be from 1 to 2, is 0");
	refused(NAMED "protocol_version_max = 3\n" NODE, 3, "cluster.protocol_version_max",
	        "must be from 1 to 2, is 3");
	refused(NAMED "protocol_version_max = \"1\"\n" NODE, 3, "cluster.protocol_version_max",
	        "whole number");
}
END_TEST

START_TEST(test_data_directory_may_be_absolute_and_a_relative_one_follows_the_file)
{
	ck_assert_int_eq(load("[cluster]\nname = \"a\"\ndata_directory = \"/srv/x\"\n" NODE), 0);
	ck_assert_str_eq(cfg.data_directory, "/srv/x");
	ck_assert_int_eq(load("[cluster]\nname = \"a\"\ndata_directory = \"../x\"\n" NODE), 0);
	ck_assert_str_eq(cfg.data_directory + strlen(dir), "/../x");
	/* loaded by a bare name: still beside the file */
	ck_assert_int_eq(config_load(&cfg, "cluster.toml", &err), 0);
	ck_assert_str_eq(cfg.data_directory + strlen(dir), "/../x");
}
END_TEST

START_TEST(test_a_fixed_election_timeout_is_allowed)
{
	ck_assert_msg(load(NAMED "[raft]\nelection_timeout_ms = { min = 51, max = 51 }\n" NODE) ==
	                      0,
	              "%s", err.msg);
}
END_TEST

START_TEST(test_a_refused_file_leaves_the_configuration_alone)
{
	ck_assert_int_eq(load(NAMED NODE), 0);
	ck_assert_int_eq(load("[cluster]\nname = \"other\"\n"), RFS_ECONFIG);
	ck_assert_str_eq(cfg.name, "demo");
}
END_TEST

/* ---- bad files ---- */

START_TEST(test_malformed_text_is_refused_with_its_line)
{
	refused("[cluster]\nname = demo\n", 2, "", "");
	refused("[cluster\n", 1, "", "");
	refused(NAMED "name = \"again\"\n" NODE, 3, "", "");
	refused(NAMED "[cluster]\n" NODE, 3, "", "");
	refused("\xff\xfe", 1, "", "");
	refused("[cluster]\nname = \"d\xe9mo\"\n", 2, "", "");
	refused_bytes("[cluster]\n\0\n", 12, 2, "", "");
}
END_TEST

START_TEST(test_unknown_keys_and_tables_are_refused)
{
	refused(NAMED "[raftt]\n" NODE, 3, "raftt",
	        "unknown key; known tables and keys here: cluster, raft, client");
	refused("devel = true\n" NAMED NODE, 1, "devel", "unknown key");
	refused(NAMED "data_dir = \"x\"\n" NODE, 3, "cluster.data_dir",
	        "known here: name, data_directory");
	refused(NAMED "[raft]\nheartbeat_ms = 5\n" NODE, 4, "raft.heartbeat_ms",
	        "heartbeat_interval_ms");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 150, max = 300, mid = 200 }\n" NODE, 4,
	        "raft.election_timeout_ms.mid", "known here: min, max");
	refused(NAMED "[client]\ntimeout = 5\n" NODE, 4, "client.timeout", "session_timeout_ms");
	refused(NAMED NODE "weight = 9\n", 7, "node.weight", "known here: id, host, port");
}
END_TEST

START_TEST(test_metrics_have_a_place_of_their_own)
{
	ck_assert_msg(load(NAMED NODE "metrics_port = 9000\n"
	                              "[[node]]\nid = 2\nhost = \"::1\"\nport = 7002\n"
	                              "metrics_port = 9000\nmetrics_host = \"0.0.0.0\"\n"
	                              "[[node]]\nid = 3\nhost = \"::1\"\nport = 7003\n") == 0,
	              "%s", err.msg);
	ck_assert_uint_eq(cfg.nodes[0].metrics_port, 9000);
	ck_assert_str_eq(cfg.nodes[0].metrics_host, "127.0.0.1");
	ck_assert_str_eq(cfg.nodes[1].metrics_host, "0.0.0.0");
	ck_assert_uint_eq(cfg.nodes[2].metrics_port, 0);
	refused(NAMED NODE "metrics_port = 65536\n", 7, "node.metrics_port", "from 1 to 65535");
	refused(NAMED NODE "metrics_host = \"::1\"\n", 7, "node.metrics_host",
	        "means nothing without metrics_port");
	refused(NAMED NODE "metrics_port = 9000\n[[node]]\nid = 2\nhost = \"::1\"\nport = 7002\n"
	                   "metrics_port = 9000\n",
	        12, "node.metrics_port", "already an address of node 1");
}
END_TEST

START_TEST(test_wrong_types_are_refused)
{
	refused("cluster = \"demo\"\n" NODE, 1, "cluster", "must be a table, is a string");
	refused("[cluster]\nname = 5\n" NODE, 2, "cluster.name",
	        "must be a string, is a whole number");
	refused(NAMED "data_directory = [\"x\"]\n" NODE, 3, "cluster.data_directory",
	        "is an array");
	refused("raft = 1\n" NAMED NODE, 1, "raft", "must be a table");
	refused(NAMED "[raft]\nelection_timeout_ms = 150\n" NODE, 4, "raft.election_timeout_ms",
	        "must be a table");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = \"1\", max = 2 }\n" NODE, 4,
	        "raft.election_timeout_ms.min", "must be a whole number, is a string");
	refused(NAMED "[raft]\nheartbeat_interval_ms = 50.0\n" NODE, 4,
	        "raft.heartbeat_interval_ms", "is a number with a fraction");
	refused(NAMED "[client]\nsession_timeout_ms = true\n" NODE, 4, "client.session_timeout_ms",
	        "is true or false");
	refused(NAMED "[node]\nid = 1\n", 3, "node", "must be written as [[node]]");
	refused("node = [1]\n" NAMED, 1, "node", "must be a table, is a whole number");
	refused(NAMED "[[node]]\nid = \"1\"\n", 4, "node.id", "must be a whole number");
	refused(NAMED "[[node]]\nid = 1\nhost = 2026-11-20\n", 5, "node.host",
	        "is a date or a time");
	refused(NAMED "[[node]]\nid = 1\nhost = \"h\"\nport = \"7001\"\n", 6, "node.port",
	        "must be a whole number");
}
END_TEST

START_TEST(test_the_name_must_be_there_and_be_a_name)
{
	char text[400], name[CONFIG_NAME_MAX + 2];

	refused(NODE, 1, "cluster.name", "is missing");
	refused("", 1, "cluster.name", "is missing");
	refused(NODE "[cluster]\n", 5, "cluster.name", "is missing");
	refused("[cluster]\nname = \"\"\n" NODE, 2, "cluster.name", "must not be empty");
	refused("[cluster]\nname = \"a b\"\n" NODE, 2, "cluster.name", "letters, digits");
	refused("[cluster]\nname = \"a/b\"\n" NODE, 2, "cluster.name", "letters, digits");
	refused("[cluster]\nname = \"d\xc3\xa9mo\"\n" NODE, 2, "cluster.name", "letters, digits");
	refused("[cluster]\nname = \"a\\u0000b\"\n" NODE, 2, "cluster.name", "NUL");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(text, sizeof(text), "[cluster]\nname = \"%s\"\n%s", name, NODE);
	refused(text, 2, "cluster.name", "at most 63 bytes, has 64");
	(void)snprintf(text, sizeof(text), "[cluster]\nname = \"%s\"\n%s", name + 1, NODE);
	ck_assert_int_eq(load(text), 0);
}
END_TEST

START_TEST(test_the_data_directory_must_fit)
{
	struct buf b;

	refused(NAMED "data_directory = \"\"\n" NODE, 3, "cluster.data_directory",
	        "must not be empty");
	buf_init(&b);
	buf_printf(&b, "%sdata_directory = \"", NAMED);
	memset(buf_reserve(&b, 4095), 'd', 4095);
	b.len += 4095;
	buf_printf(&b, "\"\n%s", NODE);
	refused_bytes(b.data, b.len, 3, "cluster.data_directory", "too long");
	buf_free(&b);
}
END_TEST

START_TEST(test_timeouts_must_make_sense_together)
{
	refused(NAMED "[raft]\nheartbeat_interval_ms = 150\n" NODE, 4, "raft.heartbeat_interval_ms",
	        "heartbeat >= election timeout: 150 must be below raft.election_timeout_ms.min, "
	        "which is 150");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 30, max = 60 }\n" NODE, 4,
	        "raft.heartbeat_interval_ms", "50 (the default)");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 301, max = 300 }\n" NODE, 4,
	        "raft.election_timeout_ms", "min (301) must not be above max (300)");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 150 }\n" NODE, 4,
	        "raft.election_timeout_ms.max", "is missing");
	refused(NAMED "[raft]\nelection_timeout_ms = { max = 150 }\n" NODE, 4,
	        "raft.election_timeout_ms.min", "is missing");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 0, max = 150 }\n" NODE, 4,
	        "raft.election_timeout_ms.min", "must be from 1 to 60000, is 0");
	refused(NAMED "[raft]\nelection_timeout_ms = { min = 100, max = 60001 }\n" NODE, 4,
	        "raft.election_timeout_ms.max", "is 60001");
	refused(NAMED "[raft]\nheartbeat_interval_ms = 0\n" NODE, 4, "raft.heartbeat_interval_ms",
	        "is 0");
	refused(NAMED "[raft]\nheartbeat_interval_ms = -9223372036854775808\n" NODE, 4,
	        "raft.heartbeat_interval_ms", "must be from 1");
	refused(NAMED "[client]\nsession_timeout_ms = 999\n" NODE, 4, "client.session_timeout_ms",
	        "must be from 1000 to 3600000");
	refused(NAMED "[client]\nsession_timeout_ms = 3600001\n" NODE, 4,
	        "client.session_timeout_ms", "is 3600001");
}
END_TEST

START_TEST(test_there_must_be_nodes_and_not_too_many)
{
	struct buf b;

	refused(NAMED, 1, "node", "there is none");
	refused("node = []\n" NAMED, 1, "node", "there is none");
	buf_init(&b);
	buf_printf(&b, "%s", NAMED);
	for (int i = 1; i <= CONFIG_NODES_MAX + 1; i++)
		buf_printf(&b, "[[node]]\nid = %d\nhost = \"h\"\nport = %d\n", i, i);
	refused_bytes(b.data, b.len, 2 + 4 * CONFIG_NODES_MAX + 1, "node", "more than 15 nodes");
	buf_free(&b);
}
END_TEST

START_TEST(test_each_node_needs_id_host_and_port_in_range)
{
	refused(NAMED "[[node]]\nhost = \"h\"\nport = 1\n", 3, "node.id", "is missing");
	refused(NAMED "[[node]]\nid = 1\nport = 1\n", 3, "node.host", "is missing");
	refused(NAMED "[[node]]\nid = 1\nhost = \"h\"\n", 3, "node.port", "is missing");
	refused(NAMED "[[node]]\nid = 0\n", 4, "node.id", "must be from 1 to 2147483647, is 0");
	refused(NAMED "[[node]]\nid = 2147483648\n", 4, "node.id", "is 2147483648");
	refused(NAMED "[[node]]\nid = -1\n", 4, "node.id", "is -1");
	refused(NAMED "[[node]]\nid = 1\nhost = \"h\"\nport = 0\n", 6, "node.port",
	        "must be from 1 to 65535, is 0");
	refused(NAMED "[[node]]\nid = 1\nhost = \"h\"\nport = 65536\n", 6, "node.port", "is 65536");
}
END_TEST

START_TEST(test_a_host_must_be_one_that_others_can_dial)
{
	static const char *const bad[] = {"a b",     "h:1", "-h",      "127.0.0.256", "1.2.3",
	                                  "0.0.0.0", "::",  "[::1]",   ":",           "fe80::1%",
	                                  "a/b",     ".h",  "12345::z"};
	static const char *const good[] = {"h",           "a-b.c_d", "10.0.0.1", "fe80::1%eth0",
	                                   "2001:db8::7", "node1."};
	char text[200];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text),
		               NAMED "[[node]]\nid = 1\nhost = \"%s\"\nport = 1\n", bad[i]);
		refused(text, 5, "node.host", "is not a host name or an address");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		(void)snprintf(text, sizeof(text),
		               NAMED "[[node]]\nid = 1\nhost = \"%s\"\nport = 1\n", good[i]);
		ck_assert_msg(load(text) == 0, "%s", err.msg);
	}
	refused(NAMED "[[node]]\nid = 1\nhost = \"\"\nport = 1\n", 5, "node.host",
	        "must not be empty");
}
END_TEST

START_TEST(test_two_nodes_must_not_share_an_id_or_an_address)
{
	refused(NAMED NODE "[[node]]\nid = 1\nhost = \"h\"\nport = 1\n", 8, "node.id",
	        "1 is already the id of the node in line 3");
	refused(NAMED NODE "[[node]]\nid = 2\nhost = \"127.0.0.1\"\nport = 7001\n", 10, "node.port",
	        "127.0.0.1:7001 is already the address of node 1 in line 3");
	refused(NAMED "[[node]]\nid = 1\nhost = \"Host\"\nport = 1\n[[node]]\nid = 2\nhost = "
	              "\"hOST\"\nport = 1\n",
	        10, "node.port", "already the address of node 1");
	ck_assert_int_eq(load(NAMED NODE "[[node]]\nid = 2\nhost = \"127.0.0.2\"\nport = 7001\n"),
	                 0);
}
END_TEST

START_TEST(test_a_file_that_cannot_be_read_is_named)
{
	ck_assert_int_eq(config_load(&cfg, "nowhere.toml", &err), -ENOENT);
	ck_assert_str_eq(err.msg, "nowhere.toml: No such file or directory");
	ck_assert_int_eq(config_load(&cfg, dir, &err), -EISDIR);
	ck_assert_ptr_nonnull(strstr(err.msg, dir));
}
END_TEST

START_TEST(test_a_huge_file_is_refused)
{
	size_t n = (1u << 20) + 1;
	char *text = malloc(n);

	ck_assert_ptr_nonnull(text);
	memset(text, '\n', n);
	put(file, text, n);
	ck_assert_int_eq(config_load(&cfg, file, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "larger than 1048576 bytes"));
	memcpy(text, NAMED NODE, strlen(NAMED NODE));
	put(file, text, n - 1);
	ck_assert_msg(config_load(&cfg, file, &err) == 0, "%s", err.msg);
	free(text);
}
END_TEST

/* ---- finding ---- */

START_TEST(test_find_prefers_the_flag_then_the_variable_then_the_current_folder)
{
	char path[CONFIG_PATH_MAX], other[300];

	put(file, NAMED NODE, strlen(NAMED NODE));
	ck_assert_int_eq(config_find(NULL, path, &err), 0);
	ck_assert_str_eq(path, file);
	ck_assert_int_eq(config_find("./cluster.toml", path, &err), 0);
	ck_assert_str_eq(path, file);
	(void)snprintf(other, sizeof(other), "%s/other.toml", dir);
	put(other, "", 0);
	(void)setenv("RAFTFS_CLUSTER", "other.toml", 1);
	ck_assert_int_eq(config_find(NULL, path, &err), 0);
	ck_assert_str_eq(path, other);
	ck_assert_int_eq(config_find(file, path, &err), 0);
	ck_assert_str_eq(path, file);
	(void)setenv("RAFTFS_CLUSTER", "", 1);
	ck_assert_int_eq(config_find(NULL, path, &err), 0);
	ck_assert_str_eq(path, file);
	(void)unlink(other);
}
END_TEST

START_TEST(test_find_says_where_it_looked_and_who_named_what_is_not_there)
{
	char path[CONFIG_PATH_MAX];

	if (access("/etc/raftfs/cluster.toml", F_OK) != 0) {
		ck_assert_int_eq(config_find(NULL, path, &err), -ENOENT);
		ck_assert_ptr_nonnull(strstr(err.msg, "$RAFTFS_CLUSTER, ./cluster.toml"));
	}
	ck_assert_int_eq(config_find("gone.toml", path, &err), RFS_ECONFIG);
	ck_assert_str_eq(err.msg, "gone.toml: No such file or directory (named by --cluster)");
	(void)setenv("RAFTFS_CLUSTER", "gone.toml", 1);
	ck_assert_int_eq(config_find(NULL, path, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "$RAFTFS_CLUSTER"));
	ck_assert_int_eq(config_find("", path, &err), RFS_ECONFIG);
}
END_TEST

START_TEST(test_the_embedded_node_has_a_folder_and_a_configuration)
{
	char path[CONFIG_PATH_MAX];

	(void)setenv("XDG_DATA_HOME", "/x/y", 1);
	ck_assert_int_eq(config_embedded_dir(path, &err), 0);
	ck_assert_str_eq(path, "/x/y/raftfs");
	(void)setenv("XDG_DATA_HOME", "relative", 1);
	(void)setenv("HOME", "/home/u", 1);
	ck_assert_int_eq(config_embedded_dir(path, &err), 0);
	ck_assert_str_eq(path, geteuid() == 0 ? "/var/lib/raftfs" : "/home/u/.local/share/raftfs");
	config_single(&cfg, "/x/y/raftfs", 0);
	ck_assert_str_eq(cfg.name, "local");
	ck_assert_str_eq(cfg.path, "");
	ck_assert_str_eq(cfg.data_directory, "/x/y/raftfs");
	ck_assert_uint_eq(cfg.n_nodes, 1);
	ck_assert_str_eq(config_node_by_id(&cfg, 1)->host, "127.0.0.1");
	ck_assert_uint_lt(cfg.heartbeat_ms, cfg.election_min_ms);
}
END_TEST

/* ---- endpoints ---- */

START_TEST(test_endpoints_come_back_as_they_went_in)
{
	static const char *const good[] = {"127.0.0.1:7001", "[::1]:1", "db.example.com:65535",
	                                   "[fe80::1%eth0]:80"};
	char host[CONFIG_HOST_MAX + 1], text[300];
	uint16_t port;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(config_parse_endpoint(good[i], host, &port) == 0, "%s", good[i]);
		config_format_endpoint(host, port, text, sizeof(text));
		ck_assert_str_eq(text, good[i]);
	}
}
END_TEST

START_TEST(test_what_is_no_endpoint_is_refused)
{
	static const char *const bad[] = {"",         ":",        "h",        "h:",    ":1",
	                                  "h:0",      "h:65536",  "h:-1",     "h:1x",  "h: 1",
	                                  "::1:7001", "[::1]",    "[]:1",     "[h]:1", "[::1:1",
	                                  "::1]:1",   "h:00001x", "h:999999", "a b:1", "[::1]x:1"};
	char host[CONFIG_HOST_MAX + 1], large[400];
	uint16_t port;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(config_parse_endpoint(bad[i], host, &port) == -EINVAL, "%s", bad[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(config_parse_listen(bad[i], host, &port) == -EINVAL, "%s", bad[i]);
	memset(large, 'h', 256);
	(void)snprintf(large + 256, sizeof(large) - 256, ":1");
	ck_assert_int_eq(config_parse_endpoint(large, host, &port), -EINVAL);
	ck_assert_int_eq(config_parse_endpoint(large + 1, host, &port), 0);
}
END_TEST

START_TEST(test_every_address_of_a_host_can_be_listened_on_but_not_dialled)
{
	static const char *const any[] = {"0.0.0.0:80", "[::]:80"};
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port;

	for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
		ck_assert_int_eq(config_parse_endpoint(any[i], host, &port), -EINVAL);
		ck_assert_int_eq(config_parse_listen(any[i], host, &port), 0);
		ck_assert(config_host_is_any(host));
	}
	ck_assert_int_eq(config_parse_listen("[::1]:80", host, &port), 0);
	ck_assert(!config_host_is_any(host));
}
END_TEST

/* ---- [tls] ---- */

#define TLS "[tls]\nca = \"ca.pem\"\n"

START_TEST(test_tls_is_off_without_its_table)
{
	struct tls_context *t = (struct tls_context *)&cfg;

	ck_assert_int_eq(load(NAMED NODE), 0);
	ck_assert(!cfg.tls.on);
	ck_assert_int_eq(config_tls_node(&cfg, 1, &t, &err), 0);
	ck_assert_ptr_null(t);
	ck_assert_int_eq(config_tls_client(&cfg, &t, &err), 0);
	ck_assert_ptr_null(t);
}
END_TEST

START_TEST(test_paths_of_tls_are_relative_to_the_cluster_file)
{
	char want[400];

	ck_assert_msg(load(NAMED TLS
	                   "cert = \"tls/node-{id}.pem\"\nkey = \"/k/{id}/{id}.key\"\n"
	                   "client_cert = \"./c.pem\"\nclient_key = \"c.key\"\n" NODE) == 0,
	              "%s", err.msg);
	ck_assert(cfg.tls.on && !cfg.tls.optional);
	(void)snprintf(want, sizeof(want), "%s/ca.pem", dir);
	ck_assert_str_eq(cfg.tls.ca, want);
	(void)snprintf(want, sizeof(want), "%s/tls/node-{id}.pem", dir);
	ck_assert_str_eq(cfg.tls.cert, want);
	ck_assert_str_eq(cfg.tls.key, "/k/{id}/{id}.key");
	(void)snprintf(want, sizeof(want), "%s/c.pem", dir);
	ck_assert_str_eq(cfg.tls.client_cert, want);
	ck_assert_int_eq(load(NAMED TLS "mode = \"optional\"\n" NODE), 0);
	ck_assert(cfg.tls.optional);
	ck_assert_int_eq(load(NAMED TLS "mode = \"required\"\n" NODE), 0);
	ck_assert(!cfg.tls.optional);
}
END_TEST

START_TEST(test_slips_in_tls_are_named)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *key, *why;
	} slips[] = {
	        {NAMED "[tls]\n" NODE, 3, "tls.ca", "is missing"},
	        {NAMED "tls = true\n" NODE, 3, "cluster.tls", "unknown key"},
	        {NAMED TLS "cafile = \"x\"\n" NODE, 5, "tls.cafile", "unknown key; known here: ca"},
	        {NAMED "[tls]\nca = 5\n" NODE, 4, "tls.ca", "must be a string"},
	        {NAMED "[tls]\nca = \"\"\n" NODE, 4, "tls.ca", "must not be empty"},
	        {NAMED TLS "cert = \"x\"\n" NODE, 5, "tls.cert", "means nothing without key"},
	        {NAMED TLS "key = \"x\"\n" NODE, 5, "tls.key", "means nothing without cert"},
	        {NAMED TLS "client_cert = \"x\"\n" NODE, 5, "tls.client_cert",
	         "means nothing without client_key"},
	        {NAMED TLS "client_key = \"x\"\n" NODE, 5, "tls.client_key",
	         "means nothing without client_cert"},
	        {NAMED TLS "mode = \"maybe\"\n" NODE, 5, "tls.mode",
	         "must be \"required\" or \"optional\", is \"maybe\""},
	        {NAMED TLS "mode = true\n" NODE, 5, "tls.mode", "must be a string"},
	};

	for (size_t i = 0; i < sizeof(slips) / sizeof(slips[0]); i++)
		refused(slips[i].text, slips[i].line, slips[i].key, slips[i].why);
}
END_TEST

START_TEST(test_files_of_tls_are_looked_for_under_the_nodes_id)
{
	struct tls_context *t;
	char want[400];

	ck_assert_int_eq(load(NAMED TLS NODE), 0);
	put("ca.pem", "", 0);
	ck_assert_int_eq(config_tls_node(&cfg, 7, &t, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "tls.cert and tls.key are missing"));
	ck_assert_int_eq(config_tls_client(&cfg, &t, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "no certificate to show"));
	ck_assert_int_eq(load(NAMED TLS "cert = \"n{id}{.pem\"\nkey = \"k\"\n" NODE), 0);
	ck_assert_int_eq(config_tls_node(&cfg, 7, &t, &err), RFS_ECONFIG);
	(void)snprintf(want, sizeof(want), "%s/ca.pem: no certificate", dir);
	ck_assert_msg(strstr(err.msg, want) == err.msg, "%s", err.msg);
	(void)unlink("ca.pem");
}
END_TEST

START_TEST(test_certificates_may_be_named_elsewhere)
{
	struct config_tls_given none = {0}, half = {.cert = "a.pem"},
	                        both = {.cert = "a.pem", .key = "a.key"},
	                        all = {.ca = "x.pem", .cert = "/a.pem", .key = "/a.key"};
	char want[400];

	ck_assert_int_eq(load(NAMED NODE), 0);
	ck_assert_int_eq(config_tls_override(&cfg, &none, &err), 0);
	ck_assert(!cfg.tls.on);
	ck_assert_int_eq(config_tls_override(&cfg, &half, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "go together"));
	ck_assert_int_eq(config_tls_override(&cfg, &both, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "no authority"));
	ck_assert_int_eq(config_tls_override(&cfg, &all, &err), 0);
	ck_assert(cfg.tls.on);
	ck_assert_str_eq(cfg.tls.client_cert, "/a.pem");
	(void)snprintf(want, sizeof(want), "%s/x.pem", dir);
	ck_assert_str_eq(cfg.tls.ca, want);
	ck_assert_int_eq(setenv("RAFTFS_CA", "/env-ca.pem", 1), 0);
	ck_assert_int_eq(load(NAMED NODE), 0);
	ck_assert_int_eq(config_tls_override(&cfg, &none, &err), 0);
	ck_assert_msg(!cfg.tls.on, "the environment turns on what the file leaves off");
	ck_assert_int_eq(unsetenv("RAFTFS_CA"), 0);
	ck_assert_int_eq(load(NAMED TLS NODE), 0);
	ck_assert_int_eq(setenv("RAFTFS_CERT", "/env.pem", 1), 0);
	ck_assert_int_eq(setenv("RAFTFS_KEY", "/env.key", 1), 0);
	ck_assert_int_eq(config_tls_override(&cfg, &none, &err), 0);
	ck_assert_str_eq(cfg.tls.client_cert, "/env.pem");
	ck_assert_int_eq(config_tls_override(&cfg, &both, &err), 0);
	(void)snprintf(want, sizeof(want), "%s/a.key", dir);
	ck_assert_str_eq(cfg.tls.client_key, want);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, test_tls_is_off_without_its_table);
	tcase_add_test(t, test_paths_of_tls_are_relative_to_the_cluster_file);
	tcase_add_test(t, test_slips_in_tls_are_named);
	tcase_add_test(t, test_files_of_tls_are_looked_for_under_the_nodes_id);
	tcase_add_test(t, test_certificates_may_be_named_elsewhere);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_a_full_file_gives_every_value);
	tcase_add_test(t, test_what_may_be_left_out_gets_its_default);
	tcase_add_test(t, test_a_node_can_be_held_at_an_older_protocol_version);
	tcase_add_test(t, test_data_directory_may_be_absolute_and_a_relative_one_follows_the_file);
	tcase_add_test(t, test_a_fixed_election_timeout_is_allowed);
	tcase_add_test(t, test_a_refused_file_leaves_the_configuration_alone);
	tcase_add_test(t, test_malformed_text_is_refused_with_its_line);
	tcase_add_test(t, test_unknown_keys_and_tables_are_refused);
	tcase_add_test(t, test_metrics_have_a_place_of_their_own);
	tcase_add_test(t, test_wrong_types_are_refused);
	tcase_add_test(t, test_the_name_must_be_there_and_be_a_name);
	tcase_add_test(t, test_the_data_directory_must_fit);
	tcase_add_test(t, test_timeouts_must_make_sense_together);
	tcase_add_test(t, test_there_must_be_nodes_and_not_too_many);
	tcase_add_test(t, test_each_node_needs_id_host_and_port_in_range);
	tcase_add_test(t, test_a_host_must_be_one_that_others_can_dial);
	tcase_add_test(t, test_two_nodes_must_not_share_an_id_or_an_address);
	tcase_add_test(t, test_a_file_that_cannot_be_read_is_named);
	tcase_add_test(t, test_a_huge_file_is_refused);
	tcase_add_test(t, test_find_prefers_the_flag_then_the_variable_then_the_current_folder);
	tcase_add_test(t, test_find_says_where_it_looked_and_who_named_what_is_not_there);
	tcase_add_test(t, test_the_embedded_node_has_a_folder_and_a_configuration);
	tcase_add_test(t, test_endpoints_come_back_as_they_went_in);
	tcase_add_test(t, test_what_is_no_endpoint_is_refused);
	tcase_add_test(t, test_every_address_of_a_host_can_be_listened_on_but_not_dialled);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
