#include "control.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 8

static const char HELP[] =
	"boards | stats B | leds B | frames B [SINCE] | bursts B | marks B [clear] | profile B [ADDRESS] | "
	"unplug B [keep-power] | plug B [NAME] | reset B | power B on|off | press B [MS] | "
	"errors B IN OUT [SEED] | eeprom B get [FROM N] | eeprom B set FROM HEX | ram B FROM N | line B | "
	"pace real [FACTOR] | pace free [LINGER_MS] | pace hold | run MS [B] | quit; "
	"B is a board's name, its number, or all";

typedef struct request { rig_t *rig; char *word[WORDS]; int n; FILE *out; char wrong[160]; } request_t;

static bool wrong(request_t *r, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(r->wrong, sizeof r->wrong, format, args);
	va_end(args);
	return false;
}

static bool number(request_t *r, int i, double *value)
{
	if (i >= r->n)
		return true; /* the default stays */
	char *end;
	double v = strtod(r->word[i], &end);
	if (*end || end == r->word[i])
		return wrong(r, "'%s' is no number", r->word[i]);
	*value = v;
	return true;
}

static board_t *board_of(request_t *r, const char *word)
{
	for (int i = 0; i < r->rig->n; i++)
		if (!strcmp(r->rig->boards[i].name, word))
			return &r->rig->boards[i];
	char *end;
	long i = strtol(word, &end, 10);
	if (*word && !*end && i >= 0 && i < r->rig->n)
		return &r->rig->boards[i];
	wrong(r, "no board is called '%s'", word);
	return NULL;
}

/* -- what is done to one board -------------------------------------------------------------------- */

static bool do_unplug(request_t *r, board_t *b)
{
	board_unplug(b, r->n > 2 && !strcmp(r->word[2], "keep-power"));
	return true;
}

static bool do_plug(request_t *r, board_t *b)
{
	if (r->n > 2 && b->cable.master < 0) {
		if (!strcmp(r->word[1], "all") || strchr(r->word[2], '/') || r->word[2][0] == '.')
			return wrong(r, "plug B NAME: one board, and a name for its port");
		cable_name(&b->cable, r->word[2]);
	}
	board_plug(b);
	return b->cable.master >= 0 || wrong(r, "%s: no pty to be had", b->name);
}

static bool do_reset(request_t *r, board_t *b)
{
	(void)r;
	board_reset(b);
	return true;
}

static bool do_power(request_t *r, board_t *b)
{
	if (r->n < 3 || (strcmp(r->word[2], "on") && strcmp(r->word[2], "off")))
		return wrong(r, "power B on, or power B off");
	board_power(b, !strcmp(r->word[2], "on"));
	return true;
}

static bool do_press(request_t *r, board_t *b)
{
	double ms = 100;
	if (!b->button.port)
		return wrong(r, "%s has no button", b->name);
	if (!number(r, 2, &ms))
		return false;
	board_press(b, ms);
	return true;
}

static bool do_errors(request_t *r, board_t *b)
{
	double in = 0, out = 0, seed = 0;
	if (!number(r, 2, &in) || !number(r, 3, &out) || !number(r, 4, &seed))
		return false;
	b->uart.error_in = in;
	b->uart.error_out = out;
	if (seed)
		b->random = (uint64_t)seed * 0x9E3779B97F4A7C15ull | 1;
	return true;
}

static void hex(FILE *out, const uint8_t *data, unsigned n)
{
	fputc('"', out);
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%02x", data[i]);
	fputc('"', out);
}

static bool do_eeprom(request_t *r, board_t *b)
{
	unsigned size = b->facts->eeprom_size;
	double from = 0, n = size;
	if (r->n > 2 && !strcmp(r->word[2], "get")) {
		if (!number(r, 3, &from) || !number(r, 4, &n))
			return false;
		if (from < 0 || n < 0 || from + n > size)
			return wrong(r, "%s has %u bytes of EEPROM", b->name, size);
		hex(r->out, b->eeprom.cell + (unsigned)from, n);
		return true;
	}
	if (r->n < 5 || strcmp(r->word[2], "set") || !number(r, 3, &from))
		return wrong(r, "eeprom B get [FROM N], or eeprom B set FROM HEX");
	const char *digits = r->word[4];
	n = strlen(digits) / 2;
	if (from < 0 || from + n > size)
		return wrong(r, "%s has %u bytes of EEPROM", b->name, size);
	if (strlen(digits) % 2 || strspn(digits, "0123456789abcdefABCDEF") != strlen(digits))
		return wrong(r, "'%s' is no hex", digits);
	for (unsigned i = 0; i < n; i++) {
		char byte[3] = {digits[2 * i], digits[2 * i + 1], 0};
		b->eeprom.cell[(unsigned)from + i] = strtoul(byte, NULL, 16);
	}
	return true;
}

static bool do_line(request_t *r, board_t *b)
{
	rig_take_in(b);
	fprintf(r->out, "{\"in\":%llu,\"out\":%llu,\"room\":%u}", (unsigned long long)b->cable.in,
	        (unsigned long long)b->cable.out, uart_room(&b->uart));
	return true;
}

static bool do_ram(request_t *r, board_t *b)
{
	double from = b->facts->ram_begin, n = 1;
	if (!number(r, 2, &from) || !number(r, 3, &n))
		return false;
	if (from < 0 || n < 0 || from + n > b->avr->ramend + 1)
		return wrong(r, "%s has RAM up to %u", b->name, b->avr->ramend);
	hex(r->out, b->avr->data + (unsigned)from, n);
	return true;
}

static bool do_stats(request_t *r, board_t *b)
{
	board_stats(b, r->out);
	return true;
}

static bool do_leds(request_t *r, board_t *b)
{
	strip_report(&b->strip, r->out);
	return true;
}

static bool do_frames(request_t *r, board_t *b)
{
	double since = 0;
	if (!number(r, 2, &since))
		return false;
	strip_report_frames(&b->strip, since, r->out);
	return true;
}

static bool do_marks(request_t *r, board_t *b)
{
	marks_report(&b->marks, r->out);
	if (r->n > 2 && !strcmp(r->word[2], "clear"))
		marks_clear(&b->marks);
	return true;
}

static bool do_profile(request_t *r, board_t *b)
{
	double address = -1;
	if (!number(r, 2, &address))
		return false;
	if (address >= 0 && !marks_profile(&b->marks, address))
		return wrong(r, "no more than %d functions are watched", PROFILES);
	marks_report_profile(&b->marks, r->out);
	return true;
}

static bool do_bursts(request_t *r, board_t *b)
{
	const uart_t *u = &b->uart;
	uint64_t first = u->burst_count > BURSTS ? u->burst_count - BURSTS : 0;
	fputc('[', r->out);
	for (uint64_t i = first; i < u->burst_count; i++) {
		const burst_t *burst = &u->bursts[i % BURSTS];
		fprintf(r->out, "%s[\"%s\",%u,%.0f,%.0f]", i > first ? "," : "", burst->out ? "out" : "in", burst->bytes,
		        board_ns(b, burst->begin), board_ns(b, burst->end));
	}
	fputc(']', r->out);
	return true;
}

static const struct { const char *name; bool (*act)(request_t *, board_t *); bool tells; } ACTS[] = {
	{"stats", do_stats, true}, {"leds", do_leds, true}, {"frames", do_frames, true},
	{"bursts", do_bursts, true}, {"marks", do_marks, true}, {"profile", do_profile, true},
	{"ram", do_ram, true}, {"line", do_line, true}, {"eeprom", do_eeprom, true},
	{"unplug", do_unplug, false}, {"plug", do_plug, false}, {"reset", do_reset, false},
	{"power", do_power, false}, {"press", do_press, false}, {"errors", do_errors, false},
};

/* -- what is done to the rig ---------------------------------------------------------------------- */

static bool do_pace(request_t *r)
{
	rig_t *rig = r->rig;
	const char *how = r->n > 1 ? r->word[1] : "";
	double value = !strcmp(how, "free") ? rig->linger_ms : 1;
	if (!number(r, 2, &value) || value <= 0)
		return *r->wrong ? false : wrong(r, "'%s' must be above 0", r->word[2]);
	if (!strcmp(how, "real")) {
		rig->pace = PACE_REAL;
		rig->factor = value;
	} else if (!strcmp(how, "free")) {
		rig->pace = PACE_FREE;
		rig->linger_ms = value;
	} else if (!strcmp(how, "hold")) {
		rig->pace = PACE_HOLD;
	} else {
		return wrong(r, "pace real [FACTOR], pace free [LINGER_MS], or pace hold");
	}
	rig_rebase(rig);
	return true;
}

static bool do_run(request_t *r)
{
	double ms = 0;
	board_t *only = NULL;
	if (r->n < 2 || !number(r, 1, &ms))
		return *r->wrong ? false : wrong(r, "run MS [B]");
	if (r->n > 2 && strcmp(r->word[2], "all") && !(only = board_of(r, r->word[2])))
		return false;
	if (r->rig->pace == PACE_REAL)
		return wrong(r, "under 'pace real' time passes by itself");
	rig_pass(r->rig, only, ms * 1e6);
	return true;
}

static bool answer(request_t *r)
{
	const char *verb = r->word[0];
	if (!strcmp(verb, "help")) {
		fprintf(r->out, "\"%s\"", HELP);
		return true;
	}
	if (!strcmp(verb, "pace"))
		return do_pace(r);
	if (!strcmp(verb, "run"))
		return do_run(r);
	if (!strcmp(verb, "quit"))
		return r->rig->quit = true;
	bool all = !strcmp(verb, "boards") || (r->n > 1 && !strcmp(r->word[1], "all"));
	if (!strcmp(verb, "boards"))
		verb = "stats";
	for (size_t i = 0; i < sizeof ACTS / sizeof *ACTS; i++) {
		if (strcmp(ACTS[i].name, verb))
			continue;
		if (!all) {
			board_t *b = r->n > 1 ? board_of(r, r->word[1]) : NULL;
			return b ? ACTS[i].act(r, b) : *r->wrong ? false : wrong(r, "%s B: which board?", verb);
		}
		if (ACTS[i].tells)
			fputc('[', r->out);
		for (int k = 0; k < r->rig->n; k++) {
			if (k && ACTS[i].tells)
				fputc(',', r->out);
			if (!ACTS[i].act(r, &r->rig->boards[k]))
				return false;
		}
		if (ACTS[i].tells)
			fputc(']', r->out);
		return true;
	}
	return wrong(r, "no such command; there are: help");
}

char *control(rig_t *rig, char *line)
{
	request_t r = {.rig = rig};
	char *rest = NULL, *text = NULL, *reply = NULL;
	size_t size;
	for (char *w = strtok_r(line, " \t\r\n", &rest); w && r.n < WORDS; w = strtok_r(NULL, " \t\r\n", &rest))
		r.word[r.n++] = w;
	r.out = open_memstream(&text, &size);
	bool good = r.n ? answer(&r) : wrong(&r, "an empty command; there are: help");
	fclose(r.out);
	FILE *whole = open_memstream(&reply, &size);
	fprintf(whole, good ? "ok %s\n" : "error %s\n", good ? *text ? text : "null" : r.wrong);
	fclose(whole);
	free(text);
	return reply;
}
