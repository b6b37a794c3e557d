/* SPDX-License-Identifier: ISC */
/*
 * See fakedaemon.h.  Frames are encoded with proto/, whose bytes have tests
 * of their own.
 */
#include "config.h"

#include <sys/socket.h>

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"

static void
on_attached(struct iscsimux *h, void *arg, int error,
    const struct iscsimux_session *session)
{
	struct fake *f = arg;

	ck_assert_ptr_eq(h, f->h);
	f->news.attached++;
	f->news.attach_error = error;
	if (session != NULL)
		f->news.session = *session;
}

static void
on_event(struct iscsimux *h, void *arg, const struct iscsimux_event *event)
{
	struct fake *f = arg;

	ck_assert_ptr_eq(h, f->h);
	f->news.events++;
	f->news.event = *event;
	f->news.event.text = NULL;
	strlcpy(f->news.text, event->text, sizeof(f->news.text));
}

static void
on_pdu(struct iscsimux *h, void *arg, const struct iscsimux_pdu *pdu)
{
	struct fake *f = arg;

	ck_assert_ptr_eq(h, f->h);
	ck_assert_ptr_nonnull(pdu->bhs);
	f->news.pdus++;
	f->news.unmatched = pdu->unmatched;
	f->news.digests = pdu->digests;
}

static void
on_closed(struct iscsimux *h, void *arg, int error, const char *text)
{
	struct fake *f = arg;

	f->news.closed++;
	f->news.close_error = error;
	strlcpy(f->news.text, text, sizeof(f->news.text));
	if (f->news.free_in_closed) {
		iscsimux_free(h);
		f->h = NULL;
	}
}

struct msg_params
fake_params(void)
{
	return (struct msg_params){
		.generation = 1,
		.flags = MSG_PARAM_IMMEDIATE_DATA,
		.send_dsl = 1024,
		.recv_dsl = 262144,
		.max_burst = 16384,
		.first_burst = 4096,
		.max_r2t = 2,
	};
}

void
fake_open(struct fake *f)
{
	const struct iscsimux_callbacks cb = {
		.on_attached = on_attached,
		.on_event = on_event,
		.on_pdu = on_pdu,
		.on_closed = on_closed,
	};
	int sv[2];

	memset(f, 0, sizeof(*f));
	f->sent_fd = -1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sv), 0);
	f->fd = sv[1];
	f->h = iscsimux_new(&cb, f);
	ck_assert_ptr_nonnull(f->h);
	ck_assert_int_eq(iscsimux_connect_fd(f->h, sv[0]), 0);
}

void
fake_die(struct fake *f)
{
	if (f->fd != -1)
		close(f->fd);
	f->fd = -1;
}

void
fake_close(struct fake *f)
{
	iscsimux_free(f->h);
	f->h = NULL;
	fake_die(f);
	if (f->sent_fd != -1)
		close(f->sent_fd);
	f->sent_fd = -1;
}

void
fake_turn(struct fake *f)
{
	struct pollfd p;
	int i;

	for (i = 0; i < 1000 && f->h != NULL; i++) {
		p.fd = iscsimux_fd(f->h);
		p.events = iscsimux_events(f->h);
		if (p.fd == -1 || poll(&p, 1, 0) <= 0)
			return;
		iscsimux_service(f->h, p.revents);
	}
}

/* recv() that keeps a descriptor. */
static ssize_t
receive(struct fake *f, uint8_t *buf, size_t len)
{
	union {
		struct cmsghdr	hdr;
		uint8_t		buf[CMSG_SPACE(4 * sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(f->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (cm == NULL)
		return n;
	/* One at a time, with the first byte of its frame. */
	ck_assert_uint_eq(cm->cmsg_len, CMSG_LEN(sizeof(int)));
	ck_assert_uint_eq(len, FRAME_HEADER_LEN);
	ck_assert_int_eq(f->sent_fd, -1);
	memcpy(&f->sent_fd, CMSG_DATA(cm), sizeof(int));
	return n;
}

/* All of `len` bytes, letting the client send meanwhile. */
static bool
read_all(struct fake *f, uint8_t *buf, size_t len)
{
	size_t have = 0;
	ssize_t n;
	int idle = 0;

	while (have < len && idle < 3) {
		n = receive(f, buf + have, len - have);
		if (n > 0) {
			have += (size_t)n;
			idle = 0;
			continue;
		}
		if (n == 0)
			break;
		fake_turn(f);
		idle++;
	}
	if (have > 0)
		ck_assert_uint_eq(have, len);
	return have == len;
}

bool
fake_next(struct fake *f)
{
	struct fake_frame *fr = &f->frame;
	uint8_t wire[FRAME_HEADER_LEN];
	uint32_t head;

	fr->bhs = NULL;
	fr->data = NULL;
	fr->dsl = 0;
	if (!read_all(f, wire, sizeof(wire)))
		return false;
	frame_header_get(wire, &fr->h);
	ck_assert_uint_le(fr->h.len, sizeof(fr->payload));
	if (fr->h.len > 0)
		ck_assert(read_all(f, fr->payload, fr->h.len));
	if (fr->h.type == FRAME_SUBMIT && fr->h.len >= ISCSI_BHS_LEN) {
		fr->bhs = fr->payload;
		head = ISCSI_BHS_LEN + iscsi_ahs_len(fr->bhs);
		fr->data = fr->payload + head;
		fr->dsl = fr->h.len - head;
		if ((fr->h.flags & FRAME_F_TLV) != 0)
			fr->dsl = iscsi_dsl(fr->bhs);
	}
	return true;
}

void
fake_want(struct fake *f, uint16_t type)
{
	ck_assert(fake_next(f));
	ck_assert_str_eq(frame_type_name(f->frame.h.type),
	    frame_type_name(type));
}

void
fake_bytes(struct fake *f, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		n = send(f->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1 && errno == EAGAIN) {
			fake_turn(f);
			continue;
		}
		if (n == -1)
			break;		/* the handle has closed */
		p += n;
		len -= (size_t)n;
	}
	fake_turn(f);
}

size_t
fake_encode(uint8_t *buf, uint16_t type, uint16_t flags, uint64_t cookie,
    const void *bhs, const void *data, size_t len)
{
	size_t head = bhs != NULL ? ISCSI_BHS_LEN : 0;
	const struct frame_header h = {
		.len = (uint32_t)(head + len),
		.type = type,
		.flags = flags,
		.cookie = cookie,
	};

	frame_header_put(buf, &h);
	if (head > 0)
		memcpy(buf + FRAME_HEADER_LEN, bhs, head);
	if (len > 0)
		memcpy(buf + FRAME_HEADER_LEN + head, data, len);
	return FRAME_HEADER_LEN + head + len;
}

void
fake_frame(struct fake *f, uint16_t type, uint16_t flags, uint64_t cookie,
    const void *payload, size_t len)
{
	uint8_t *buf = malloc(FRAME_HEADER_LEN + len);
	size_t n;

	ck_assert_ptr_nonnull(buf);
	n = fake_encode(buf, type, flags, cookie, NULL, payload, len);
	fake_bytes(f, buf, n);
	free(buf);
}

void
fake_pdu(struct fake *f, uint64_t cookie, const uint8_t *bhs,
    const void *data, size_t len)
{
	uint8_t *buf = malloc(FRAME_HEADER_LEN + ISCSI_BHS_LEN + len);
	size_t n;

	ck_assert_ptr_nonnull(buf);
	n = fake_encode(buf, FRAME_PDU, 0, cookie, bhs, data, len);
	fake_bytes(f, buf, n);
	free(buf);
}

void
fake_welcome(struct fake *f)
{
	const struct msg_welcome m = {
		.version = 1,
		.features = f->features,
		.payload_max = FRAME_PAYLOAD_MAX,
		.data_max = FRAME_DATA_MAX,
		.tasks_max = FAKE_TASKS_MAX,
		.daemon = "fake 1.0",
	};
	uint8_t buf[256];
	int n = msg_welcome_encode(&m, buf, sizeof(buf));

	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_WELCOME, 0, f->frame.h.cookie, buf, (size_t)n);
}

void
fake_attached(struct fake *f, const struct msg_params *params,
    uint32_t tasks_max)
{
	const struct msg_attached m = {
		.state = MSG_SESSION_UP,
		.access = MSG_ACCESS_ALL,
		.tasks_max = tasks_max,
		.inbound_max = 64u << 20,
		.outbound_max = 16u << 20,
		.params = *params,
	};
	uint8_t buf[256];
	int n = msg_attached_encode(&m, buf, sizeof(buf));

	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_ATTACHED, 0, f->frame.h.cookie, buf, (size_t)n);
}

void
fake_attach(struct fake *f, const struct msg_params *params)
{
	const struct iscsimux_attach o = {
		.session = "disk",
		.events = ISCSIMUX_EVENTS_ALL,
	};

	fake_open(f);
	ck_assert_int_eq(iscsimux_attach(f->h, &o), 0);
	fake_want(f, FRAME_HELLO);
	fake_welcome(f);
	fake_want(f, FRAME_ATTACH);
	fake_attached(f, params, FAKE_TASKS_MAX);
	ck_assert_uint_eq(f->news.attached, 1);
	ck_assert_int_eq(f->news.attach_error, 0);
}

void
fake_ready(struct fake *f)
{
	struct msg_hello m;

	fake_open(f);
	f->features = MSG_FEATURE_RAW;
	fake_want(f, FRAME_HELLO);
	ck_assert_int_eq(msg_hello_decode(f->frame.payload, f->frame.h.len,
	    &m), 0);
	ck_assert_uint_eq(m.features, MSG_FEATURE_RAW);
	fake_welcome(f);
}

void
fake_status(struct iscsimux *h, void *cookie, int error)
{
	struct fake_status *s = cookie;

	s->count++;
	s->error = error;
	strlcpy(s->text, iscsimux_error_text(h), sizeof(s->text));
}

void
fake_raw(struct fake *f)
{
	const struct iscsimux_open o = {
		.portal = "127.0.0.1",
		.events = ISCSIMUX_EVENTS_ALL,
	};
	struct fake_status s = { 0 };

	fake_ready(f);
	ck_assert_int_eq(iscsimux_open(f->h, &o, fake_status, &s), 0);
	fake_want(f, FRAME_OPEN);
	fake_ok(f, f->frame.h.cookie);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_int_eq(s.error, 0);
	ck_assert(iscsimux_is_raw(f->h));
}

void
fake_ok(struct fake *f, uint64_t cookie)
{
	fake_frame(f, FRAME_OK, 0, cookie, NULL, 0);
}

void
fake_state(struct fake *f, uint64_t cookie, const struct msg_state *m)
{
	uint8_t buf[1024];
	int n = msg_state_encode(m, buf, sizeof(buf));

	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_STATE, 0, cookie, buf, (size_t)n);
}

void
fake_event_closed(struct fake *f, uint32_t error, const char *text,
    uint64_t in, uint64_t out)
{
	struct msg_event m = { .kind = MSG_EVENT_CLOSED, .count = 1,
	    .code = error, .bytes_in = in, .bytes_out = out };
	uint8_t buf[512];
	int n;

	strlcpy(m.text, text, sizeof(m.text));
	n = msg_event_encode(&m, buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_EVENT, 0, 0, buf, (size_t)n);
}

void
fake_fence(struct fake *f)
{
	fake_want(f, FRAME_PING);
	fake_frame(f, FRAME_PONG, 0, f->frame.h.cookie, f->frame.payload,
	    f->frame.h.len);
}

void
fake_send_fd(struct fake *f, uint16_t type, uint16_t flags, uint64_t cookie,
    const void *payload, size_t len, int fd)
{
	union {
		struct cmsghdr	hdr;
		uint8_t		buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	uint8_t frame[FRAME_HEADER_LEN + FRAME_PAYLOAD_SMALL];
	struct iovec iov = { frame, 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf) };

	ck_assert_uint_le(len, FRAME_PAYLOAD_SMALL);
	iov.iov_len = fake_encode(frame, type, flags, cookie, NULL, payload,
	    len);
	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(f->fd, &msg, 0), (ssize_t)iov.iov_len);
}

unsigned
fake_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

void
fake_outcome(struct fake *f, uint64_t cookie, uint8_t outcome,
    uint16_t reason, const char *text)
{
	struct msg_outcome m = {
		.outcome = outcome,
		.tmf_response = MSG_TMF_NO_RESPONSE,
		.reason = reason,
	};
	uint8_t buf[512];
	int n;

	strlcpy(m.text, text, sizeof(m.text));
	n = msg_outcome_encode(&m, buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_OUTCOME, 0, cookie, buf, (size_t)n);
}

void
fake_error(struct fake *f, uint64_t cookie, uint16_t reason, uint16_t type,
    const char *text)
{
	struct msg_error m = { .reason = reason, .frame_type = type };
	uint8_t buf[512];
	int n;

	strlcpy(m.text, text, sizeof(m.text));
	n = msg_error_encode(&m, buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	fake_frame(f, FRAME_ERROR, 0, cookie, buf, (size_t)n);
}

void
fake_data_in(uint8_t *out, const uint8_t *request, uint32_t offset,
    uint32_t len)
{
	memset(out, 0, ISCSI_BHS_LEN);
	out[ISCSI_OFF_OPCODE] = ISCSI_OP_DATA_IN;
	memcpy(out + ISCSI_OFF_ITT, request + ISCSI_OFF_ITT, 4);
	put_be32(out + ISCSI_OFF_TTT, ISCSI_TAG_NONE);
	put_be32(out + ISCSI_OFF_BUFFER_OFFSET, offset);
	iscsi_set_dsl(out, len);
}

void
fake_response(uint8_t *out, const uint8_t *request, uint8_t status)
{
	memset(out, 0, ISCSI_BHS_LEN);
	out[ISCSI_OFF_OPCODE] = ISCSI_OP_SCSI_RSP;
	out[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	out[ISCSI_OFF_STATUS] = status;
	memcpy(out + ISCSI_OFF_ITT, request + ISCSI_OFF_ITT, 4);
}

void
fake_r2t(uint8_t *out, const uint8_t *request, uint32_t ttt, uint32_t offset,
    uint32_t len)
{
	memset(out, 0, ISCSI_BHS_LEN);
	out[ISCSI_OFF_OPCODE] = ISCSI_OP_R2T;
	out[ISCSI_OFF_FLAGS] = ISCSI_FLAG_FINAL;
	memcpy(out + ISCSI_OFF_LUN, request + ISCSI_OFF_LUN, 8);
	memcpy(out + ISCSI_OFF_ITT, request + ISCSI_OFF_ITT, 4);
	put_be32(out + ISCSI_OFF_TTT, ttt);
	put_be32(out + ISCSI_OFF_BUFFER_OFFSET, offset);
	put_be32(out + ISCSI_OFF_DESIRED_LEN, len);
}

void
fake_done(struct iscsimux *h, void *cookie, const struct iscsimux_result *r)
{
	struct fake_end *e = cookie;

	e->count++;
	e->r = *r;
	ck_assert_uint_le(r->sense_len, sizeof(e->sense));
	if (r->sense_len > 0)
		memcpy(e->sense, r->sense, r->sense_len);
	ck_assert_ptr_nonnull(r->text);
	strlcpy(e->text, r->text, sizeof(e->text));
	e->r.sense = e->sense;
	e->r.text = e->text;
	if (e->hook != NULL)
		e->hook(h, e);
}

void
fake_pattern(uint8_t *buf, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed + i * 7 + (i >> 8) * 13 + (i >> 16));
}
