/* Any bytes as a cluster file: an error with a sentence, or a configuration that keeps every rule. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../src/base/check.h"
#include "../../src/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config cfg;
	struct rfs_err err = {0};
	char path[64];
	int fd = memfd_create("cluster.toml", MFD_CLOEXEC);

	rfs_check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (config_load(&cfg, path, &err) != 0) {
		rfs_check(err.msg[0] != '\0');
	} else {
		rfs_check(cfg.n_nodes > 0 && cfg.n_nodes <= CONFIG_NODES_MAX &&
		          cfg.name[0] != '\0');
		rfs_check(cfg.heartbeat_ms < cfg.election_min_ms &&
		          cfg.election_min_ms <= cfg.election_max_ms);
	}
	(void)close(fd);
	return 0;
}
