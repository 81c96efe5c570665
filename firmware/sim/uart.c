#include "uart.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "board.h"
#include "level.h"

enum { RXC = 0x80, TXC = 0x40, UDRE = 0x20, FE = 0x10, DOR = 0x08, PE = 0x04, U2X = 0x02, MPCM = 0x01 };
enum { RXCIE = 0x80, TXCIE = 0x40, UDRIE = 0x20, RXEN = 0x10, TXEN = 0x08 };
enum { URSEL = 0x80, UPM = 0x30, USBS = 0x08, UCSZ = 0x06, UCSRC_8N1 = 0x06 };

static avr_cycle_count_t receive(avr_t *avr, avr_cycle_count_t when, void *param);
static avr_cycle_count_t transmit(avr_t *avr, avr_cycle_count_t when, void *param);

static inline uint8_t reg(const uart_t *u, uint16_t address) { return u->avr->data[address]; }

static double bit_cycles(const uart_t *u)
{
	return (u->ubrr + 1) * (reg(u, u->facts->ucsra) & U2X ? 8.0 : 16.0);
}

static int frame_bits(const uart_t *u)
{
	return 10 + !!(u->ucsrc & USBS) + !!(u->ucsrc & UPM);
}

static double host_bit_cycles(const uart_t *u)
{
	return u->host_baud > 0 ? board_hz(u->board) / u->host_baud : bit_cycles(u);
}

double uart_baud(const uart_t *u)
{
	return board_hz(u->board) / bit_cycles(u);
}

bool uart_idle(const uart_t *u)
{
	return !u->line_count && !u->receiving && !u->shifting && !u->sent_count;
}

/* What a receiver with bits of `mine` cycles reads of a byte sent with bits of `theirs`: each bit is sampled
 * in its middle. False where the stop bit is not one. */
static bool sample(uint8_t sent, double theirs, double mine, uint8_t *read)
{
	if (fabs(theirs / mine - 1) < 0.04) { /* the middle of the stop bit moves by less than half a bit */
		*read = sent;
		return true;
	}
	uint32_t frame = 0x200u | (uint32_t)sent << 1; /* start 0, data, stop 1 */
	uint32_t got = 0;
	for (int i = 0; i < 10; i++) {
		int bit = (int)((i + 0.5) * mine / theirs);
		got |= (bit > 9 ? 1u : frame >> bit & 1) << i;
	}
	*read = got >> 1 & 0xFF;
	return got >> 9 & 1;
}

static uint8_t disturb(uart_t *u, uint8_t byte, double rate, uint64_t *count)
{
	if (rate > 0)
		for (int bit = 0; bit < 8; bit++)
			if (board_random(u->board) < rate * 0x1p64) {
				byte ^= 1 << bit;
				++*count;
			}
	return byte;
}

static void note(uart_t *u, bool out, avr_cycle_count_t begin, avr_cycle_count_t end)
{
	burst_t *last = u->burst_count ? &u->bursts[(u->burst_count - 1) % BURSTS] : NULL;
	*(out ? &u->count.wire_out : &u->count.wire_in) += end - begin;
	u->board->busy_cycle = end;
	for (uint64_t back = 1; back <= 2 && back <= u->burst_count; back++) { /* both directions may be in use */
		last = &u->bursts[(u->burst_count - back) % BURSTS];
		if (last->out == out && begin <= last->end + (end - begin)) {
			last->end = end;
			last->bytes++;
			return;
		}
	}
	u->bursts[u->burst_count++ % BURSTS] = (burst_t){out, 1, begin, end};
}

/* -- receiving ------------------------------------------------------------------------------------ */

static void update(uart_t *u)
{
	level_set(u->avr, u->rx, u->held > 0);
	level_set(u->avr, u->udre, !u->buffered);
}

static void start_line(uart_t *u)
{
	if (u->receiving || !u->line_count)
		return;
	avr_cycle_count_t begin = u->arrival[u->line_read];
	if (begin < u->line_free)
		begin = u->line_free;
	avr_cycle_count_t now = u->avr->cycle;
	avr_cycle_timer_register(u->avr, begin > now ? begin - now : 1, receive, u);
}

/* Two moments of each byte: its start bit, when a full shift register loses what it holds, and the middle
 * of its stop bit, when it can be read. */
static avr_cycle_count_t receive(avr_t *avr, avr_cycle_count_t when, void *param)
{
	uart_t *u = param;
	(void)avr;
	double bit = host_bit_cycles(u);
	bool on = reg(u, u->facts->ucsrb) & RXEN;
	if (!u->receiving) {
		u->receiving = true;
		if (u->shift_full) {
			u->shift_full = false;
			u->overrun = true;
			u->count.overruns++;
		}
		uint8_t byte = disturb(u, u->line[u->line_read], u->error_in, &u->count.bit_errors_in);
		bool stop = sample(byte, bit, bit_cycles(u), &u->coming);
		u->coming_flags = stop ? 0 : FE;
		u->line_read = (u->line_read + 1) % LINE_DEPTH;
		u->line_count--;
		u->line_free = when + (avr_cycle_count_t)(10 * bit + 0.5);
		note(u, false, when, u->line_free);
		return when + (avr_cycle_count_t)(9.5 * bit + 0.5);
	}
	u->receiving = false;
	u->count.framing += u->coming_flags & FE ? 1 : 0;
	if (!on) {
		u->count.deaf++;
	} else if (u->held < 2) {
		u->buffer[u->held] = u->coming;
		u->flags[u->held++] = u->coming_flags;
		update(u);
	} else {
		u->shift = u->coming;
		u->shift_flags = u->coming_flags;
		u->shift_full = true;
	}
	if (!u->line_count)
		return 0;
	avr_cycle_count_t next = u->arrival[u->line_read];
	return next > u->line_free ? next : u->line_free;
}

static uint8_t read_udr(avr_t *avr, avr_io_addr_t address, void *param)
{
	uart_t *u = param;
	uint8_t byte = u->buffer[0];
	if (u->held) {
		u->count.received++;
		u->buffer[0] = u->buffer[1];
		u->flags[0] = u->flags[1];
		if (u->shift_full) {
			u->buffer[1] = u->shift;
			u->flags[1] = u->shift_flags;
			u->shift_full = false;
		} else {
			u->held--;
		}
		u->overrun = false;
		update(u);
	}
	avr->data[address] = byte;
	return byte;
}

void uart_feed(uart_t *u, const uint8_t *data, uint32_t n, avr_cycle_count_t when)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (u->line_read + u->line_count++) % LINE_DEPTH;
		u->line[at] = data[i];
		u->arrival[at] = when;
	}
	if (!avr_cycle_timer_status(u->avr, receive, u))
		start_line(u);
}

void uart_cut(uart_t *u)
{
	if (!u->receiving) /* a start bit that was to come */
		avr_cycle_timer_cancel(u->avr, receive, u);
	u->line_count = 0;
	u->sent_count = 0;
}

/* -- transmitting --------------------------------------------------------------------------------- */

static void begin_byte(uart_t *u, uint8_t byte)
{
	u->tx_shift = byte;
	u->shifting = true;
}

static avr_cycle_count_t byte_cycles(const uart_t *u)
{
	return (avr_cycle_count_t)(frame_bits(u) * bit_cycles(u));
}

static avr_cycle_count_t transmit(avr_t *avr, avr_cycle_count_t when, void *param)
{
	uart_t *u = param;
	avr_cycle_count_t length = byte_cycles(u);
	uint8_t byte;
	if (!sample(u->tx_shift, bit_cycles(u), host_bit_cycles(u), &byte))
		u->count.framing++;
	byte = disturb(u, byte, u->error_out, &u->count.bit_errors_out);
	if (u->sent_count < SENT_DEPTH) {
		if (!u->sent_count)
			u->sent_since = when;
		u->sent[u->sent_count++] = byte;
	}
	u->count.sent++;
	note(u, true, when - length, when);
	u->shifting = false;
	if (u->buffered) {
		u->buffered = false;
		begin_byte(u, u->tx_buffer);
		update(u);
		return when + length;
	}
	avr_raise_interrupt(avr, u->tx);
	return 0;
}

static void write_udr(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	(void)address; /* what is sent cannot be read back */
	if (!(reg(u, u->facts->ucsrb) & TXEN))
		return;
	if (!u->shifting) {
		begin_byte(u, v);
		avr_cycle_timer_register(avr, byte_cycles(u), transmit, u);
	} else if (!u->buffered) {
		u->tx_buffer = v;
		u->buffered = true;
	} else {
		u->count.overwritten++;
	}
	update(u);
}

/* -- registers ------------------------------------------------------------------------------------ */

static uint8_t read_ucsra(avr_t *avr, avr_io_addr_t address, void *param)
{
	uart_t *u = param;
	uint8_t v = avr->data[address] & (TXC | U2X | MPCM);
	v |= u->held ? RXC | u->flags[0] : 0;
	v |= u->buffered ? 0 : UDRE;
	v |= u->overrun ? DOR : 0;
	return avr->data[address] = v;
}

static void write_ucsra(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	uint8_t txc = avr->data[address] & TXC;
	avr->data[address] = (avr->data[address] & ~(TXC | U2X | MPCM)) | (v & (U2X | MPCM)) | txc;
	if (v & TXC) /* cleared by writing one */
		level_set(avr, u->tx, false);
}

static void write_ucsrb(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	avr->data[address] = v;
	if (!(v & RXEN)) { /* turning the receiver off empties it */
		u->held = 0;
		u->shift_full = u->overrun = false;
	}
	update(u);
	level_set(avr, u->tx, reg(u, u->facts->ucsra) & TXC);
}

static void write_ubrrl(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	avr->data[address] = v;
	u->ubrr = (u->ubrr & 0xF00) | v;
}

static void write_ubrrh(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	if (u->facts->ubrrh == u->facts->ucsrc && v & URSEL) {
		u->ucsrc = v;
		return;
	}
	avr->data[address] = v & 0xF;
	u->ubrr = (u->ubrr & 0xFF) | (v & 0xF) << 8;
}

static void write_ucsrc(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	uart_t *u = param;
	avr->data[address] = v;
	u->ucsrc = v;
}

void uart_again(uart_t *u)
{
	update(u);
}

/* Called after simavr's own modules have been reset. Its UART turns the transmitter on, for printf. */
static void reset(avr_io_t *io)
{
	uart_t *u = (uart_t *)((char *)io - offsetof(uart_t, io));
	const facts_t *f = u->facts;
	u->ubrr = 0;
	u->ucsrc = UCSRC_8N1;
	u->held = 0;
	u->shift_full = u->overrun = u->shifting = u->buffered = u->receiving = false;
	u->avr->data[f->ucsrb] = 0;
	u->avr->data[f->ubrrl] = u->avr->data[f->ubrrh] = 0;
	if (f->ucsrc != f->ubrrh)
		u->avr->data[f->ucsrc] = UCSRC_8N1;
	u->avr->data[f->ucsra] = UDRE;
	start_line(u); /* the host goes on sending */
}

static void take_over(avr_t *avr, uint16_t address, avr_io_read_t read, avr_io_write_t write, uart_t *u)
{
	avr_io_addr_t io = AVR_DATA_TO_IO(address);
	avr->io[io].r.c = read;
	avr->io[io].r.param = u;
	avr->io[io].w.c = write;
	avr->io[io].w.param = u;
}

void uart_attach(uart_t *u, struct board *b, avr_t *avr, const facts_t *f)
{
	memset(u, 0, sizeof *u);
	u->board = b;
	u->avr = avr;
	u->facts = f;
	u->rx = level_vector(avr, f->rx_vector);
	u->udre = level_vector(avr, f->udre_vector);
	u->tx = level_vector(avr, f->tx_vector);
	take_over(avr, f->udr, read_udr, write_udr, u);
	take_over(avr, f->ucsra, read_ucsra, write_ucsra, u);
	take_over(avr, f->ucsrb, NULL, write_ucsrb, u);
	take_over(avr, f->ubrrl, NULL, write_ubrrl, u);
	take_over(avr, f->ubrrh, NULL, write_ubrrh, u);
	if (f->ucsrc != f->ubrrh)
		take_over(avr, f->ucsrc, NULL, write_ucsrc, u);
	avr_io_t *last = avr->io_port;
	while (last->next)
		last = last->next;
	u->io = (avr_io_t){.avr = avr, .kind = "rig-uart", .reset = reset};
	last->next = &u->io;
}
