/* SPDX-License-Identifier: ISC */
/*
 * Reads secrets from files: where they may be, who may be able to read them,
 * what is in them.  It calls libcrypto for wiping and comparing, and must
 * never put a byte of a secret into a message.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "daemon/secret.h"

#define CREDENTIAL	"credential:"
#define CREDENTIALS_DIR	"CREDENTIALS_DIRECTORY"

/* "0x", two digits a byte, the newline, and one byte to see a longer file. */
#define SECRET_FILE_MAX	(2 + 2 * SECRET_MAX + 1)

/* Where the words of a failure go. */
struct secret_why {
	char	*text;
	size_t	 size;
};

static int secret_fail(const struct secret_why *why, int error,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int
secret_fail(const struct secret_why *why, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why->text, why->size, fmt, ap);
	va_end(ap);
	return -error;
}

static bool
is_credential(const char *where)
{
	return strncmp(where, CREDENTIAL, strlen(CREDENTIAL)) == 0;
}

const char *
secret_where_check(const char *where)
{
	const char *name = where + strlen(CREDENTIAL);

	if (where[0] == '/')
		return NULL;
	if (!is_credential(where))
		return "write an absolute path or credential:NAME";
	if (*name == '\0' || *name == '.' || strchr(name, '/') != NULL)
		return "the name of a credential is not empty, has no '/' and "
		    "does not begin with '.'";
	return NULL;
}

/* The path of the file, to be freed. */
static int
find_file(const char *where, char **path, const struct secret_why *why)
{
	const char *wrong = secret_where_check(where);
	const char *dir = getenv(CREDENTIALS_DIR);
	int n;

	if (wrong != NULL)
		return secret_fail(why, EINVAL, "%s", wrong);
	if (!is_credential(where)) {
		*path = strdup(where);
		return *path == NULL ? secret_fail(why, ENOMEM,
		    "out of memory") : 0;
	}
	if (dir == NULL)
		return secret_fail(why, ENOENT, "there is no $"
		    CREDENTIALS_DIR ": start the daemon by systemd, with "
		    "LoadCredential=%s", where + strlen(CREDENTIAL));
	n = asprintf(path, "%s/%s", dir, where + strlen(CREDENTIAL));
	return n == -1 ? secret_fail(why, ENOMEM, "out of memory") : 0;
}

/*
 * Nobody but the owner may read it.  systemd gives a service its credentials
 * by an ACL, which shows as the group's bits, in a directory that only the
 * service may enter.
 */
static int
check_file(int fd, bool credential, const char *path,
    const struct secret_why *why)
{
	const mode_t others = credential ? S_IRWXO : S_IRWXG | S_IRWXO;
	struct stat st;

	if (fstat(fd, &st) == -1)
		return secret_fail(why, errno, "cannot read %s: %s", path,
		    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return secret_fail(why, EINVAL, "%s is not a regular file",
		    path);
	if ((st.st_mode & others) != 0)
		return secret_fail(why, EPERM, "%s can be read or written by "
		    "others than its owner (mode %04o): chmod 600 it", path,
		    (unsigned)(st.st_mode & 07777));
	return 0;
}

/* Read at most `size` bytes; returns how many, or a negative errno. */
static ssize_t
read_all(int fd, char *bytes, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, bytes + len, size - len);
		if (n == -1 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n > 0)
			len += (size_t)n;
	}
	return (ssize_t)len;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
take_hex(const char *digits, size_t len, struct secret *out,
    const char *path, const struct secret_why *why)
{
	int hi, lo;

	if (len % 2 != 0 || len == 0)
		return secret_fail(why, EINVAL, "%s: after 0x come two "
		    "hexadecimal digits for each byte", path);
	if (len / 2 > sizeof(out->bytes))
		return secret_fail(why, E2BIG, "%s: a secret has at most %d "
		    "bytes", path, SECRET_MAX);
	for (size_t i = 0; i < len / 2; i++) {
		hi = hex_digit(digits[2 * i]);
		lo = hex_digit(digits[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return secret_fail(why, EINVAL, "%s: after 0x come "
			    "hexadecimal digits only", path);
		out->bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	out->len = len / 2;
	return 0;
}

static int
take_bytes(const char *bytes, size_t len, struct secret *out,
    const char *path, const struct secret_why *why)
{
	if (len > 0 && bytes[len - 1] == '\n')
		len--;
	if (len == 0)
		return secret_fail(why, EINVAL, "%s is empty", path);
	if (len >= 2 && bytes[0] == '0' && bytes[1] == 'x')
		return take_hex(bytes + 2, len - 2, out, path, why);
	if (len > sizeof(out->bytes))
		return secret_fail(why, E2BIG, "%s: a secret has at most %d "
		    "bytes", path, SECRET_MAX);
	memcpy(out->bytes, bytes, len);
	out->len = len;
	return 0;
}

static int
read_file(const char *path, bool credential, struct secret *out,
    const struct secret_why *why)
{
	char bytes[SECRET_FILE_MAX + 1];
	ssize_t n;
	int fd, error;

	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1)
		return secret_fail(why, errno, "cannot read %s: %s", path,
		    strerror(errno));
	error = check_file(fd, credential, path, why);
	if (error == 0) {
		n = read_all(fd, bytes, sizeof(bytes));
		if (n < 0)
			error = secret_fail(why, (int)-n, "cannot read %s: "
			    "%s", path, strerror((int)-n));
		else
			error = take_bytes(bytes, (size_t)n, out, path, why);
		OPENSSL_cleanse(bytes, sizeof(bytes));
	}
	close(fd);
	return error;
}

int
secret_read(const char *where, struct secret *out, char *why, size_t size)
{
	const struct secret_why words = { why, size };
	char *path = NULL;
	int error;

	secret_wipe(out);
	error = find_file(where, &path, &words);
	if (error != 0)
		return error;
	error = read_file(path, is_credential(where), out, &words);
	free(path);
	if (error != 0)
		secret_wipe(out);
	return error;
}

bool
secret_is_short(const struct secret *s)
{
	return s->len < SECRET_STRONG_MIN;
}

bool
secret_equal(const struct secret *a, const struct secret *b)
{
	return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes,
	    a->len) == 0;
}

void
secret_wipe(struct secret *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}
