/* SPDX-License-Identifier: ISC */
/*
 * A foreign initiator that gives its TCP socket away: libiscsi logs in, reads
 * the capacity, and sends the socket by SCM_RIGHTS over standard input, which
 * is a UNIX socket.  It keeps its own descriptor until standard input ends,
 * and then exits without a Logout.  Prints one line a step.
 *
 *   adopt_libiscsi PORTAL TARGET LUN [header]
 */
#include "config.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#define ADOPT_NAME	"iqn.2026-01.org.example:foreign"

static int
adopt_fail(struct iscsi_context *iscsi, const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, iscsi_get_error(iscsi));
	return -1;
}

/* A few commands, so that CmdSN and StatSN are not those of the login. */
static int
adopt_login(struct iscsi_context *iscsi, char *argv[], int argc)
{
	struct scsi_task *task;
	int good;

	(void)iscsi_set_targetname(iscsi, argv[2]);
	(void)iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	(void)iscsi_set_header_digest(iscsi, argc > 4 ?
	    ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_noautoreconnect(iscsi, 1);
	if (iscsi_full_connect_sync(iscsi, argv[1], atoi(argv[3])) != 0)
		return adopt_fail(iscsi, "login");
	(void)printf("logged in to %s\n", argv[1]);
	task = iscsi_readcapacity16_sync(iscsi, atoi(argv[3]));
	good = task != NULL && task->status == SCSI_STATUS_GOOD;
	scsi_free_scsi_task(task);
	return good ? 0 : adopt_fail(iscsi, "READ CAPACITY");
}

/* One byte with a descriptor on it. */
static int
adopt_send(int over, int fd)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	union {
		char		buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr	align;
	} control;
	struct msghdr msg;
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.buf;
	msg.msg_controllen = sizeof(control.buf);
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(over, &msg, 0) == 1 ? 0 : -1;
}

int
main(int argc, char *argv[])
{
	struct iscsi_context *iscsi;
	char byte;

	if (argc < 4 || argc > 5) {
		(void)fprintf(stderr,
		    "usage: adopt_libiscsi PORTAL TARGET LUN [header]\n");
		return 2;
	}
	iscsi = iscsi_create_context(ADOPT_NAME);
	if (iscsi == NULL || adopt_login(iscsi, argv, argc) != 0)
		return 1;
	if (adopt_send(STDIN_FILENO, iscsi_get_fd(iscsi)) != 0) {
		perror("sendmsg");
		return 1;
	}
	(void)puts("sent");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	/* No Logout: the socket is another's by now. */
	_exit(0);
}
