#include "board.h"

#include <stdlib.h>
#include <string.h>

#include <simavr/avr_ioport.h>
#include <simavr/sim_core.h>

#include "level.h"

enum { PORF = 0x01, EXTRF = 0x02, BORF = 0x04, WDRF = 0x08 };
enum { STRIDE = 64 };       /* cycles that simavr runs between looks at its timers, where none is due */
enum { INTERRUPT_CYCLES = 4 };

static const char *const CAUSES[RESET_CAUSES] = {"power", "pin", "watchdog"};

uint64_t board_random(board_t *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

double board_hz(const board_t *b)
{
	return b->hz * (1 + b->ppm * 1e-6);
}

double board_ns(const board_t *b, avr_cycle_count_t cycle)
{
	return cycle * 1e9 / board_hz(b);
}

/* simavr's own loop, but for sleep: it goes no further than the slice, and does not really sleep. */
static void run(avr_t *avr)
{
	board_t *b = avr->custom.data;
	avr_flashaddr_t pc = avr->pc;
	if (b->marks.profiles) {
		avr->run_cycle_limit = 1;
		marks_look(&b->marks, avr);
	}
	if (avr->state == cpu_Running)
		pc = avr_run_one(avr);
	avr_cycle_count_t sleep = avr_cycle_timer_process(avr);
	avr->pc = pc;
	if (avr->state == cpu_Sleeping) {
		if (!avr->sreg[S_I]) {
			avr->state = cpu_Done; /* nothing but a reset will wake it */
			return;
		}
		avr_cycle_count_t room = b->target > avr->cycle ? b->target - avr->cycle : 0;
		if (!avr->cycle_timers.timer || sleep > room)
			sleep = room;
		avr->cycle += sleep;
		b->asleep_cycles += sleep;
	}
	if ((avr->state == cpu_Running || avr->state == cpu_Sleeping) && avr->interrupt_state)
		avr_service_interrupts(avr);
}

/* An interrupt begins: `vector`, and takes the cycles that simavr does not count. Or it ends: 0, and what
 * is still to be served is raised again. */
static void interrupt(avr_irq_t *irq, uint32_t vector, void *param)
{
	board_t *b = param;
	(void)irq;
	if (vector) {
		b->avr->cycle += INTERRUPT_CYCLES;
	} else {
		uart_again(&b->uart);
		eeprom_again(&b->eeprom);
	}
}

static void write_mcusr(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	board_t *b = param;
	b->mcusr &= v; /* flags can be cleared, not set */
	avr->data[address] = (v & 0xF0) | b->mcusr;
}

/* A one clears its flag. simavr 1.6 clears all flags of the timer, whatever is written: an overflow in the
 * moment in which an alarm was set was lost, and the board's clock fell 65536 counts behind. */
static void write_tifr(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	(void)param;
	for (int i = 0; i < avr->interrupts.vector_count; i++) {
		avr_int_vector_t *vector = avr->interrupts.vector[i];
		if (vector->raised.reg == address && v >> vector->raised.bit & 1)
			level_set(avr, vector, false);
	}
}

/* The last of the modules to be reset. */
static void reset(avr_io_t *io)
{
	board_t *b = io->avr->custom.data;
	uint8_t *mcusr = &b->avr->data[b->facts->mcusr];
	enum reset_cause cause = *mcusr & WDRF ? RESET_WATCHDOG : b->pin_reset ? RESET_PIN : RESET_POWER;
	b->mcusr = cause == RESET_POWER ? PORF : (b->mcusr & 0x0F) | (cause == RESET_PIN ? EXTRF : WDRF);
	*mcusr = b->mcusr;
	b->resets[cause]++;
	b->avr->run_cycle_limit = STRIDE;
	strip_reset(&b->strip);
}

bool board_make(board_t *b, const char *name, const board_options_t *o)
{
	memset(b, 0, sizeof *b);
	snprintf(b->name, sizeof b->name, "%s", name);
	b->facts = facts_of(o->mcu);
	const strip_chip_t *chip = strip_chip_of(o->chip);
	if (!b->facts || !chip) {
		fprintf(stderr, "rig: %s: no such %s: %s\n", name, b->facts ? "LED chip" : "MCU", b->facts ? o->chip : o->mcu);
		return false;
	}
	if (elf_read_firmware(o->elf, &b->elf) || !b->elf.flash) {
		fprintf(stderr, "rig: %s: %s: no firmware can be read from it\n", name, o->elf);
		return false;
	}
	avr_t *avr = b->avr = avr_make_mcu_by_name(o->mcu);
	if (!avr || b->elf.flashsize > avr->flashend + 1) {
		fprintf(stderr, "rig: %s: %s does not fit %s\n", name, o->elf, o->mcu);
		return false;
	}
	b->hz = o->hz;
	b->ppm = o->ppm;
	b->own_supply = o->own_supply;
	b->button = o->button;
	b->random = o->seed * 0x9E3779B97F4A7C15ull | 1;
	for (int i = 0; i < 8; i++)
		board_random(b);
	b->ram_fill = malloc(avr->ramend + 1);
	avr->custom.data = b;
	avr_init(avr);
	avr->frequency = o->hz;
	b->elf.frequency = o->hz;
	uint32_t eesize = b->elf.eesize;
	b->elf.eesize = 0;
	avr_load_firmware(avr, &b->elf);
	avr->run = run;
	avr->log = LOG_ERROR;

	uart_attach(&b->uart, b, avr, b->facts);
	eeprom_attach(&b->eeprom, b, avr, b->facts);
	if (b->elf.eeprom && eesize <= b->facts->eeprom_size)
		memcpy(b->eeprom.cell, b->elf.eeprom, eesize);
	if (o->serial) /* where the firmware keeps it: the first four cells */
		for (int i = 0; i < 4; i++)
			b->eeprom.cell[i] = o->serial >> 8 * i;
	if (!strip_attach(&b->strip, b, chip, o->led, o->leds, o->order)) {
		fprintf(stderr, "rig: %s: no such pin for the LEDs\n", name);
		return false;
	}
	marks_attach(&b->marks, avr, b->facts);
	avr_register_io_write(avr, b->facts->mcusr, write_mcusr, b);
	avr->io[AVR_DATA_TO_IO(b->facts->tifr)].w.c = write_tifr; /* instead of simavr's own */
	avr_irq_register_notify(avr->interrupts.irq + AVR_INT_IRQ_RUNNING, interrupt, b);
	avr_io_t *last = avr->io_port, *io = calloc(1, sizeof *io);
	while (last->next)
		last = last->next;
	*io = (avr_io_t){.avr = avr, .kind = "rig-board", .reset = reset};
	last->next = io;
	return true;
}

static void release_button(board_t *b)
{
	b->button_until = 0;
	if (b->button.port)
		avr_raise_irq(avr_io_getirq(b->avr, AVR_IOCTL_IOPORT_GETIRQ(b->button.port), b->button.bit), 1);
}

void board_press(board_t *b, double ms)
{
	if (!b->button.port)
		return;
	avr_raise_irq(avr_io_getirq(b->avr, AVR_IOCTL_IOPORT_GETIRQ(b->button.port), b->button.bit), 0);
	b->button_until = b->avr->cycle + (avr_cycle_count_t)(ms * 1e-3 * board_hz(b)) + 1;
}

void board_power(board_t *b, bool on)
{
	avr_t *avr = b->avr;
	if (on == b->powered)
		return;
	b->powered = on;
	if (!on) {
		eeprom_power_lost(&b->eeprom);
		strip_reset(&b->strip);
		uart_cut(&b->uart);
		return;
	}
	for (uint32_t i = 0; i <= avr->ramend; i++) /* RAM wakes up with anything in it */
		b->ram_fill[i] = board_random(b);
	memcpy(avr->data, b->ram_fill, 32);
	memcpy(avr->data + b->facts->ram_begin, b->ram_fill + b->facts->ram_begin,
	       avr->ramend + 1 - b->facts->ram_begin);
	b->pin_reset = false;
	avr_reset(avr);
	release_button(b);
}

void board_reset(board_t *b)
{
	if (!b->powered)
		return;
	b->pin_reset = true;
	avr_reset(b->avr);
	b->avr->run = run; /* a watchdog reset under way is overtaken */
	b->pin_reset = false;
}

void board_plug(board_t *b)
{
	if (cable_plug(&b->cable))
		board_power(b, true);
}

void board_unplug(board_t *b, bool keep_power)
{
	cable_unplug(&b->cable);
	uart_cut(&b->uart);
	if (!b->own_supply && !keep_power)
		board_power(b, false);
}

bool board_dead(const board_t *b)
{
	return b->avr->state != cpu_Running && b->avr->state != cpu_Sleeping;
}

void board_run(board_t *b, avr_cycle_count_t to)
{
	avr_t *avr = b->avr;
	while (b->powered && avr->cycle < to) {
		b->target = b->button_until && b->button_until < to ? b->button_until : to;
		if (board_dead(b)) {
			avr->cycle = b->target; /* its line goes on, unheard */
			avr_cycle_timer_process(avr);
		} else {
			while (avr->cycle < b->target && !board_dead(b))
				avr->run(avr);
		}
		if (b->button_until && avr->cycle >= b->button_until)
			release_button(b);
	}
	if (!b->powered && avr->cycle < to)
		avr->cycle = to;
}

avr_cycle_count_t board_next(const board_t *b)
{
	const avr_t *avr = b->avr;
	avr_cycle_count_t next = ~0ull;
	if (!b->powered)
		return next;
	if (avr->state == cpu_Running)
		return avr->cycle;
	if (avr->cycle_timers.timer)
		next = avr->cycle_timers.timer->when;
	return b->button_until && b->button_until < next ? b->button_until : next;
}

bool board_idle(const board_t *b)
{
	return !b->powered || (uart_idle(&b->uart) && (b->avr->state == cpu_Sleeping || board_dead(b)));
}

/* Untouched is what holds what it held at power-on, or what the firmware painted over all of it at its start.
 * Variables that are not set to anything at the start may lie before it. */
int board_stack_free(const board_t *b)
{
	const uint8_t *data = b->avr->data;
	uint32_t begin = b->facts->ram_begin + b->elf.datasize + b->elf.bsssize;
	int most = 0;
	for (uint32_t from = begin; from < begin + 8; from++) {
		uint32_t at = from;
		while (at <= b->avr->ramend && (data[at] == b->ram_fill[at] || data[at] == data[from]))
			at++;
		if ((int)(at - from) > most)
			most = at - from;
	}
	return most;
}

void board_stats(board_t *b, FILE *out)
{
	const uart_count_t *c = &b->uart.count;
	avr_cycle_count_t cycles = b->avr->cycle;
	fprintf(out,
	        "{\"name\":\"%s\",\"port\":\"%s\",\"mcu\":\"%s\",\"clock_hz\":%u,\"ppm\":%g,\"baud\":%.1f,"
	        "\"host_baud\":%.1f,\"plugged\":%s,\"powered\":%s,\"state\":\"%s\",\"pc\":%u,",
	        b->name, b->cable.path, b->facts->mcu, b->hz, b->ppm, uart_baud(&b->uart), b->uart.host_baud,
	        b->cable.master >= 0 ? "true" : "false", b->powered ? "true" : "false",
	        !b->powered ? "off" : board_dead(b) ? "dead" : b->avr->state == cpu_Sleeping ? "asleep" : "awake", (unsigned)b->avr->pc);
	fprintf(out, "\"cycles\":%llu,\"ns\":%.0f,\"awake\":%.4f,\"slipped_ns\":%llu,\"stack_free\":%d,",
	        (unsigned long long)cycles, board_ns(b, cycles), cycles ? 1 - (double)b->asleep_cycles / cycles : 0,
	        (unsigned long long)b->slipped_ns, board_stack_free(b));
	fprintf(out,
	        "\"received\":%llu,\"sent\":%llu,\"overruns\":%llu,\"framing\":%llu,\"deaf\":%llu,"
	        "\"overwritten\":%llu,\"dropped\":%llu,\"bit_errors_in\":%llu,\"bit_errors_out\":%llu,"
	        "\"wire_in_ns\":%.0f,\"wire_out_ns\":%.0f,",
	        (unsigned long long)c->received, (unsigned long long)c->sent, (unsigned long long)c->overruns,
	        (unsigned long long)c->framing, (unsigned long long)c->deaf, (unsigned long long)c->overwritten,
	        (unsigned long long)b->cable.dropped, (unsigned long long)c->bit_errors_in,
	        (unsigned long long)c->bit_errors_out, board_ns(b, c->wire_in), board_ns(b, c->wire_out));
	fputs("\"resets\":{", out);
	for (int i = 0; i < RESET_CAUSES; i++)
		fprintf(out, "%s\"%s\":%u", i ? "," : "", CAUSES[i], b->resets[i]);
	fprintf(out, "},\"plugs\":%u,\"eeprom_writes\":%llu,\"eeprom_torn\":%llu,\"eeprom_busy\":%s,\"trouble\":\"%s\"}",
	        b->cable.plugs, (unsigned long long)b->eeprom.writes, (unsigned long long)b->eeprom.torn,
	        b->eeprom.writing ? "true" : "false", b->trouble);
}
