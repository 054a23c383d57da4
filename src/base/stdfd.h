/* Standard descriptors that were closed by whoever started us would be taken by the next file opened, and what is
 * meant for a terminal would be written into it: open /dev/null in their place. First thing in main(). */
#ifndef RFS_BASE_STDFD_H
#define RFS_BASE_STDFD_H

void stdfd_open_missing(void);

#endif
