/* Interrupts that stay raised for as long as their condition holds, as the UART's and the EEPROM's do.
 *
 * simavr raises an interrupt once. Where its condition ends before it is served, simavr leaves the entry
 * in a queue of 64, which polling with interrupts off overflows within one strip; so it is taken out here. */
#ifndef LEVEL_H
#define LEVEL_H

#include <stdbool.h>

#include <simavr/sim_avr.h>

avr_int_vector_t *level_vector(avr_t *avr, uint8_t number);
void level_set(avr_t *avr, avr_int_vector_t *vector, bool holds);

#endif
