/* SPDX-License-Identifier: ISC */
/*
 * The configuration's files: reads them, finds what an include or conf.d
 * names, and bounds it all.  A file is read once in a load, so includes end.
 * It calls config_scan() for what it read and knows nothing of the content.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config_priv.h"

/* Read up to `max` bytes from `fd`; a longer file is -E2BIG. */
static int
read_all(int fd, size_t max, char **out, size_t *len)
{
	size_t size = 0;
	ssize_t n;
	char *buf;

	/* One byte more than allowed tells a file that is too long, and one
	 * for the NUL. */
	buf = malloc(max + 2);
	if (buf == NULL)
		return -ENOMEM;
	while (size <= max) {
		n = read(fd, buf + size, max + 1 - size);
		if (n == 0)
			break;
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			n = -errno;
			free(buf);
			return (int)n;
		}
		size += (size_t)n;
	}
	if (size > max) {
		free(buf);
		return -E2BIG;
	}
	buf[size] = '\0';
	*out = buf;
	*len = size;
	return 0;
}

int
config_read_bytes(const char *path, size_t max, char **out, size_t *len,
    struct config_source *src)
{
	struct stat st;
	int fd, error;

	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1)
		return -errno;
	if (fstat(fd, &st) == -1)
		error = -errno;
	else if (!S_ISREG(st.st_mode))
		error = -EINVAL;
	else
		error = read_all(fd, max, out, len);
	if (error == 0 && src != NULL) {
		src->dev = st.st_dev;
		src->ino = st.st_ino;
	}
	close(fd);
	return error;
}

static void
read_failed(struct config_load *ld, const struct config_place *from,
    const char *path, int error)
{
	struct config_place whole = { .file = path, .line = 0 };
	const char *key = from == NULL ? NULL : "include";

	if (error == -ENOMEM) {
		config_fail_memory(ld);
		return;
	}
	if (from == NULL)
		from = &whole;
	if (error == -E2BIG)
		config_fail(ld, from, key, "%s is larger than %d bytes: "
		    "split it", path, CONFIG_FILE_MAX);
	else if (error == -EINVAL)
		config_fail(ld, from, key, "%s is not a regular file", path);
	else
		config_fail(ld, from, key, "cannot read %s: %s", path,
		    strerror(-error));
}

/* Has this very file been read, by whatever name?  Then say so. */
static bool
read_before(struct config_load *ld, const struct config_source *src,
    const struct config_place *from)
{
	const struct config_source *s;
	struct config_place whole = { .file = src->path, .line = 0 };

	for (s = ld->sources; s != NULL; s = s->next) {
		if (s->dev != src->dev || s->ino != src->ino)
			continue;
		config_fail(ld, from != NULL ? from : &whole, "include",
		    s->active ? "%s includes itself: break the loop" :
		    "%s is read twice: remove one include (conf.d is read "
		    "without any)", src->path);
		return true;
	}
	return false;
}

/* May one more file of `len` bytes be read? */
static bool
read_fits(struct config_load *ld, const struct config_source *src,
    const struct config_place *from, size_t len)
{
	struct config_place whole = { .file = src->path, .line = 0 };

	if (ld->source_count < CONFIG_FILES_MAX &&
	    len <= CONFIG_TOTAL_MAX - ld->bytes)
		return true;
	config_fail(ld, from != NULL ? from : &whole, NULL, "more than %d "
	    "files or %d bytes in all: remove some", CONFIG_FILES_MAX,
	    CONFIG_TOTAL_MAX);
	return false;
}

/* Say where a NUL is; text functions would take it for the end. */
static bool
read_has_nul(struct config_load *ld, const char *path, const char *bytes,
    size_t len)
{
	struct config_place at = { .file = path, .line = 1 };
	const char *nul = memchr(bytes, '\0', len);

	if (nul == NULL)
		return false;
	for (; bytes < nul; bytes++)
		at.line += *bytes == '\n';
	config_fail(ld, &at, NULL, "a NUL byte: this is no text file");
	return true;
}

void
config_read_file(struct config_load *ld, const char *path,
    const struct config_place *from, bool optional, unsigned depth)
{
	struct config_source *src;
	char *bytes = NULL;
	size_t len;
	int error;

	src = calloc(1, sizeof(*src));
	if (src == NULL || (src->path = config_strdup(ld, path)) == NULL) {
		free(src);
		config_fail_memory(ld);
		return;
	}
	error = config_read_bytes(path, CONFIG_FILE_MAX, &bytes, &len, src);
	if (error != 0 && !(error == -ENOENT && optional))
		read_failed(ld, from, path, error);
	if (error != 0 || read_before(ld, src, from) ||
	    !read_fits(ld, src, from, len)) {
		free(src->path);
		free(src);
		free(bytes);
		return;
	}
	src->next = ld->sources;
	ld->sources = src;
	ld->source_count++;
	ld->bytes += len;
	if (!read_has_nul(ld, src->path, bytes, len)) {
		src->active = true;
		config_scan(ld, src->path, bytes, len, depth);
		src->active = false;
	}
	free(bytes);
}

/* The directory of `path` for glob(3), its special characters escaped, with
 * `pattern` after it. */
static char *
read_pattern(struct config_load *ld, const char *path, const char *pattern)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	char *full, *p;

	if (pattern[0] == '/')
		dir = 0;
	full = p = malloc(2 * dir + strlen(pattern) + 1);
	if (full == NULL) {
		config_fail_memory(ld);
		return NULL;
	}
	for (size_t i = 0; i < dir; i++) {
		if (strchr("*?[\\", path[i]) != NULL)
			*p++ = '\\';
		*p++ = path[i];
	}
	memcpy(p, pattern, strlen(pattern) + 1);
	return full;
}

/* glob(3) sorts by locale. */
static int
read_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
read_glob(struct config_load *ld, const char *pattern,
    const struct config_place *from, unsigned depth)
{
	glob_t g = { .gl_pathc = 0 };
	int rc;

	errno = 0;
	rc = glob(pattern, GLOB_ERR | GLOB_NOSORT, NULL, &g);
	if (rc == GLOB_NOSPACE) {
		config_fail_memory(ld);
	} else if (rc == GLOB_ABORTED) {
		read_failed(ld, from, pattern, errno != 0 ? -errno : -EIO);
	} else if (rc == GLOB_NOMATCH && strpbrk(pattern, "*?[") == NULL) {
		read_failed(ld, from, pattern, -ENOENT);
	} else if (rc == 0) {
		qsort(g.gl_pathv, g.gl_pathc, sizeof(*g.gl_pathv), read_order);
		for (size_t i = 0; i < g.gl_pathc; i++)
			config_read_file(ld, g.gl_pathv[i], from, false, depth);
	}
	globfree(&g);
}

void
config_read_include(struct config_load *ld, const char *pattern,
    const struct config_place *from, unsigned depth)
{
	char *full;

	if (depth == CONFIG_INCLUDE_MAX) {
		config_fail(ld, from, "include", "more than %d includes "
		    "inside each other: flatten them", CONFIG_INCLUDE_MAX);
		return;
	}
	full = read_pattern(ld, from->file, pattern);
	if (full != NULL)
		read_glob(ld, full, from, depth + 1);
	free(full);
}

void
config_read_dropins(struct config_load *ld, const char *main_path)
{
	const char *slash = strrchr(main_path, '/');
	struct stat st;
	char *dir, *full;
	int n = slash == NULL ? 0 : (int)(slash - main_path) + 1;

	if (asprintf(&dir, "%.*sconf.d", n, main_path) == -1) {
		config_fail_memory(ld);
		return;
	}
	if (stat(dir, &st) == -1) {
		if (errno != ENOENT && errno != ENOTDIR)
			read_failed(ld, NULL, dir, -errno);
	} else {
		full = read_pattern(ld, main_path, "conf.d/*.conf");
		if (full != NULL)
			read_glob(ld, full, NULL, 0);
		free(full);
	}
	free(dir);
}
