/* Timer 1, free-running: a clock of 32 bits, one alarm, and a frame every 20 ms. */
#ifndef CLOCK_H
#define CLOCK_H

#include <avr/io.h>
#include <stdint.h>

#include "board.h"

#define CLOCK_DIVISION 8
#define CLOCK_HZ (F_CPU / CLOCK_DIVISION)
#define CLOCK_FRAME (CLOCK_HZ / 50)

extern volatile uint8_t clock_alarmed, clock_frame; /* set by interrupts, cleared by whoever looks */

void clock_init(void);
uint32_t clock_now(void);
void clock_alarm(uint32_t when);

#endif
