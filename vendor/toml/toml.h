/* A C face for toml++ (which has only a C++ one): parse, walk, and know the line of everything. */
#ifndef RFS_VENDOR_TOML_H
#define RFS_VENDOR_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct toml_doc;
struct toml_node; /* borrowed from its document */

enum toml_type {
	TOML_TABLE,
	TOML_ARRAY,
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_OTHER
};

/* Parse `n` bytes. NULL with a sentence and the line in *error (free() it) and *line. */
struct toml_doc *toml_parse(const char *text, size_t n, char **error, unsigned *line);
void toml_free(struct toml_doc *d);
const struct toml_node *toml_root(const struct toml_doc *d);

enum toml_type toml_type_of(const struct toml_node *n);
unsigned toml_line(const struct toml_node *n); /* from 1 */
size_t toml_count(const struct toml_node *n);  /* members of a table or an array; else 0 */
const struct toml_node *toml_get(const struct toml_node *table,
                                 const char *key); /* NULL if absent */
const struct toml_node *toml_at(const struct toml_node *array, size_t i);
/* The i-th key of a table, in order of its file position; `value` may be NULL. Terminated,
 * borrowed. */
const char *toml_key_at(const struct toml_node *table, size_t i, const struct toml_node **value,
                        unsigned *line);
const char *toml_string(const struct toml_node *n, size_t *len); /* NULL if not a string */
bool toml_integer(const struct toml_node *n, int64_t *out);
bool toml_boolean(const struct toml_node *n, bool *out);

#ifdef __cplusplus
}
#endif
#endif
