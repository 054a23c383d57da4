#include "keeper.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include "../base/log.h"

#define DAY_S      86400
#define DAY_MS     ((uint64_t)DAY_S * 1000)
#define WARN_S     (30 * DAY_S)
#define DATE_BYTES 32

static void print_date(int64_t at_s, char out[DATE_BYTES])
{
	time_t t = (time_t)at_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, DATE_BYTES, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		out[0] = '\0';
}

static void tell_expiry(const struct tls_keeper *k)
{
	const char *file;
	int64_t at_s = tls_context_expiry_s(k->tls, &file), left_s = at_s - (int64_t)time(NULL);
	char date[DATE_BYTES];

	if (left_s >= WARN_S)
		return;
	print_date(at_s, date);
	if (left_s <= 0)
		log_error("%s: the certificate has ended, at %s: nobody takes it any more", file,
		          date);
	else
		log_warn("%s: the certificate ends in %" PRId64
		         " days, at %s; put a new one there and send SIGHUP",
		         file, left_s / DAY_S, date);
}

static void on_day(uv_timer_t *timer)
{
	tell_expiry(timer->data);
}

static void on_hangup(uv_signal_t *signal, int number)
{
	struct tls_keeper *k = signal->data;
	struct rfs_err err = {0};
	char date[DATE_BYTES];
	const char *file;

	(void)number;
	if (tls_context_reload(k->tls, &err) != 0) {
		log_error("SIGHUP: the certificate stays as it was: %s", err.msg);
		return;
	}
	print_date(tls_context_expiry_s(k->tls, &file), date);
	log_info("SIGHUP: certificate read again; %s ends first, at %s", file, date);
	tell_expiry(k);
}

int tls_keeper_start(struct tls_keeper *k, uv_loop_t *loop, struct tls_context *tls)
{
	int rc;

	*k = (struct tls_keeper){0};
	if (tls == NULL)
		return 0;
	rc = uv_signal_init(loop, &k->hangup);
	if (rc != 0) {
		tls_context_free(tls);
		return rc;
	}
	k->tls = tls;
	k->hangup.data = k->daily.data = k;
	(void)uv_timer_init(loop, &k->daily);
	(void)uv_signal_start(&k->hangup, on_hangup, SIGHUP);
	(void)uv_timer_start(&k->daily, on_day, DAY_MS, DAY_MS);
	uv_unref((uv_handle_t *)&k->hangup);
	uv_unref((uv_handle_t *)&k->daily);
	tell_expiry(k);
	return 0;
}

void tls_keeper_stop(struct tls_keeper *k)
{
	if (k->tls == NULL)
		return;
	uv_close((uv_handle_t *)&k->hangup, NULL);
	uv_close((uv_handle_t *)&k->daily, NULL);
	(void)signal(SIGHUP, SIG_IGN); /* libuv gave it back its default, which would end us */
	tls_context_free(k->tls);
	k->tls = NULL;
}
