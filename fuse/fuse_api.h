/* The version of libfuse's interface that all of fuse/ is written for. */
#ifndef RFS_FUSE_FUSE_API_H
#define RFS_FUSE_FUSE_API_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#endif
