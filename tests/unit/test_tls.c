/* tls/: names, authorities, what is taken from files, and two streams that speak to each other. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "../../src/tls/stream.h"
#include "../support/certs.h"

static struct rfs_err err;
static const char *ca;

static void setup(void)
{
	certs_setup();
	ca = certs_authority("tls", "demo");
	err = (struct rfs_err){0};
}

/* ---- names ---- */

START_TEST(test_names_are_read_as_they_are_written)
{
	static const char *const uris[] = {
	        "raftfs://demo/node/1",           "raftfs://demo/node/2147483647",
	        "raftfs://a.b-c_D9/client/alice", "raftfs://demo/admin/root",
	        "raftfs://demo/reader/web.1",
	};
	char uri[CERT_URI_MAX];
	struct cert_name name;

	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		ck_assert_msg(cert_name_parse(&name, uris[i], &err) == 0, "%s", err.msg);
		cert_name_uri(&name, uri);
		ck_assert_str_eq(uri, uris[i]);
	}
	ck_assert_int_eq(cert_name_parse(&name, "raftfs://demo/node/12", &err), 0);
	ck_assert_int_eq(name.role, CERT_NODE);
	ck_assert_uint_eq(name.node_id, 12);
	cert_name_describe(&name, uri);
	ck_assert_str_eq(uri, "node 12 of cluster demo");
}
END_TEST

START_TEST(test_what_is_no_name_is_refused)
{
	static const char *const uris[] = {
	        "",
	        "raftfs:/demo/node/1",
	        "https://demo/node/1",
	        "raftfs://demo",
	        "raftfs://demo/",
	        "raftfs://demo/node",
	        "raftfs://demo/node/",
	        "raftfs://demo/node/0",
	        "raftfs://demo/node/01",
	        "raftfs://demo/node/-1",
	        "raftfs://demo/node/+1",
	        "raftfs://demo/node/1x",
	        "raftfs://demo/node/2147483648",
	        "raftfs://demo/node/1/",
	        "raftfs://demo/node/1/2",
	        "raftfs:///node/1",
	        "raftfs://demo/ca",
	        "raftfs://demo/king/1",
	        "raftfs://demo/client/",
	        "raftfs://demo/client/a b",
	        "raftfs://demo/client/a/b",
	        "raftfs://demo/client/a%00",
	        "raftfs://de mo/client/a",
	        "raftfs://demo/client/"
	        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct cert_name name;

	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
		ck_assert_msg(cert_name_parse(&name, uris[i], &err) == -EINVAL, "%s", uris[i]);
}
END_TEST

/* ---- authorities ---- */

START_TEST(test_an_authority_issues_for_its_cluster_and_shows_it)
{
	struct tls_files made = certs_issue(ca, certs_node(3), 30);
	int64_t now_s = (int64_t)time(NULL);
	struct issue_facts facts;
	struct stat st;

	ck_assert_int_eq(issue_show(made.cert, &facts, &err), 0);
	ck_assert_str_eq(facts.subject, "CN=node 3 of cluster demo");
	ck_assert_str_eq(facts.issuer, "CN=raftfs cluster demo: authority");
	ck_assert(facts.named && !facts.is_ca);
	ck_assert_str_eq(facts.name.cluster, "demo");
	ck_assert_uint_eq(facts.name.node_id, 3);
	ck_assert(facts.begins_s < now_s && facts.begins_s > now_s - 7200);
	ck_assert(llabs((long long)(facts.ends_s - now_s - 30 * 86400)) < 60);
	ck_assert_int_eq(stat(made.key, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(issue_show(made.ca, &facts, &err), 0);
	ck_assert(facts.is_ca && facts.named);
	ck_assert(facts.ends_s > now_s + 3650L * 86400);
}
END_TEST

START_TEST(test_nothing_that_exists_is_written_over)
{
	struct cert_name who = certs_node(1);
	struct tls_files made = certs_issue(ca, who, 30), again;
	struct issue_facts before, after;

	ck_assert_int_eq(issue_show(made.cert, &before, &err), 0);
	ck_assert_int_eq(issue_ca(ca, "demo", &err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.msg, "ca.pem: exists already"));
	ck_assert_int_eq(issue_cert(ca, &who, 30, &again, &err), -EEXIST);
	ck_assert_int_eq(unlink(made.key), 0);
	ck_assert_int_eq(issue_cert(ca, &who, 30, &again, &err), -EEXIST);
	ck_assert_int_ne(access(made.key, F_OK), 0);
	ck_assert_int_eq(issue_show(made.cert, &after, &err), 0);
	ck_assert_str_eq(before.serial, after.serial);
}
END_TEST

START_TEST(test_names_that_cannot_be_are_not_issued)
{
	struct cert_name who = certs_named(CERT_CLIENT, "a/b");
	struct tls_files made;

	ck_assert_int_eq(issue_cert(ca, &who, 30, &made, &err), -EINVAL);
	ck_assert_int_eq(issue_ca("/nowhere/at/all", "demo", &err), -ENOENT);
	ck_assert_int_eq(issue_ca(ca, "a b", &err), -EINVAL);
	who = certs_node(1);
	ck_assert_int_eq(issue_cert("/nowhere", &who, 30, &made, &err), -ENOENT);
}
END_TEST

/* ---- files ---- */

static void refused(const struct tls_opts *opts, const char *file, const char *why)
{
	struct tls_context *t = NULL;

	ck_assert_int_eq(tls_context_new(&t, opts, &err), RFS_ECONFIG);
	ck_assert_ptr_null(t);
	ck_assert_msg(strncmp(err.msg, file, strlen(file)) == 0, "%s", err.msg);
	ck_assert_msg(strstr(err.msg, why) != NULL, "wanted \"%s\": %s", why, err.msg);
}

static struct tls_opts good(void)
{
	return (struct tls_opts){
	        .files = certs_issue(ca, certs_node(1), 30), .cluster = "demo", .node_id = 1};
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void move(char path[TLS_PATH_MAX], const char *to)
{
	(void)snprintf(path, TLS_PATH_MAX, "%s", to);
}

START_TEST(test_files_that_are_missing_or_nothing_are_named)
{
	struct tls_opts o = good(), b;

	b = o;
	move(b.files.ca, "/nowhere/ca.pem");
	refused(&b, "/nowhere/ca.pem", "No such file");
	b = o;
	move(b.files.cert, "/nowhere/c.pem");
	refused(&b, "/nowhere/c.pem", "No such file");
	b = o;
	move(b.files.key, "/nowhere/c.key");
	refused(&b, "/nowhere/c.key", "No such file");
	b = o;
	move(b.files.ca, o.files.key);
	refused(&b, o.files.key, "no certificate");
	b = o;
	move(b.files.cert, o.files.key);
	refused(&b, o.files.key, "no certificate");
	b = o;
	move(b.files.ca, ca);
	refused(&b, ca, "not a file");
	put(o.files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	refused(&o, o.files.key, "no key in PEM");
}
END_TEST

START_TEST(test_a_key_that_others_can_read_is_refused)
{
	static const mode_t bad[] = {0604, 0602, 0666, 0660};
	struct tls_opts o = good();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(chmod(o.files.key, bad[i]), 0);
		refused(&o, o.files.key, "can be read or written by others");
	}
	ck_assert_int_eq(chmod(o.files.key, 0400), 0);
	(void)certs_load(&o.files, false);
}
END_TEST

START_TEST(test_a_key_of_another_certificate_is_refused)
{
	struct tls_opts o = good();
	struct tls_files other = certs_issue(ca, certs_node(2), 30);

	move(o.files.key, other.key);
	refused(&o, other.key, "is not the key of");
}
END_TEST

START_TEST(test_an_encrypted_key_is_refused_without_asking)
{
	struct tls_opts o = good();

	put(o.files.key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	                 "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjVM5nJdmo/hwICCAAw\n"
	                 "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEPn2x0r3Ksc3yNRLRP0Q5moEgZBn\n"
	                 "-----END ENCRYPTED PRIVATE KEY-----\n");
	refused(&o, o.files.key, "key");
}
END_TEST

START_TEST(test_a_certificate_that_has_ended_is_refused)
{
	struct tls_opts o = {.files = certs_issue(ca, certs_node(1), -1)};

	refused(&o, o.files.cert, "certificate has expired");
}
END_TEST

START_TEST(test_a_certificate_of_another_authority_is_refused)
{
	struct tls_opts o = good();
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/ca.pem", certs_authority("other", "demo"));
	move(o.files.ca, path);
	refused(&o, o.files.cert, "was not issued by an authority in");
}
END_TEST

START_TEST(test_a_certificate_for_somebody_else_is_refused)
{
	struct tls_opts o = good();

	o.node_id = 2;
	refused(&o, o.files.cert, "is for node 1 of cluster demo, and this is node 2");
	o.node_id = 1;
	memcpy(o.cluster, "prod", 5);
	refused(&o, o.files.cert, "is for node 1 of cluster demo, and this is cluster prod");
	o = (struct tls_opts){.files = certs_issue(ca, certs_named(CERT_ADMIN, "root"), 30),
	                      .node_id = 1};
	refused(&o, o.files.cert, "is for admin root of cluster demo, and this is node 1");
	/* the authority's own is nobody's */
	(void)snprintf(o.files.key, sizeof(o.files.key), "%s/ca.key", ca);
	(void)snprintf(o.files.cert, sizeof(o.files.cert), "%s/ca.pem", ca);
	refused(&o, o.files.cert, "is not raftfs://");
}
END_TEST

START_TEST(test_a_reload_takes_good_files_and_leaves_bad_ones)
{
	struct tls_files a = certs_issue(ca, certs_node(1), 20), b, bad;
	struct tls_context *t = certs_load(&a, false);
	int64_t now_s = (int64_t)time(NULL);
	const char *file;

	ck_assert(llabs((long long)(tls_context_expiry_s(t, &file) - now_s - 20 * 86400)) < 60);
	ck_assert_str_eq(file, a.cert);
	bad = certs_issue(certs_authority("other", "demo"), certs_node(1), 40);
	ck_assert_int_eq(rename(bad.cert, a.cert), 0);
	ck_assert_int_eq(tls_context_reload(t, &err), RFS_ECONFIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "is not the key of"));
	ck_assert(llabs((long long)(tls_context_expiry_s(t, NULL) - now_s - 20 * 86400)) < 60);
	ck_assert_int_eq(unlink(a.cert), 0);
	ck_assert_int_eq(unlink(a.key), 0);
	b = certs_issue(ca, certs_node(1), 60);
	ck_assert_str_eq(a.cert, b.cert);
	ck_assert_msg(tls_context_reload(t, &err) == 0, "%s", err.msg);
	ck_assert(llabs((long long)(tls_context_expiry_s(t, NULL) - now_s - 60 * 86400)) < 60);
}
END_TEST

/* ---- streams ---- */

struct side {
	struct tls_stream *s;
	struct buf got;
	int rc;
	struct rfs_err err;
};

static struct side client, server;

static void open_pair(struct tls_context *c, struct tls_context *s)
{
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	client.s = tls_stream_new(c, false);
	server.s = tls_stream_new(s, true);
}

static void close_pair(void)
{
	tls_stream_free(client.s);
	tls_stream_free(server.s);
	buf_free(&client.got);
	buf_free(&server.got);
}

/* At most `piece` bytes of what one says go to the other; false: there were none, or it is over. */
static bool carry(struct side *from, struct side *to, size_t piece)
{
	struct buf *out = tls_stream_out(from->s);
	size_t n = out->len < piece ? out->len : piece;

	if (n == 0 || to->rc != 0)
		return false;
	to->rc = tls_stream_take(to->s, out->data, n, &to->got, &to->err);
	buf_consume(out, n);
	return true;
}

static void carry_all(size_t piece)
{
	bool more;

	do {
		more = carry(&client, &server, piece);
		more = carry(&server, &client, piece) || more;
	} while (more);
}

START_TEST(test_bytes_pass_in_pieces_of_any_size)
{
	static const size_t pieces[] = {1, 2, 3, 7, 100, 1000, SIZE_MAX};
	struct tls_context *c = certs_context(ca, certs_named(CERT_CLIENT, "alice"));
	struct tls_context *s = certs_context(ca, certs_node(1));
	struct buf said;

	buf_init(&said);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		open_pair(c, s);
		carry_all(pieces[i]);
		ck_assert(tls_stream_is_ready(client.s) && tls_stream_is_ready(server.s));
		ck_assert_uint_eq(tls_stream_peer(client.s, &err)->node_id, 1);
		ck_assert_str_eq(tls_stream_peer(server.s, &err)->name, "alice");
		for (uint32_t k = 0; k < 20000; k++)
			buf_put_u32(&said, k);
		ck_assert_int_eq(tls_stream_seal(client.s, &said, &err), 0);
		ck_assert_uint_eq(said.len, 0);
		carry_all(pieces[i]);
		ck_assert_uint_eq(server.got.len, 80000);
		for (uint32_t k = 0; k < 20000; k++)
			ck_assert_uint_eq(get_le32(server.got.data + (size_t)4 * k), k);
		close_pair();
	}
	buf_free(&said);
}
END_TEST

START_TEST(test_one_seal_is_few_records_however_much_it_is)
{
	struct buf said;

	open_pair(certs_context(ca, certs_named(CERT_CLIENT, "alice")),
	          certs_context(ca, certs_node(1)));
	carry_all(SIZE_MAX);
	buf_init(&said);
	for (uint32_t k = 0; k < 1000; k++)
		buf_put(&said, "a short frame", 13);
	ck_assert_int_eq(tls_stream_seal(client.s, &said, &err), 0);
	/* 5 of header, 1 of type, 16 of tag */
	ck_assert_uint_eq(tls_stream_out(client.s)->len, 13000 + 22);
	buf_free(&said);
	close_pair();
}
END_TEST

static void expect_failure(struct tls_context *c, struct tls_context *s, const char *words,
                           const char *words_of_other)
{
	open_pair(c, s);
	carry_all(SIZE_MAX);
	ck_assert_int_eq(server.rc, RFS_EIDENTITY);
	ck_assert_msg(strstr(server.err.msg, words) != NULL, "%s", server.err.msg);
	ck_assert(!tls_stream_is_ready(server.s));
	ck_assert_int_eq(client.rc, RFS_EIDENTITY);
	ck_assert_msg(strstr(client.err.msg, words_of_other) != NULL, "%s", client.err.msg);
	close_pair();
}

/* A context that no program would get: its own certificate is bad. */
static struct tls_context *loaded_before(const char *dir, struct cert_name who)
{
	struct tls_files bad = certs_issue(dir, who, 1);
	struct tls_context *t = certs_load(&bad, false);

	return t;
}

START_TEST(test_a_caller_of_another_authority_is_refused_and_told)
{
	const char *other = certs_authority("other", "demo");
	struct tls_files mixed = certs_issue(other, certs_named(CERT_CLIENT, "mallory"), 30);
	struct tls_context *c;
	char both[TLS_PATH_MAX], cmd[3 * TLS_PATH_MAX];

	/* it takes ours, and shows its own */
	(void)snprintf(both, sizeof(both), "%s/both.pem", other);
	(void)snprintf(cmd, sizeof(cmd), "cat %s/ca.pem %s/ca.pem >%s", ca, other, both);
	ck_assert_int_eq(system(cmd), 0);
	move(mixed.ca, both);
	c = certs_load(&mixed, false);
	expect_failure(c, certs_context(ca, certs_node(1)),
	               "(it says: client mallory of cluster demo)",
	               "does not take our certificate: unknown CA");
}
END_TEST

START_TEST(test_a_node_of_another_authority_is_refused)
{
	const char *other = certs_authority("other", "demo");

	open_pair(certs_context(ca, certs_named(CERT_CLIENT, "alice")),
	          loaded_before(other, certs_node(1)));
	carry_all(SIZE_MAX);
	ck_assert_int_eq(client.rc, RFS_EIDENTITY);
	ck_assert_msg(strstr(client.err.msg, "(it says: node 1 of cluster demo)") != NULL, "%s",
	              client.err.msg);
	ck_assert_int_eq(server.rc, RFS_EIDENTITY);
	close_pair();
}
END_TEST

START_TEST(test_a_clients_certificate_is_none_for_a_server)
{
	open_pair(certs_context(ca, certs_named(CERT_CLIENT, "alice")),
	          certs_context(ca, certs_named(CERT_CLIENT, "mallory")));
	carry_all(SIZE_MAX);
	ck_assert_int_eq(client.rc, RFS_EIDENTITY);
	ck_assert(!tls_stream_is_ready(client.s));
	close_pair();
}
END_TEST

START_TEST(test_every_flipped_byte_of_a_handshake_ends_it)
{
	struct tls_context *c = certs_context(ca, certs_named(CERT_CLIENT, "alice"));
	struct tls_context *s = certs_context(ca, certs_node(1));
	bool more = true;

	for (size_t at = 0; more; at += 3) {
		size_t passed = 0;

		open_pair(c, s);
		more = false;
		while (client.rc == 0 && server.rc == 0) {
			struct buf *out = tls_stream_out(client.s);

			if (at >= passed && at < passed + out->len) {
				out->data[at - passed] ^= 0x55;
				more = true;
			}
			passed += out->len;
			if (!carry(&client, &server, SIZE_MAX) &&
			    !carry(&server, &client, SIZE_MAX))
				break;
		}
		/* it broke, or it waits for bytes that a wrong length has promised */
		ck_assert(!more || !tls_stream_is_ready(server.s));
		close_pair();
	}
}
END_TEST

START_TEST(test_tls_is_told_from_frames_by_its_first_bytes)
{
	ck_assert_int_eq(tls_guess((const uint8_t *)"", 0), TLS_GUESS_UNKNOWN);
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16", 1), TLS_GUESS_UNKNOWN);
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16\x03", 2), TLS_GUESS_UNKNOWN);
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16\x03\x01", 3), TLS_GUESS_YES);
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16\x03\x03\xff", 4), TLS_GUESS_YES);
	/* hellos of 22 and of 790 bytes */
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16\x00", 2), TLS_GUESS_NO);
	ck_assert_int_eq(tls_guess((const uint8_t *)"\x16\x03\x00", 3), TLS_GUESS_NO);
	ck_assert_int_eq(tls_guess((const uint8_t *)"G", 1), TLS_GUESS_NO);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, certs_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_names_are_read_as_they_are_written);
	tcase_add_test(t, test_what_is_no_name_is_refused);
	tcase_add_test(t, test_an_authority_issues_for_its_cluster_and_shows_it);
	tcase_add_test(t, test_nothing_that_exists_is_written_over);
	tcase_add_test(t, test_names_that_cannot_be_are_not_issued);
	tcase_add_test(t, test_files_that_are_missing_or_nothing_are_named);
	tcase_add_test(t, test_a_key_that_others_can_read_is_refused);
	tcase_add_test(t, test_a_key_of_another_certificate_is_refused);
	tcase_add_test(t, test_an_encrypted_key_is_refused_without_asking);
	tcase_add_test(t, test_a_certificate_that_has_ended_is_refused);
	tcase_add_test(t, test_a_certificate_of_another_authority_is_refused);
	tcase_add_test(t, test_a_certificate_for_somebody_else_is_refused);
	tcase_add_test(t, test_a_reload_takes_good_files_and_leaves_bad_ones);
	tcase_add_test(t, test_bytes_pass_in_pieces_of_any_size);
	tcase_add_test(t, test_one_seal_is_few_records_however_much_it_is);
	tcase_add_test(t, test_a_caller_of_another_authority_is_refused_and_told);
	tcase_add_test(t, test_a_node_of_another_authority_is_refused);
	tcase_add_test(t, test_a_clients_certificate_is_none_for_a_server);
	tcase_add_test(t, test_every_flipped_byte_of_a_handshake_ends_it);
	tcase_add_test(t, test_tls_is_told_from_frames_by_its_first_bytes);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
