/* The UART as the silicon has it: a two-byte receive buffer behind a shift register, one byte of transmit
 * buffer, bytes of exactly as many bits as the registers say.
 *
 * It takes the place of simavr's, whose receive buffer of 64 bytes hides every overrun, whose bytes last
 * eleven bits, and which on the ATmega8 takes a write of UCSRC for one of UBRRH.
 *
 * The host's side of the line runs at the rate the host has set: where that is too far from the board's,
 * each side samples the other's bits where its own clock says, and reads what a real one would. */
#ifndef UART_H
#define UART_H

#include <stdbool.h>
#include <stdint.h>

#include <simavr/sim_avr.h>

#include "facts.h"

#define LINE_DEPTH 512  /* bytes that the host's adapter holds for the line */
#define SENT_DEPTH 4096 /* bytes on their way to the host */
#define BURSTS 1024

/* Bytes of one direction without a pause longer than a byte. Cycles of its start and its end. */
typedef struct burst {
	bool out;
	uint32_t bytes;
	avr_cycle_count_t begin, end;
} burst_t;

typedef struct uart_count {
	uint64_t received, sent;         /* bytes that the firmware read; that left the board */
	uint64_t overruns;               /* came while both the buffer and the shift register were full */
	uint64_t framing;                /* a stop bit that was none */
	uint64_t deaf;                   /* came while the receiver was off */
	uint64_t overwritten;            /* written into a transmit buffer that was full */
	uint64_t bit_errors_in, bit_errors_out;
	avr_cycle_count_t wire_in, wire_out; /* cycles for which the line was in use */
} uart_count_t;

struct board;

typedef struct uart {
	struct board *board;
	avr_t *avr;
	const facts_t *facts;
	avr_io_t io;
	avr_int_vector_t *rx, *udre, *tx;

	uint16_t ubrr;
	uint8_t ucsrc;

	/* receiver */
	uint8_t buffer[2], flags[2];
	int held;
	bool shift_full, receiving, overrun;
	uint8_t shift, shift_flags, coming, coming_flags;

	/* transmitter */
	bool shifting, buffered;
	uint8_t tx_shift, tx_buffer;

	/* the line from the host */
	uint8_t line[LINE_DEPTH];
	avr_cycle_count_t arrival[LINE_DEPTH];
	uint32_t line_read, line_count;
	avr_cycle_count_t line_free;
	double host_baud;                /* 0: as the board's */
	double error_in, error_out;      /* probability that a data bit is turned round */

	/* to the host */
	uint8_t sent[SENT_DEPTH];
	uint32_t sent_count;
	avr_cycle_count_t sent_since;

	uart_count_t count;
	burst_t bursts[BURSTS];
	uint64_t burst_count;
} uart_t;

void uart_attach(uart_t *u, struct board *b, avr_t *avr, const facts_t *facts);

/* Put bytes on the line, not before a cycle. There must be room. */
void uart_feed(uart_t *u, const uint8_t *data, uint32_t n, avr_cycle_count_t when);
static inline uint32_t uart_room(const uart_t *u) { return LINE_DEPTH - u->line_count; }

/* What is on the line is gone with the cable. */
void uart_cut(uart_t *u);

/* An interrupt routine has ended: what still holds is raised again. */
void uart_again(uart_t *u);

bool uart_idle(const uart_t *u);
double uart_baud(const uart_t *u);

#endif
