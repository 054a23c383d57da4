#include "embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_directories(const char *path, struct rfs_err *err)
{
	char part[CONFIG_PATH_MAX];
	size_t len = strlen(path);

	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return rfs_err_set(err, -errno, "cannot make the directory %s: %s", part,
			                   strerror(errno));
	}
	return 0;
}

int embedded_config(struct embedded *e, struct config *cfg, struct rfs_err *err)
{
	int rc = config_embedded_dir(e->dir, err);

	if (rc == 0)
		rc = make_directories(e->dir, err);
	if (rc != 0)
		return rc;
	if (snprintf(e->endpoint_file, sizeof(e->endpoint_file), "%s/endpoint", e->dir) >=
	    (int)sizeof(e->endpoint_file))
		return rfs_err_set(err, -ENAMETOOLONG, "%s: path too long", e->dir);
	config_single(cfg, e->dir, 0);
	return 0;
}

int embedded_publish(const struct embedded *e, uint16_t port, struct rfs_err *err)
{
	char temporary[CONFIG_PATH_MAX + 8], line[64];
	int fd, len, rc = 0;

	(void)snprintf(temporary, sizeof(temporary), "%s.new", e->endpoint_file);
	len = snprintf(line, sizeof(line), "127.0.0.1:%u\n", (unsigned)port);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return rfs_err_set(err, -errno, "cannot write %s: %s", temporary, strerror(errno));
	if (write(fd, line, (size_t)len) != len || rename(temporary, e->endpoint_file) != 0)
		rc = rfs_err_set(err, -errno, "cannot write %s: %s", e->endpoint_file,
		                 strerror(errno));
	(void)close(fd);
	return rc;
}

void embedded_unpublish(const struct embedded *e)
{
	(void)unlink(e->endpoint_file);
}

int embedded_find(const struct embedded *e, struct config *cfg, struct rfs_err *err)
{
	struct config_node *n = &cfg->nodes[0];
	char line[CONFIG_HOST_MAX + 16] = "";
	FILE *f = fopen(e->endpoint_file, "re");

	if (f == NULL)
		return rfs_err_set(
		        err, -errno,
		        "the embedded store in %s is in use, and %s does not say where: %s", e->dir,
		        e->endpoint_file, strerror(errno));
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	(void)fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (config_parse_endpoint(line, n->host, &n->port) != 0)
		return rfs_err_set(err, -EINVAL, "%s: \"%s\" is not HOST:PORT", e->endpoint_file,
		                   line);
	return 0;
}
