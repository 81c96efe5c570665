/* One board: a chip, its cable, its strip, its button. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#include "cable.h"
#include "eeprom.h"
#include "facts.h"
#include "marks.h"
#include "strip.h"
#include "uart.h"

enum reset_cause { RESET_POWER, RESET_PIN, RESET_WATCHDOG, RESET_CAUSES };

typedef struct board {
	char name[32];
	const facts_t *facts;
	avr_t *avr;
	elf_firmware_t elf;
	uint32_t hz;         /* what the firmware was built for */
	double ppm;          /* how far off the crystal is */
	bool own_supply;     /* power does not come by the cable */
	bool powered;
	uint64_t random;     /* xorshift64, never 0 */

	uart_t uart;
	eeprom_t eeprom;
	strip_t strip;
	marks_t marks;
	cable_t cable;

	pin_t button;
	avr_cycle_count_t button_until;

	uint8_t mcusr;       /* MCUSR is zeroed by simavr's reset; what the firmware left there */
	bool pin_reset;      /* the reset under way is of the reset pin */
	uint32_t resets[RESET_CAUSES];
	char trouble[160];   /* the last thing simavr complained of */

	avr_cycle_count_t target;                  /* where the present slice ends */
	avr_cycle_count_t base_cycle;              /* cycle ... */
	uint64_t base_ns;                          /* ... at this time of the host's clock */
	uint64_t slipped_ns;                       /* host time that board time did not keep up with */
	avr_cycle_count_t busy_cycle;              /* when the line was last in use */
	avr_cycle_count_t asleep_cycles;
	uint8_t *ram_fill;                         /* what the RAM held at power-on */
} board_t;

typedef struct board_options {
	const char *mcu, *elf, *chip;
	uint32_t hz;
	double ppm;
	bool own_supply;
	pin_t led[2], button;
	int leds;
	char order[4];
	uint64_t seed;
	uint32_t serial;
} board_options_t;

/* On failure false, and the reason on stderr. */
bool board_make(board_t *b, const char *name, const board_options_t *o);

void board_power(board_t *b, bool on);
void board_reset(board_t *b);
void board_plug(board_t *b);
void board_unplug(board_t *b, bool keep_power);
void board_press(board_t *b, double ms);

/* Run to a cycle; a few cycles further where an instruction straddles it. */
void board_run(board_t *b, avr_cycle_count_t to);

/* The next cycle at which anything can happen by itself; the present one while the CPU is awake. */
avr_cycle_count_t board_next(const board_t *b);

/* Nothing is under way: asleep, nothing on the line, nothing to write. */
bool board_idle(const board_t *b);

bool board_dead(const board_t *b);
double board_hz(const board_t *b);
double board_ns(const board_t *b, avr_cycle_count_t cycle);
uint64_t board_random(board_t *b);

/* Bytes between what the program uses and the deepest the stack has been since power-on. */
int board_stack_free(const board_t *b);
void board_stats(board_t *b, FILE *out);

#endif
