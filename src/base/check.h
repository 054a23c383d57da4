/* Assertions: what must be true of our own code, on in every build. Never of disk, wire, user or
 * system call. They end the process: a node that contradicts itself must not go on voting. */
#ifndef RFS_BASE_CHECK_H
#define RFS_BASE_CHECK_H

#include <stdint.h>
#include <stdnoreturn.h>

noreturn void rfs_check_failed(const char *expr, const char *file, int line);
/* Log a last sentence and abort(); for states that only a defect of ours can reach. */
noreturn void rfs_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define rfs_check(expr) ((expr) ? (void)0 : rfs_check_failed(#expr, __FILE__, __LINE__))

/* Every object that travels through a `void *` starts with its own number, checked where it comes
 * back (Varnish's miniobj). */
#define RFS_MAGIC_SET(obj, number)   ((obj)->magic = (number))
#define RFS_MAGIC_CHECK(obj, number) rfs_check((obj) != NULL && (obj)->magic == (number))

#endif
