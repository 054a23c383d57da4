/* A word to the service manager that started us: sd_notify(3), which is one datagram. */
#ifndef RFS_RAFTD_NOTIFY_H
#define RFS_RAFTD_NOTIFY_H

/* Say `state` ("READY=1") to $NOTIFY_SOCKET. Without one, or if nobody listens, nothing happens:
 * a service must work as well without a manager. */
void notify_manager(const char *state);

#endif
