#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "../src/base/check.h"
#include "../src/base/log.h"
#include "../src/base/op.h"

/* linux/fuse.h since 6.6 (7.39): shared mappings of files opened with FOPEN_DIRECT_IO */
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

/* since 6.1 (7.37) */
#define FUSE_TMPFILE_OPCODE 51u

#define PAGE_LIMIT_FILE  "/proc/sys/fs/fuse/max_pages_limit"
#define PAGES_UNPATCHED  256u
#define REPLY_IOVECS_MAX 4
#define BACKGROUND_MAX   256u
#define CONGESTION_AT    192u

static bool read_page_limit(unsigned *limit)
{
	char text[32];
	ssize_t n;
	int fd = open(PAGE_LIMIT_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	*limit = (unsigned)strtoul(text, NULL, 10);
	return true;
}

static bool write_page_limit(unsigned limit)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%u\n", limit);
	int fd = open(PAGE_LIMIT_FILE, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, (size_t)len) == len;
	(void)close(fd);
	return ok;
}

void init_raise_page_limit(struct init_patch *p)
{
	unsigned limit;

	p->pages = PAGES_UNPATCHED;
	if (!read_page_limit(&limit)) /* before Linux 6.12 it is 256, and fixed */
		return;
	if (limit >= INIT_PAGES_MAX) {
		p->pages = INIT_PAGES_MAX;
		return;
	}
	if (write_page_limit(INIT_PAGES_MAX)) {
		p->pages = INIT_PAGES_MAX;
		log_info("raised %s from %u to %u: a write of 1 MiB stays one request wherever its "
		         "buffer "
		         "starts",
		         PAGE_LIMIT_FILE, limit, INIT_PAGES_MAX);
		return;
	}
	p->pages = limit;
	log_info("%s is %u and may not be raised: a write of more than %u KiB is atomic only if "
	         "its buffer starts "
	         "at a page",
	         PAGE_LIMIT_FILE, limit, (limit - 1) * 4);
}

/* What access control lists need of the kernel: that it checks them, gives the umask instead of applying it, and says
 * where set-group-id goes (SETXATTR_EXT, since 5.13). */
static unsigned acl_capabilities(struct init_patch *p, const struct fuse_conn_info *conn)
{
	const unsigned needed = FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;

	if (!p->acl)
		return 0;
	p->too_old = (conn->capable & needed) != needed || (p->offered & FUSE_SETXATTR_EXT) == 0;
	if (p->too_old)
		log_error("-o acl needs Linux 5.13 or newer");
	return needed;
}

void init_connection(struct init_patch *p, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
	                        FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS |
	                        FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_POSIX_LOCKS |
	                        FUSE_CAP_FLOCK_LOCKS;

	/* READDIRPLUS only pays with timeouts: with none, the kernel asks again for every entry and its attributes, and
	 * the listing has carried them for nothing. Everything else off, above all what would let the kernel answer from memory (writeback
	 * cache, symlinks) or change what one request is (async direct I/O). Set-id bits are
	 * cleared by the kernel, with a SETATTR before the write. */
	conn->want = conn->capable & (wanted | acl_capabilities(p, conn));
	conn->max_write = FS_WRITE_BYTES_MAX;
	conn->max_read = FS_READ_BYTES_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = CONGESTION_AT;
	conn->time_gran = 1;
}

/* Take note of what the kernel offers in its INIT request. */
static void look_at_request(struct init_patch *p, const void *bytes, size_t n)
{
	struct fuse_in_header head;
	struct fuse_init_in in = {0};

	if (n < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	if (head.opcode != FUSE_INIT)
		return;
	n -= sizeof(head);
	memcpy(&in, (const uint8_t *)bytes + sizeof(head), n < sizeof(in) ? n : sizeof(in));
	p->init_unique = head.unique;
	p->offered = in.flags;
	if ((in.flags & FUSE_INIT_EXT) != 0)
		p->offered |= (uint64_t)in.flags2 << 32;
}

static void patch_init(const struct init_patch *p, struct fuse_init_out *out)
{
	if (p->acl)
		out->flags |= FUSE_SETXATTR_EXT;
	if ((p->offered & FUSE_MAX_PAGES) != 0) {
		out->flags |= FUSE_MAX_PAGES;
		out->max_pages = (uint16_t)p->pages;
	}
	if ((p->offered & FUSE_INIT_EXT) != 0 && (p->offered & FUSE_DIRECT_IO_ALLOW_MMAP) != 0) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t)(FUSE_DIRECT_IO_ALLOW_MMAP >> 32);
	}
}

/* TMPFILE, which libfuse 3.14 does not know, is a CREATE in all but its number; its name is "/". */
static void rename_tmpfile(void *bytes, size_t n)
{
	struct fuse_in_header head;

	if (n < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	if (head.opcode != FUSE_TMPFILE_OPCODE)
		return;
	head.opcode = FUSE_CREATE;
	memcpy(bytes, &head, sizeof(head));
}

/* Where it was agreed upon, SETXATTR has a longer head than libfuse 3.14 knows: make it the short one. The new length. */
static size_t shorten_setxattr(uint8_t *bytes, size_t n)
{
	const size_t tail = sizeof(struct fuse_in_header) + sizeof(struct fuse_setxattr_in),
	             cut = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct fuse_setxattr_in in;
	struct fuse_in_header head;

	if (n < tail)
		return n;
	memcpy(&head, bytes, sizeof(head));
	if (head.opcode != FUSE_SETXATTR)
		return n;
	memcpy(&in, bytes + sizeof(head), sizeof(in));
	in.flags &= ~(uint32_t)INIT_SETXATTR_KILL_SGID;
	if ((in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0)
		in.flags |= (uint32_t)INIT_SETXATTR_KILL_SGID;
	head.len -= (uint32_t)cut;
	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	memmove(bytes + tail - cut, bytes + tail, n - tail);
	return n - cut;
}

static ssize_t session_read(int fd, void *buf, size_t size, void *userdata)
{
	struct init_patch *p = init_patch_of(userdata);
	ssize_t n = read(fd, buf, size);

	if (n > 0) {
		look_at_request(p, buf, (size_t)n);
		rename_tmpfile(buf, (size_t)n);
		if (p->acl)
			n = (ssize_t)shorten_setxattr(buf, (size_t)n);
	}
	return n;
}

/* The kernel ends what it cannot have: the mount fails. */
static ssize_t refuse_init(int fd, struct fuse_out_header *head)
{
	head->error = -EPROTO;
	head->len = sizeof(*head);
	return write(fd, head, sizeof(*head));
}

/* A reply is a header and its body, the header in iov[0]. What is patched here is the body of two
 * of them. */
static ssize_t session_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct init_patch *p = init_patch_of(userdata);
	struct fuse_out_header head;

	rfs_check(count > 0 && iov[0].iov_len >= sizeof(head));
	memcpy(&head, iov[0].iov_base, sizeof(head));
	if (p->init_unique != 0 && head.unique == p->init_unique) {
		p->init_unique = 0;
		if (p->too_old)
			return refuse_init(fd, &head);
		if (head.error == 0 && count == 2 && iov[1].iov_len == sizeof(struct fuse_init_out))
			patch_init(p, iov[1].iov_base);
		else if (head.error == 0)
			log_warn("libfuse answers INIT in a form we do not know: left as it is");
	}
	return writev(fd, iov, count);
}

int init_install(struct fuse_session *se)
{
	static const struct fuse_custom_io io = {.writev = session_writev, .read = session_read};

	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}
