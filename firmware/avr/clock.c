#include "clock.h"

#include <avr/interrupt.h>

volatile uint8_t clock_alarmed, clock_frame;

static volatile uint16_t high;

void clock_init(void)
{
    TCCR1A = 0;
    TCCR1B = 1 << CS11; /* CLOCK_DIVISION */
    OCR1B = CLOCK_FRAME;
    TIMSK1 |= 1 << TOIE1 | 1 << OCIE1B;
}

ISR(TIMER1_OVF_vect)
{
    high++;
}

ISR(TIMER1_COMPA_vect)
{
    TIMSK1 &= ~(1 << OCIE1A);
    clock_alarmed = 1;
}

ISR(TIMER1_COMPB_vect)
{
    OCR1B += CLOCK_FRAME;
    clock_frame = 1;
}

uint32_t clock_now(void)
{
    uint16_t low, upper;
    uint8_t sreg = SREG;

    cli();
    low = TCNT1;
    upper = high;
    /* An overflow that is not counted yet came before `low` was read only if `low` is small. */
    if (TIFR1 & 1 << TOV1 && low < 0x8000)
        upper++;
    SREG = sreg;
    return (uint32_t)upper << 16 | low;
}

void clock_alarm(uint32_t when)
{
    uint8_t sreg = SREG;

    cli();
    OCR1A = when;
    TIFR1 = 1 << OCF1A;
    TIMSK1 |= 1 << OCIE1A;
    SREG = sreg;
    /* Too late for this round of the timer, or in one to come: then it rings early, and is set again. */
    if ((int32_t)(clock_now() - when) >= 0)
        clock_alarmed = 1;
}
