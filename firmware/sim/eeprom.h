/* EEPROM that takes its time: 3.4 ms a byte on the ATmega328P, 8.5 ms on the ATmega8.
 *
 * A byte whose writing loses its power holds neither the old nor the new value. A reset does not stop it. */
#ifndef EEPROM_H
#define EEPROM_H

#include <stdbool.h>
#include <stdint.h>

#include <simavr/sim_avr.h>

#include "facts.h"

struct board;

typedef struct eeprom {
	struct board *board;
	avr_t *avr;
	const facts_t *facts;
	avr_io_t io;
	avr_int_vector_t *ready;
	uint8_t cell[1024];
	bool writing;
	uint16_t address;
	uint8_t value, mode;
	avr_cycle_count_t begin, end;
	uint64_t writes, torn;
} eeprom_t;

void eeprom_attach(eeprom_t *e, struct board *b, avr_t *avr, const facts_t *facts);
void eeprom_power_lost(eeprom_t *e);
void eeprom_again(eeprom_t *e);

#endif
