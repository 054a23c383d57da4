#include "text.h"

/* Length of the UTF-8 sequence at `p`, with its code point; 0 if there is none (RFC 3629: no
 * overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_next(const uint8_t *p, size_t n, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80   ? 1
	             : p[0] < 0xc0 ? 0
	             : p[0] < 0xe0 ? 2
	             : p[0] < 0xf0 ? 3
	             : p[0] < 0xf8 ? 4
	                           : 0;

	if (len == 0 || len > n)
		return 0;
	*code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3fu);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return len;
}

bool text_is_utf8(const void *p, size_t n)
{
	const uint8_t *at = p;
	uint32_t code;

	while (n > 0) {
		size_t len = utf8_next(at, n, &code);

		if (len == 0)
			return false;
		at += len;
		n -= len;
	}
	return true;
}

/* Controls (also C1), and what reorders a line: direction marks could make a value look like
 * another one. */
static bool is_plain(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code < 0xa0) && code != 0x2028 && code != 0x2029 &&
	       !(code >= 0x202a && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

void text_put_escaped(struct buf *b, const void *p, size_t n)
{
	const uint8_t *at = p, *end = n > 0 ? at + n : at;

	while (at < end) {
		uint32_t code = 0;
		size_t len = utf8_next(at, (size_t)(end - at), &code);

		if (len > 0 && is_plain(code) && code != '\\') {
			buf_put(b, at, len);
			at += len;
			continue;
		}
		switch (*at) {
		case '\n': buf_put(b, "\\n", 2); break;
		case '\t': buf_put(b, "\\t", 2); break;
		case '\r': buf_put(b, "\\r", 2); break;
		case '\\': buf_put(b, "\\\\", 2); break;
		default: buf_printf(b, "\\x%02x", *at); break;
		}
		/* the rest of a sequence is no sequence by itself, and so goes the same way */
		at++;
	}
}
