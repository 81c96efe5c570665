/* What the strip would make of the data pin: pulses timed in cycles, held against the data sheet, decoded.
 *
 * A chip samples its input some time after each rising edge. So the time high and the time from edge to
 * edge must be right; the time low may be longer, as long as the chip does not take it for the end. */
#ifndef STRIP_H
#define STRIP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <simavr/sim_avr.h>

#define STRIP_BYTES 192
#define STRIP_FRAMES 256

typedef struct pin { char port; uint8_t bit; } pin_t; /* port 0: none */

/* Nanoseconds. Where data sheets differ, what all of them allow. */
typedef struct strip_chip {
	const char *name;
	uint32_t t0h_min, t0h_max, t1h_min, t1h_max;
	uint32_t t0l_min, t1l_min, low_max; /* a longer time low may end the frame */
	uint32_t period_min, reset_min;
	const char *order;                  /* of the colours on the line */
	int leds_per_chip;
	bool backup;                        /* has a second data line */
} strip_chip_t;

enum violation { V_T0H, V_T1H, V_T0L, V_T1L, V_PERIOD, V_GAP, V_BITS, V_LENGTH, V_BACKUP, VIOLATIONS };

typedef struct pulses { uint64_t n; double min_ns, max_ns; } pulses_t;

/* One pin's waveform, taken apart. */
typedef struct decoder {
	bool high, any;
	avr_cycle_count_t rise, fall;
	uint32_t bits;
	int last_bit;
	uint8_t bytes[STRIP_BYTES];
} decoder_t;

typedef struct strip_frame {
	uint64_t number;
	avr_cycle_count_t begin, latch;
	uint32_t bytes;
	uint8_t data[STRIP_BYTES];
} strip_frame_t;

struct board;

typedef struct strip {
	struct board *board;
	const strip_chip_t *chip;
	char order[4];
	int leds;                 /* LEDs there are; 0: not known */
	int pins;
	avr_irq_t *irq[2];
	decoder_t decoder[2];
	avr_cycle_count_t begin;
	strip_frame_t frames[STRIP_FRAMES];
	uint64_t frame_count;
	uint64_t violations[VIOLATIONS];
	pulses_t pulses[4];       /* T0H, T1H, T0L, T1L */
	double worst_gap_ns;
} strip_t;

const strip_chip_t *strip_chip_of(const char *name);
bool strip_attach(strip_t *s, struct board *b, const strip_chip_t *chip, const pin_t pins[2], int leds,
                  const char *order);

/* The pins fall, as they do in a reset. */
void strip_reset(strip_t *s);

/* Latch what is complete by now. */
void strip_settle(strip_t *s);

void strip_report(strip_t *s, FILE *out);
void strip_report_frames(strip_t *s, uint64_t since, FILE *out);

#endif
