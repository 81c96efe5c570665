/* Cycles of a stretch of the firmware: between marks in it, or of a function by its address.
 *
 * Cycles between marks in the firmware: writing n (1 to 127) to the mark register begins stretch n,
 * writing n + 128 ends it. What is counted is all that ran between, interrupts too. */
#ifndef MARKS_H
#define MARKS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <simavr/sim_avr.h>

#include "facts.h"

typedef struct stretch {
	uint64_t n;
	avr_cycle_count_t begin, min, max, sum, last;
} stretch_t;

#define PROFILES 8

/* A call of the function at `address` (in bytes) is over when the stack is where it was before the call. */
typedef struct profile {
	avr_flashaddr_t address;
	bool inside;
	uint16_t sp;
	stretch_t calls;
} profile_t;

typedef struct marks {
	stretch_t stretch[128];
	profile_t profile[PROFILES];
	int profiles;
} marks_t;

void marks_attach(marks_t *m, avr_t *avr, const facts_t *facts);
void marks_clear(marks_t *m);

/* Watch one more function; false when there are too many. The board then runs instruction by instruction. */
bool marks_profile(marks_t *m, avr_flashaddr_t address);
void marks_look(marks_t *m, avr_t *avr); /* before each instruction, while functions are watched */
void marks_report_profile(const marks_t *m, FILE *out);
void marks_report(const marks_t *m, FILE *out);

#endif
