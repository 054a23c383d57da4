/* Access control lists as text, for tests: "u::rwx,u:5:r-x,g::---,g:7:rw-,m::rwx,o::---". */
#ifndef RFS_TESTS_ACL_KIT_H
#define RFS_TESTS_ACL_KIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/acl.h"

static inline uint16_t acl_kit_tag(char letter, bool named)
{
	switch (letter) {
	case 'u': return named ? ACL_USER : ACL_USER_OBJ;
	case 'g': return named ? ACL_GROUP : ACL_GROUP_OBJ;
	case 'm': return ACL_MASK;
	default: return ACL_OTHER;
	}
}

/* Its bytes, whatever it says. Borrowed until the next call but three. */
static inline struct fs_str acl_kit_bytes(const char *text)
{
	static struct buf bytes[4];
	static unsigned turn;
	struct buf *b = &bytes[turn++ % 4];

	buf_clear(b);
	buf_put_u32(b, 2);
	while (*text != '\0') {
		bool named = text[2] != ':';
		char *end;
		uint32_t id = named ? (uint32_t)strtoul(text + 2, &end, 10) : ACL_ID_NONE;
		const char *perm = named ? end + 1 : text + 3;

		buf_put_u16(b, acl_kit_tag(text[0], named));
		buf_put_u16(b, (uint16_t)((perm[0] == 'r' ? 4 : 0) | (perm[1] == 'w' ? 2 : 0) |
		                          (perm[2] == 'x' ? 1 : 0)));
		buf_put_u32(b, id);
		text = perm[3] == ',' ? perm + 4 : perm + 3;
	}
	return (struct fs_str){(const char *)b->data, (uint32_t)b->len};
}

static inline struct acl acl_kit_of(const char *text)
{
	struct fs_str bytes = acl_kit_bytes(text);
	struct acl a;

	ck_assert_int_eq(acl_get(&a, bytes.p, bytes.len), 0);
	return a;
}

static inline void acl_kit_is(const struct acl *a, const char *text)
{
	struct fs_str wanted = acl_kit_bytes(text);
	struct buf b;

	buf_init(&b);
	acl_put(&b, a);
	ck_assert_uint_eq(b.len, wanted.len);
	ck_assert_mem_eq(b.data, wanted.p, wanted.len);
	buf_free(&b);
}

#endif
