/* What people type: endpoints, keys, mount options, lines of the shell. No text may crash the parsers. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../fuse/options.h"
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "../../src/base/op.h"
#include "../../src/config/config.h"
#include "../../src/raftctl/shell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char host[CONFIG_HOST_MAX + 1];
	char *argv[] = {"raftfs", "mountpoint", "-o", NULL, NULL};
	struct mount_options options;
	struct rfs_err err = {0};
	struct fs_str path, component;
	struct words words;
	char *text;
	uint16_t port;

	if (size > 8192)
		return 0;
	text = mem_strndup((const char *)data, size);
	(void)config_parse_endpoint(text, host, &port);
	if (words_split(&words, text, &err) == 0)
		words_free(&words);
	else
		rfs_check(err.msg[0] != '\0');
	argv[3] = text;
	path = (struct fs_str){text, (uint32_t)size};
	if (fs_path_check(path) == 0)
		while (fs_path_next(&path, &component))
			(void)fs_name_check(component);
	if (options_parse(&options, 4, argv, true, &err) != 0)
		rfs_check(err.msg[0] != '\0');
	options_free(&options);
	free(text);
	return 0;
}
