/* What the rig must know of a chip beyond what simavr does: addresses in data space, vectors, times. */
#ifndef FACTS_H
#define FACTS_H

#include <stdint.h>

typedef struct facts {
	const char *mcu;
	uint16_t udr, ucsra, ucsrb, ucsrc, ubrrl, ubrrh; /* ATmega8: UCSRC and UBRRH are one address */
	uint8_t rx_vector, udre_vector, tx_vector;
	uint16_t eecr, eedr, eearl, eearh, eeprom_size;
	uint8_t eeprom_vector;
	double eeprom_write_ms, eeprom_half_ms;          /* erase and write; one of the two alone */
	uint16_t mcusr;
	uint16_t tifr;                                   /* where timer 1 has its flags */
	uint16_t mark;                                   /* a register nobody uses, for marks */
	uint16_t ram_begin;
} facts_t;

const facts_t *facts_of(const char *mcu);

#endif
