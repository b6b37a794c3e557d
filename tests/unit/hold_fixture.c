/* SPDX-License-Identifier: ISC */
/* See hold_fixture.h. */
#include "config.h"

#include "tests/unit/hold_fixture.h"

struct sclient *h, *p;

void
clients(void)
{
	fx.hold = true;
	h = fx_attach();
	fx.hold = false;
	p = fx_attach();
}

uint32_t
window_closed(void)
{
	fx.window = 1;
	fx_up();
	clients();
	fx.hold_window = true;
	accepted(h, command(WRITE_F, 1, 4096), 0, 1);
	return iscsi_itt(wire(ISCSI_OP_SCSI_CMD)->bhs);
}

void
lose(void)
{
	hang_up();
	lost("");
	news(h, NEWS_EVENT, 0);
	news(p, NEWS_EVENT, 0);
}

void
come_back(void)
{
	fx.window = 64;
	fx.hold_window = false;
	fx_log_in();
	ck_assert_uint_eq(news(h, NEWS_EVENT, 0)->event.params.generation, 2);
	news(p, NEWS_EVENT, 0);
}

uint8_t *
read_of(uint32_t itt)
{
	return command(READ_F, itt, itt * 512);
}

uint32_t
wire_read(uint32_t itt)
{
	const struct got *g = wire(ISCSI_OP_SCSI_CMD);

	ck_assert_uint_eq(get_be32(g->bhs + ISCSI_OFF_EDTL), itt * 512);
	return iscsi_itt(g->bhs);
}

void
not_sent_at_once(struct sclient *c, uint8_t *bhs)
{
	ck_assert_int_eq(submit(c, bhs, 0, 99), SUBMIT_NOT_SENT);
	ck_assert_uint_eq(fx.why.reason, MSG_R_SESSION_DOWN);
}
