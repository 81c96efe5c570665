#include "stack.h"

#include <avr/io.h>

#define PAINT 0xC5

extern uint8_t __heap_start; /* the first byte behind all data; no heap is used */

/* Runs before main with no stack in use; r1 is 0 by then. */
void stack_paint(void) __attribute__((naked, used, section(".init3")));
void stack_paint(void)
{
    uint8_t *byte = &__heap_start;

    for (; byte <= (uint8_t *)RAMEND; byte++)
        *byte = PAINT;
}

uint16_t stack_unused(void)
{
    const uint8_t *byte = &__heap_start;

    while (*byte == PAINT)
        byte++;
    return byte - &__heap_start;
}
