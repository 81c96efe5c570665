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

/* For stretches shorter than 65536 counts. */
static inline uint16_t clock_short(void)
{
    uint16_t now;
    uint8_t sreg = SREG;

    __asm__ volatile("cli" ::: "memory"); /* the two halves go through one latch, which interrupts use too */
    now = TCNT1;
    SREG = sreg;
    return now;
}

#endif
