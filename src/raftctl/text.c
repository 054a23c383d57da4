/* Bytes as text. */
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "ctl.h"

void ctl_put_base64(struct buf *b, const void *p, size_t n)
{
	static const char digits[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *at = p;

	for (; n > 0; at += 3) {
		size_t take = n < 3 ? n : 3;
		uint32_t v = (uint32_t)at[0] << 16 | (take > 1 ? (uint32_t)at[1] << 8 : 0) |
		             (take > 2 ? at[2] : 0);

		buf_put_u8(b, (uint8_t)digits[v >> 18]);
		buf_put_u8(b, (uint8_t)digits[v >> 12 & 63]);
		buf_put_u8(b, take > 1 ? (uint8_t)digits[v >> 6 & 63] : '=');
		buf_put_u8(b, take > 2 ? (uint8_t)digits[v & 63] : '=');
		n -= take;
	}
}

void ctl_json_set_bytes(json_t *object, const char *name, const void *p, size_t n)
{
	struct buf key, text;

	if (text_is_utf8(p, n)) {
		rfs_check(json_object_set_new(object, name, json_stringn(n > 0 ? p : "", n)) == 0);
		return;
	}
	buf_init(&key);
	buf_init(&text);
	buf_printf(&key, "%s_base64", name);
	buf_put_u8(&key, 0);
	ctl_put_base64(&text, p, n);
	rfs_check(json_object_set_new(object, (const char *)key.data,
	                              json_stringn((const char *)text.data, text.len)) == 0);
	buf_free(&key);
	buf_free(&text);
}

void ctl_json_print(json_t *value)
{
	(void)json_dumpf(value, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(value);
}

void ctl_json_print_change(const char *key, uint64_t index)
{
	json_t *o = json_object();

	ctl_json_set_bytes(o, "key", key, strlen(key));
	(void)json_object_set_new(o, "index", json_integer((json_int_t)index));
	ctl_json_print(o);
}
