#include "eeprom.h"

#include <stddef.h>
#include <string.h>

#include "board.h"
#include "level.h"

enum { EEPM = 0x30, EERIE = 0x08, EEMPE = 0x04, EEPE = 0x02, EERE = 0x01 };
enum { ERASE_AND_WRITE, ERASE, WRITE };

static avr_cycle_count_t written(avr_t *avr, avr_cycle_count_t when, void *param)
{
	eeprom_t *e = param;
	(void)when;
	uint8_t *cell = &e->cell[e->address];
	*cell = e->mode == ERASE ? 0xFF : e->mode == WRITE ? *cell & e->value : e->value;
	e->writing = false;
	avr->data[e->facts->eecr] &= ~EEPE;
	eeprom_again(e);
	return 0;
}

static avr_cycle_count_t disarm(avr_t *avr, avr_cycle_count_t when, void *param)
{
	eeprom_t *e = param;
	(void)when;
	avr->data[e->facts->eecr] &= ~EEMPE;
	return 0;
}

static uint16_t address(const eeprom_t *e)
{
	uint16_t a = e->avr->data[e->facts->eearl] | e->avr->data[e->facts->eearh] << 8;
	return a & (e->facts->eeprom_size - 1);
}

static void write_eecr(avr_t *avr, avr_io_addr_t addr, uint8_t v, void *param)
{
	eeprom_t *e = param;
	uint8_t old = avr->data[addr];
	avr->data[addr] = (v & (EEPM | EERIE)) | (old & (EEMPE | EEPE));
	if (v & EEMPE && !(v & EEPE)) { /* opens the way for four cycles */
		avr->data[addr] |= EEMPE;
		avr_cycle_timer_register(avr, 5, disarm, e);
	}
	if (v & EEPE && old & EEMPE && !e->writing) {
		e->writing = true;
		e->address = address(e);
		e->value = avr->data[e->facts->eedr];
		e->mode = e->facts->eeprom_half_ms < e->facts->eeprom_write_ms ? (v & EEPM) >> 4 : ERASE_AND_WRITE;
		double ms = e->mode == ERASE_AND_WRITE ? e->facts->eeprom_write_ms : e->facts->eeprom_half_ms;
		e->begin = avr->cycle;
		e->end = e->begin + (avr_cycle_count_t)(ms * 1e-3 * avr->frequency);
		e->writes++;
		avr->data[addr] = (avr->data[addr] & ~EEMPE) | EEPE;
		avr_cycle_timer_register(avr, e->end - e->begin, written, e);
		avr->cycle += 2; /* the CPU is halted */
	}
	if (v & EERE && !e->writing) {
		avr->data[e->facts->eedr] = e->cell[address(e)];
		avr->cycle += 4;
	}
	eeprom_again(e);
}

void eeprom_again(eeprom_t *e)
{
	level_set(e->avr, e->ready, !e->writing);
}

void eeprom_power_lost(eeprom_t *e)
{
	if (!e->writing)
		return;
	avr_cycle_count_t now = e->avr->cycle;
	bool erasing = e->mode != WRITE && (e->mode == ERASE || 2 * (now - e->begin) < e->end - e->begin);
	uint8_t *cell = &e->cell[e->address], some = board_random(e->board);
	*cell = erasing ? *cell | some : e->value | some; /* some bits were quick enough, others not */
	e->writing = false;
	e->torn++;
}

static void reset(avr_io_t *io)
{
	eeprom_t *e = (eeprom_t *)((char *)io - offsetof(eeprom_t, io));
	if (e->writing) {
		avr_cycle_count_t now = e->avr->cycle;
		e->avr->data[e->facts->eecr] = EEPE;
		avr_cycle_timer_register(e->avr, e->end > now ? e->end - now : 1, written, e);
	}
}

void eeprom_attach(eeprom_t *e, struct board *b, avr_t *avr, const facts_t *f)
{
	memset(e, 0, sizeof *e);
	memset(e->cell, 0xFF, sizeof e->cell);
	e->board = b;
	e->avr = avr;
	e->facts = f;
	e->ready = level_vector(avr, f->eeprom_vector);
	avr_io_addr_t at = AVR_DATA_TO_IO(f->eecr);
	avr->io[at].w.c = write_eecr;
	avr->io[at].w.param = e;
	avr_io_t *last = avr->io_port;
	while (last->next)
		last = last->next;
	e->io = (avr_io_t){.avr = avr, .kind = "rig-eeprom", .reset = reset};
	last->next = &e->io;
}
