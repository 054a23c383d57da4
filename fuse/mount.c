#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "group.h"
#include "handle.h"
#include "mountpoint.h"
#include "notify.h"
#include "ops.h"
#include "request.h"
#include "virtual.h"
#include "../src/base/clock.h"
#include "../src/base/log.h"
#include "../src/base/mem.h"

/* What libfuse said last; the reason for a failed mount stands there and nowhere else. */
static char library_said[256];

__attribute__((format(printf, 2, 0))) static void on_library_log(enum fuse_log_level level,
                                                                 const char *fmt, va_list args)
{
	char line[sizeof(library_said)];
	size_t len;

	(void)vsnprintf(line, sizeof(line), fmt, args);
	len = strcspn(line, "\n");
	line[len] = '\0';
	if (level <= FUSE_LOG_WARNING)
		(void)snprintf(library_said, sizeof(library_said), "%s", line);
	if (level <= FUSE_LOG_WARNING)
		log_warn("%s", line);
	else if (len > 0)
		log_debug("%s", line);
}

struct init_patch *init_patch_of(void *userdata)
{
	struct mount *m = userdata;

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	return &m->patch;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = userdata;

	init_connection(init_patch_of(m), conn);
	if (m->options->acl)
		ops_learn_root_acl(m);
}

/* Missing ones are answered ENOSYS, which the kernel takes as "never ask again": locks (it keeps
 * them itself). */
static const struct fuse_lowlevel_ops operations = {
        .init = op_init,
        .lookup = op_lookup,
        .forget = op_forget,
        .forget_multi = op_forget_multi,
        .getattr = op_getattr,
        .setattr = op_setattr,
        .readlink = op_readlink,
        .statfs = op_statfs,
        .access = op_access,
        .mknod = op_mknod,
        .mkdir = op_mkdir,
        .symlink = op_symlink,
        .create = op_create,
        .link = op_link,
        .unlink = op_unlink,
        .rmdir = op_rmdir,
        .rename = op_rename,
        .open = op_open,
        .read = op_read,
        .write = op_write,
        .flush = op_flush,
        .fsync = op_fsync,
        .release = op_release,
        .flock = op_flock,
        .setlk = op_setlk,
        .getlk = op_getlk,
        .opendir = op_opendir,
        .readdir = op_readdir,
        .releasedir = op_releasedir,
        .fsyncdir = op_fsyncdir,
        .fallocate = op_fallocate,
        .lseek = op_lseek,
        .copy_file_range = op_copy_file_range,
        .setxattr = op_setxattr,
        .getxattr = op_getxattr,
        .listxattr = op_listxattr,
        .removexattr = op_removexattr,
};

/* ---- the kernel's requests ---- */

static void session_gone(struct mount *m)
{
	m->gone = true;
	(void)uv_poll_stop(&m->poll);
	if (m->stopped == NULL)
		m->on_ended(m->ctx);
	else
		mount_check_drained(m);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct mount *m = handle->data;
	int n;

	(void)status; /* an error of the descriptor shows in the read */
	(void)events;
	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	for (unsigned i = 0; i < MOUNT_TURN_REQUESTS_MAX && !m->closing; i++) {
		n = fuse_session_receive_buf(m->session, &m->buf);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			if (n < 0)
				log_warn("reading /dev/fuse: %s", rfs_strerror(n));
			session_gone(m);
			return;
		}
		fuse_session_process_buf(m->session, &m->buf);
	}
}

/* ---- beginning ---- */

/* What stands for a device in /proc/mounts. From fstab it is the word that fstab has, or mount -a
 * would not know it again. */
static void format_source(const struct mount_settings *s, char *out, size_t size)
{
	const struct mount_options *o = s->options;

	if (o->source != NULL)
		(void)snprintf(out, size, "%s", o->source);
	else
		(void)snprintf(out, size, "raftfs:%s%s%s", s->cluster, o->subdir != NULL ? "/" : "",
		               o->subdir != NULL ? o->subdir : "");
	/* a comma would end the option */
	for (; *out != '\0'; out++)
		*out = *out == ',' || *out == '\\' ? '_' : *out;
}

static void format_options(const struct mount_settings *s, char *out, size_t size)
{
	const struct mount_options *o = s->options;
	char source[256];

	format_source(s, source, sizeof(source));
	(void)snprintf(out, size, "fsname=%s,subtype=raftfs,max_read=%u%s%s%s%s", source,
	               FS_READ_BYTES_MAX, o->check_permission ? ",default_permissions" : "",
	               o->allow_other ? ",allow_other" : "", o->debug ? ",debug" : "",
	               (const char *)o->kernel.data);
}

/* Put the session's descriptor on the loop. */
static int session_watch(struct mount *m)
{
	int fd = fuse_session_fd(m->session), rc;

	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return -errno;
	rc = init_install(m->session);
	return rc != 0 ? rc : uv_poll_init(m->loop, &m->poll, fd);
}

static int session_start(struct mount *m, const struct mount_settings *s, struct rfs_err *err)
{
	char options[1024];
	struct fuse_lowlevel_ops ops = operations;
	char *argv[] = {"raftfs", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	int rc = 0;

	format_options(s, options, sizeof(options));
	fuse_set_log_func(on_library_log);
	library_said[0] = '\0';
	if (s->options->notify)
		notify_wrap(&ops);
	m->session = fuse_session_new(&args, &ops, sizeof(ops), m);
	fuse_opt_free_args(&args);
	if (m->session == NULL)
		return rfs_err_set(err, -EINVAL, "libfuse refuses the mount options %s: %s",
		                   options, library_said);
	init_raise_page_limit(&m->patch);
	errno = 0;
	if (fuse_session_mount(m->session, m->mountpoint) != 0) {
		rc = rfs_err_set(err, errno != 0 ? -errno : -EIO, "cannot mount at %s%s%s",
		                 m->mountpoint, library_said[0] != '\0' ? ": " : "", library_said);
		fuse_session_destroy(m->session);
		return rc;
	}
	m->mount_id = mountpoint_id(m->mountpoint);
	rc = session_watch(m);
	if (rc != 0) {
		fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
		return rfs_err_set(err, rc, "/dev/fuse: %s", rfs_strerror(rc));
	}
	return 0;
}

int mount_start(struct mount **out, uv_loop_t *loop, struct client *c,
                const struct mount_settings *s, struct rfs_err *err)
{
	struct mount *m = mem_zalloc(sizeof(*m));
	int rc;

	RFS_MAGIC_SET(m, MOUNT_MAGIC);
	m->loop = loop;
	m->client = c;
	m->options = s->options;
	m->patch.acl = s->options->acl;
	m->view = s->options->view;
	m->view.root = s->root;
	m->mountpoint = mem_strdup(s->mountpoint);
	(void)snprintf(m->cluster, sizeof(m->cluster), "%s", s->cluster);
	m->started_s = (time_t)(clock_real_ns() / 1000000000u);
	m->on_ended = s->on_ended;
	m->ctx = s->ctx;
	rc = session_start(m, s, err);
	if (rc != 0) {
		free(m->mountpoint);
		free(m);
		return rc;
	}
	(void)uv_timer_init(loop, &m->grace);
	(void)uv_timer_init(loop, &m->stop_timer);
	m->poll.data = m->grace.data = m->stop_timer.data = m->unmount_work.data = m;
	m->handles = 3;
	(void)uv_poll_start(&m->poll, UV_READABLE, on_readable);
	if (m->options->notify) {
		m->notify = notify_start(m);
		m->handles++;
	}
	*out = m;
	return 0;
}

/* ---- the end ---- */

/* fuse_session_unmount() unmounts whatever is at the path by then, unless the descriptor says that
 * the connection is over (POLLERR). We have unmounted already: give it a descriptor that says
 * so. */
static void session_end(struct mount *m)
{
	int fd = fuse_session_fd(m->session), ends[2];

	if (pipe2(ends, O_CLOEXEC) == 0) {
		(void)close(ends[0]);
		(void)dup2(ends[1], fd);
		(void)close(ends[1]);
	}
	fuse_session_unmount(m->session);
	fuse_session_destroy(m->session);
}

static void free_when_done(struct mount *m)
{
	void (*stopped)(void *ctx) = m->stopped;
	void *ctx = m->stopped_ctx;

	if (m->handles > 0 || m->n_status_asked > 0)
		return;
	files_drop_all(m);
	inode_table_free(&m->inodes);
	session_end(m);
	m->magic = 0;
	free(m->buf.mem);
	free(m->mountpoint);
	free(m);
	stopped(ctx);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct mount *m = h->data;

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	m->handles--;
	free_when_done(m);
}

static void on_notify_ended(struct mount *m)
{
	free(m->notify);
	m->notify = NULL;
	m->handles--;
	free_when_done(m);
}

static void mount_close(struct mount *m)
{
	m->closing = true;
	requests_abandon(m);
	groups_abandon(m);
	requests_abandon(m); /* those that waited for it had nothing more to ask for */
	virtual_abandon(m);
	uv_close((uv_handle_t *)&m->poll, on_handle_closed);
	uv_close((uv_handle_t *)&m->grace, on_handle_closed);
	uv_close((uv_handle_t *)&m->stop_timer, on_handle_closed);
	if (m->notify != NULL)
		notify_stop(m->notify, on_notify_ended);
}

void mount_check_drained(struct mount *m)
{
	if (m->closing) {
		if (m->handles == 0) /* the last answer of a status request */
			free_when_done(m);
		return;
	}
	if (m->stopped != NULL && !m->unmounting && m->requests == NULL && m->groups == NULL &&
	    m->n_status_asked == 0)
		mount_close(m);
}

static void on_stop_timer(uv_timer_t *t)
{
	struct mount *m = t->data;

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	if (!m->closing)
		mount_close(m);
}

/* The kernel asks for nothing more, or for what is open still. */
static void drain(struct mount *m)
{
	uint64_t ms = MOUNT_STOP_GRACE_MS;

	if (m->groups != NULL)
		ms += m->options->timeout_ms;
	(void)uv_timer_start(&m->stop_timer, on_stop_timer, ms, 0);
	groups_commit(m);
	mount_check_drained(m);
}

/* In the thread pool: the kernel may write back mapped pages first, which the loop has to
 * answer. */
static void unmount_work(uv_work_t *work)
{
	struct mount *m = work->data;
	int rc = mountpoint_detach(m->mountpoint, m->mount_id);

	if (rc != 0)
		log_warn("%s: cannot unmount: %s", m->mountpoint, rfs_strerror(rc));
}

static void unmount_done(uv_work_t *work, int status)
{
	struct mount *m = work->data;

	(void)status;
	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	m->unmounting = false;
	drain(m);
}

void mount_stop(struct mount *m, void (*stopped)(void *ctx), void *ctx)
{
	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	m->stopped = stopped;
	m->stopped_ctx = ctx;
	if (m->gone) {
		if (m->groups != NULL)
			drain(m);
		else
			mount_close(m);
		return;
	}
	m->unmounting = true;
	(void)uv_queue_work(m->loop, &m->unmount_work, unmount_work, unmount_done);
}
