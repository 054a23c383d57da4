/* backup */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/mem.h"
#include "backup.h"
#include "commands.h"
#include "progress.h"

struct making {
	const char *path;
	char part[CONFIG_PATH_MAX]; /* written first; "" for standard output */
	int fd;
	bool done;
	struct rfs_err err;
	struct store_snapshot_info info;
	uint64_t chunks, bytes;
	struct progress progress;
};

/* ---- the file ---- */

static int open_part(struct making *m)
{
	if (strcmp(m->path, "-") == 0) {
		m->fd = STDOUT_FILENO;
		return 0;
	}
	if (snprintf(m->part, sizeof(m->part), "%s.XXXXXX.part", m->path) >= (int)sizeof(m->part))
		return rfs_err_set(&m->err, -ENAMETOOLONG, "%s: path too long", m->path);
	m->fd = mkostemps(m->part, 5, O_CLOEXEC);
	return m->fd >= 0 ? 0
	                  : rfs_err_set(&m->err, -errno, "%s: %s", m->path, rfs_strerror(-errno));
}

static int write_all(struct making *m, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(m->fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return rfs_err_set(&m->err, -errno, "%s: %s", m->path,
			                   rfs_strerror(-errno));
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* Sync the folder that a file stands in. */
static int sync_folder(const char *path)
{
	char *folder = mem_strdup(path), *slash = strrchr(folder, '/');
	int fd, rc = 0;

	if (slash != NULL)
		slash[slash == folder] = '\0';
	fd = open(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = -errno;
	if (fd >= 0)
		(void)close(fd);
	free(folder);
	return rc;
}

/* On disk under its own name, or not there. */
static int keep(struct making *m)
{
	int rc;

	if (m->part[0] == '\0')
		return 0;
	if (fsync(m->fd) != 0 || rename(m->part, m->path) != 0)
		return rfs_err_set(&m->err, -errno, "%s: %s", m->path, rfs_strerror(-errno));
	rc = sync_folder(m->path);
	return rc == 0 ? 0 : rfs_err_set(&m->err, rc, "%s: %s", m->path, rfs_strerror(rc));
}

static void close_part(struct making *m, bool kept)
{
	if (m->part[0] == '\0' || m->fd < 0)
		return;
	(void)close(m->fd);
	if (!kept)
		(void)unlink(m->part);
}

/* ---- chunks ---- */

/* The node was lost on the way. Nothing takes back what a pipe has got. */
static void begin_again(struct making *m, const struct rfs_err *why)
{
	(void)progress_end(&m->progress);
	if (m->part[0] == '\0') {
		(void)rfs_err_set(&m->err, -ECONNRESET, "%s", why->msg);
		m->done = true;
		return;
	}
	(void)ctl_error(CTL_DONE, "%s; the backup begins again", why->msg);
	if (ftruncate(m->fd, 0) != 0 || lseek(m->fd, 0, SEEK_SET) != 0)
		(void)rfs_err_set(&m->err, -errno, "%s: %s", m->path, rfs_strerror(-errno));
	m->done = m->err.code != 0;
	m->chunks = m->bytes = 0;
}

static void on_part(void *ctx, const void *p, size_t n, const struct rfs_err *err)
{
	struct making *m = ctx;
	int rc;

	if (m->err.code != 0) /* of an earlier one */
		return;
	if (p == NULL && err->code == -EAGAIN) {
		begin_again(m, err);
		return;
	}
	if (p == NULL) {
		m->err = *err;
		m->done = true;
		return;
	}
	rc = m->chunks == 0 ? backup_head(p, n, &m->info, &m->err)
	                    : backup_check_chunk(p, n, &m->err);
	if (rc == 0 && m->chunks == 0)
		progress_begin(&m->progress, "backup", backup_estimate(&m->info), true);
	if (rc == 0)
		rc = write_all(m, p, n);
	m->done = rc != 0;
	m->chunks++;
	m->bytes += n;
	progress_set(&m->progress, m->bytes);
}

static void tell(const struct ctl *ctl, const struct making *m, uint64_t ms)
{
	char size[32], rate[32];

	if (ctl->args.json) {
		json_t *o = json_pack(
		        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "file", m->path, "index",
		        (json_int_t)m->info.pos.index, "term", (json_int_t)m->info.pos.term,
		        "inodes", (json_int_t)m->info.counts.inodes, "bytes", (json_int_t)m->bytes,
		        "chunks", (json_int_t)m->chunks, "ms", (json_int_t)ms);
		char digest[17];

		(void)snprintf(digest, sizeof(digest), "%016" PRIx64, m->info.digest);
		(void)json_object_set_new(o, "digest", json_string(digest));
		ctl_json_print(o);
		return;
	}
	progress_format_bytes(m->bytes, size, sizeof(size));
	progress_format_bytes(m->bytes * 1000 / (ms > 0 ? ms : 1), rate, sizeof(rate));
	(void)printf("%s: state of index %" PRIu64 ", digest %016" PRIx64 ", %" PRIu64
	             " inodes, %s (%s/s)\n",
	             m->path, m->info.pos.index, m->info.digest, m->info.counts.inodes, size, rate);
}

/* Everything that was acknowledged up to now has to be in it: where a linearizable read stands. */
static int ask_index(struct ctl *ctl, uint64_t *index)
{
	const struct fs_op op = {.kind = FS_OP_GETATTR, .ino = FS_ROOT_INO};
	struct ctl_call call = {0};
	int rc = ctl_do(ctl, &call, &op);

	*index = call.result.index;
	ctl_call_end(&call);
	return rc == 0 ? CTL_DONE : ctl_failed(ctl, "/", rc, false);
}

static void receive(struct ctl *ctl, struct making *m, uint64_t index)
{
	struct client_backup *b = client_backup(ctl->client, index, ctl->timeout_ms, on_part, m);

	while (!m->done && !ctl_interrupted())
		ctl_turn(ctl, 1000);
	client_backup_end(b);
	if (!m->done)
		(void)rfs_err_set(&m->err, -EINTR, "interrupted");
}

static int backup_run(struct ctl *ctl)
{
	struct making m = {.path = ctl->args.operands[0], .fd = -1};
	uint64_t index, ms;
	int status = ask_index(ctl, &index);

	if (status != CTL_DONE)
		return status;
	if (open_part(&m) == 0)
		receive(ctl, &m, index);
	ms = progress_end(&m.progress);
	if (m.err.code == 0)
		(void)keep(&m);
	close_part(&m, m.err.code == 0);
	if (m.err.code != 0)
		return ctl_error(ctl_exit_of(m.err.code), "no backup was made: %s", m.err.msg);
	if (m.part[0] != '\0')
		tell(ctl, &m, ms);
	return CTL_DONE;
}

static const char details[] =
        "Asks the leader for everything it has, as it is at one index of the log, and writes it to "
        "FILE: while\n"
        "clients go on, and with every change in it that was acknowledged before the command "
        "began. FILE comes into\n"
        "being whole or not at all; - is standard output. It consists of checksummed chunks, and "
        "ends with the digest\n"
        "of the state. 'raftctl check FILE' looks through it. A node that is lost on the way is "
        "replaced by another\n"
        "one, and the file begun again; standard output cannot be.\n"
        "\n"
        "  raftctl backup /var/backups/raftfs-$(date +%F)\n"
        "  raftctl backup - | zstd > backup.zst\n"
        "\n"
        "'raftctl restore' makes a new cluster of it.\n"
        "Exit codes: 0 done; 1 cannot write, or the node or the connection was lost; 2 usage; 3 no "
        "answer from a\n"
        "quorum in time; 4 refused.\n";

const struct ctl_command cmd_backup = {
        .name = "backup",
        .operands = "FILE|-",
        .summary = "write the whole state to a file",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .run = backup_run,
};
