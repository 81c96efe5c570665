#include "facts.h"

#include <stddef.h>
#include <string.h>

static const facts_t FACTS[] = {
	{
		/* Atmel 2486: ATmega8. It has no GPIOR; TWAR is readable, writable and idle without TWI. */
		.mcu = "atmega8",
		.udr = 0x2C, .ucsra = 0x2B, .ucsrb = 0x2A, .ucsrc = 0x40, .ubrrl = 0x29, .ubrrh = 0x40,
		.rx_vector = 11, .udre_vector = 12, .tx_vector = 13,
		.eecr = 0x3C, .eedr = 0x3D, .eearl = 0x3E, .eearh = 0x3F, .eeprom_size = 512,
		.eeprom_vector = 15, .eeprom_write_ms = 8.5, .eeprom_half_ms = 8.5,
		.mcusr = 0x54, .tifr = 0x58, .mark = 0x22, .ram_begin = 0x60,
	},
	{
		/* Atmel 8271 / Microchip DS40002061: ATmega328P. The mark is GPIOR0. */
		.mcu = "atmega328p",
		.udr = 0xC6, .ucsra = 0xC0, .ucsrb = 0xC1, .ucsrc = 0xC2, .ubrrl = 0xC4, .ubrrh = 0xC5,
		.rx_vector = 18, .udre_vector = 19, .tx_vector = 20,
		.eecr = 0x3F, .eedr = 0x40, .eearl = 0x41, .eearh = 0x42, .eeprom_size = 1024,
		.eeprom_vector = 22, .eeprom_write_ms = 3.4, .eeprom_half_ms = 1.8,
		.mcusr = 0x54, .tifr = 0x36, .mark = 0x3E, .ram_begin = 0x100,
	},
};

const facts_t *facts_of(const char *mcu)
{
	for (size_t i = 0; i < sizeof FACTS / sizeof *FACTS; i++)
		if (!strcmp(FACTS[i].mcu, mcu))
			return &FACTS[i];
	return NULL;
}
