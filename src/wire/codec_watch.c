/* Watching for changes, and what is told of them. */
#include <stdlib.h>
#include "../base/mem.h"
#include "codec_priv.h"

static struct fs_str str_of_pb(const ProtobufCBinaryData *b)
{
	return (struct fs_str){.p = b->len > 0 ? (const char *)b->data : NULL,
	                       .len = (uint32_t)b->len};
}

void wire_put_watch(struct buf *b, const struct wire_watch *w)
{
	RfsPb__Watch m = RFS_PB__WATCH__INIT;

	m.id = w->id;
	m.from_index = w->from_index;
	m.from_sub = w->from_sub;
	m.prefix = codec_bytes(w->prefix.p, w->prefix.len);
	m.stop = w->stop;
	m.recent = w->recent;
	codec_put(b, FRAME_WATCH, &m.base);
}

int wire_get_watch(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_watch *w,
                   struct rfs_err *err)
{
	RfsPb__Watch *m = codec_unpack(&rfs_pb__watch__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->prefix.len > FS_PATH_BYTES_MAX)
		return rfs_err_set(err, RFS_ECORRUPT, "watch of a prefix of %zu bytes",
		                   m->prefix.len);
	*w = (struct wire_watch){
	        .id = m->id,
	        .from_index = m->from_index,
	        .from_sub = m->from_sub,
	        .recent = m->recent,
	        .stop = m->stop != 0,
	        .prefix = str_of_pb(&m->prefix),
	};
	return 0;
}

static void event_to_pb(RfsPb__Event *m, const struct wire_event *e)
{
	rfs_pb__event__init(m);
	m->index = e->index;
	m->sub = e->sub;
	m->kind = e->kind;
	m->ino = e->ino;
	m->version = e->version;
	m->parent = e->parent;
	m->old_parent = e->old_parent;
	m->session = e->session;
	m->mode = e->mode;
	m->path = codec_bytes(e->path.p, e->path.len);
	m->old_path = codec_bytes(e->old_path.p, e->old_path.len);
}

void wire_put_events(struct buf *b, const struct wire_events *e)
{
	RfsPb__Events m = RFS_PB__EVENTS__INIT;
	RfsPb__Event *events = mem_calloc(e->n, sizeof(*events));
	RfsPb__Event **pointers = mem_calloc(e->n, sizeof(RfsPb__Event *));

	for (size_t i = 0; i < e->n; i++) {
		event_to_pb(&events[i], &e->events[i]);
		pointers[i] = &events[i];
	}
	m.id = e->id;
	m.n_events = e->n;
	m.events = pointers;
	m.next_index = e->next_index;
	m.next_sub = e->next_sub;
	m.lost_from = e->lost_from;
	m.lost_to = e->lost_to;
	m.applied = e->applied;
	m.has_leader = e->has_leader;
	codec_put(b, FRAME_EVENTS, &m.base);
	free(events);
	free(pointers);
}

int wire_get_events(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_events *e,
                    struct rfs_err *err)
{
	RfsPb__Events *m = codec_unpack(&rfs_pb__events__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*e = (struct wire_events){
	        .id = m->id,
	        .next_index = m->next_index,
	        .next_sub = m->next_sub,
	        .lost_from = m->lost_from,
	        .lost_to = m->lost_to,
	        .applied = m->applied,
	        .has_leader = m->has_leader != 0,
	        .n = m->n_events,
	};
	e->events = arena_array(a, e->n > 0 ? e->n : 1, sizeof(*e->events));
	if (e->events == NULL)
		return rfs_err_set(err, RFS_ECORRUPT, "too many events in one message");
	for (size_t i = 0; i < e->n; i++) {
		const RfsPb__Event *from = m->events[i];

		e->events[i] = (struct wire_event){
		        .index = from->index,
		        .ino = from->ino,
		        .version = from->version,
		        .parent = from->parent,
		        .old_parent = from->old_parent,
		        .session = from->session,
		        .mode = from->mode,
		        .sub = from->sub,
		        .kind = from->kind,
		        .path = str_of_pb(&from->path),
		        .old_path = str_of_pb(&from->old_path),
		};
	}
	return 0;
}
