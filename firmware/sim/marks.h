/* Cycles between marks in the firmware: writing n (1 to 127) to the mark register begins stretch n,
 * writing n + 128 ends it. What is counted is all that ran between, interrupts too. */
#ifndef MARKS_H
#define MARKS_H

#include <stdint.h>
#include <stdio.h>

#include <simavr/sim_avr.h>

#include "facts.h"

typedef struct stretch {
	uint64_t n;
	avr_cycle_count_t begin, min, max, sum, last;
} stretch_t;

typedef struct marks { stretch_t stretch[128]; } marks_t;

void marks_attach(marks_t *m, avr_t *avr, const facts_t *facts);
void marks_clear(marks_t *m);
void marks_report(const marks_t *m, FILE *out);

#endif
