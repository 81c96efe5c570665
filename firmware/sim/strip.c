#include "strip.h"

#include <stdlib.h>
#include <string.h>

#include <simavr/avr_ioport.h>

#include "board.h"

/* Worldsemi's data sheets. WS2811 in its fast mode; WS2812: 2812B and 2812B-V5. The time low of a one is
 * given as 220-420 ns by some and 580-1000 ns by others; no chip measures it. For the end of a frame they
 * want 50 or 280 us low, but chips were seen to take 9 us for it (cpldcpu, "Understanding the WS2812"): 7 us is safe. */
static const strip_chip_t CHIPS[] = {
	{"ws2811", 220, 380, 580, 1600, 580, 220, 7000, 950, 280000, "RGB", 3, false},
	{"ws2812", 250, 380, 650, 950, 580, 300, 7000, 950, 280000, "GRB", 1, false},
	{"ws2813", 300, 380, 750, 1000, 300, 300, 100000, 950, 300000, "GRB", 1, true},
	{"ws2815", 220, 380, 580, 1000, 580, 220, 7000, 950, 280000, "GRB", 1, true},
	{"ws2818", 220, 380, 580, 1000, 580, 220, 7000, 950, 280000, "RGB", 3, true},
};

static const char *const NAMES[VIOLATIONS] = {"t0h", "t1h", "t0l", "t1l", "period", "gap", "bits", "length", "backup"};
static const char *const PULSES[4] = {"t0h", "t1h", "t0l", "t1l"};

const strip_chip_t *strip_chip_of(const char *name)
{
	for (size_t i = 0; i < sizeof CHIPS / sizeof *CHIPS; i++)
		if (!strcmp(CHIPS[i].name, name))
			return &CHIPS[i];
	return NULL;
}

static double ns(const strip_t *s, avr_cycle_count_t cycles)
{
	return cycles * 1e9 / s->board->hz; /* by the nominal clock: a limit met exactly is met */
}

static void measure(strip_t *s, int kind, double found, double min, double max)
{
	pulses_t *p = &s->pulses[kind];
	if (!p->n || found < p->min_ns)
		p->min_ns = found;
	if (!p->n || found > p->max_ns)
		p->max_ns = found;
	p->n++;
	if (found < min || found > max)
		s->violations[kind]++;
}

static void latch(strip_t *s, decoder_t *d, avr_cycle_count_t when)
{
	bool main = d == &s->decoder[0];
	uint32_t bytes = d->bits / 8;
	if (main) {
		strip_frame_t *f = &s->frames[s->frame_count % STRIP_FRAMES];
		f->number = ++s->frame_count;
		f->begin = s->begin;
		f->latch = when;
		f->bytes = bytes < STRIP_BYTES ? bytes : STRIP_BYTES;
		memcpy(f->data, d->bytes, f->bytes);
		if (d->bits % 24)
			s->violations[V_BITS]++;
		else if (s->leds && bytes / 3 * s->chip->leds_per_chip != (uint32_t)s->leds)
			s->violations[V_LENGTH]++;
		if (s->pins == 2) {
			const decoder_t *other = &s->decoder[1];
			if (other->bits != d->bits || memcmp(other->bytes, d->bytes, f->bytes))
				s->violations[V_BACKUP]++;
			s->decoder[1].bits = 0;
			s->decoder[1].any = false;
		}
	}
	d->bits = 0;
	d->any = false;
}

static void rise(strip_t *s, decoder_t *d, avr_cycle_count_t at)
{
	if (d->any) {
		double low = ns(s, at - d->fall);
		if (low >= s->chip->reset_min) {
			if (d == &s->decoder[0])
				latch(s, d, d->fall + (avr_cycle_count_t)(s->chip->reset_min * 1e-9 * s->board->hz));
		} else if (d == &s->decoder[0]) {
			if (low > s->worst_gap_ns)
				s->worst_gap_ns = low;
			if (low > s->chip->low_max)
				s->violations[V_GAP]++;
			else
				measure(s, d->last_bit ? 3 : 2, low, d->last_bit ? s->chip->t1l_min : s->chip->t0l_min, 1e12);
			if (ns(s, at - d->rise) < s->chip->period_min)
				s->violations[V_PERIOD]++;
		}
	}
	if (!d->any && d == &s->decoder[0])
		s->begin = at;
	d->any = true;
	d->rise = at;
}

static void fall(strip_t *s, decoder_t *d, avr_cycle_count_t at)
{
	const strip_chip_t *c = s->chip;
	double high = ns(s, at - d->rise);
	int one = high > (c->t0h_max + c->t1h_min) / 2.0;
	if (d == &s->decoder[0])
		measure(s, one, high, one ? c->t1h_min : c->t0h_min, one ? c->t1h_max : c->t0h_max);
	if (d->bits < STRIP_BYTES * 8) {
		uint8_t *byte = &d->bytes[d->bits / 8];
		*byte = (d->bits % 8 ? *byte << 1 : 0) | one;
	}
	d->bits++;
	d->last_bit = one;
	d->fall = at;
}

/* simavr calls at the beginning of the instruction; the pin moves at its end. OUT takes one cycle, SBI, CBI
 * and stores take two. */
static avr_cycle_count_t edge(const avr_t *avr)
{
	uint16_t opcode = avr->flash[avr->pc] | avr->flash[avr->pc + 1] << 8;
	return avr->cycle + ((opcode & 0xF800) == 0xB800 ? 1 : 2);
}

static void moved(avr_irq_t *irq, uint32_t value, void *param)
{
	strip_t *s = param;
	decoder_t *d = &s->decoder[irq == s->irq[0] ? 0 : 1];
	if (d->high == !!value)
		return;
	d->high = value;
	(value ? rise : fall)(s, d, edge(s->board->avr));
}

void strip_reset(strip_t *s)
{
	for (int i = 0; i < s->pins; i++) {
		if (s->decoder[i].high)
			fall(s, &s->decoder[i], s->board->avr->cycle);
		s->decoder[i].high = false;
		s->irq[i]->value = 0;
	}
}

void strip_settle(strip_t *s)
{
	decoder_t *d = &s->decoder[0];
	avr_cycle_count_t reset = s->chip ? (avr_cycle_count_t)(s->chip->reset_min * 1e-9 * s->board->hz) : 0;
	if (s->chip && d->any && !d->high && s->board->avr->cycle >= d->fall + reset)
		latch(s, d, d->fall + reset);
}

bool strip_attach(strip_t *s, struct board *b, const strip_chip_t *chip, const pin_t pins[2], int leds,
                  const char *order)
{
	memset(s, 0, sizeof *s);
	s->board = b;
	s->chip = chip;
	s->leds = leds;
	strncpy(s->order, order && *order ? order : chip->order, 3);
	for (int i = 0; i < 2 && pins[i].port; i++) {
		s->irq[i] = avr_io_getirq(b->avr, AVR_IOCTL_IOPORT_GETIRQ(pins[i].port), pins[i].bit);
		if (!s->irq[i])
			return false;
		avr_irq_register_notify(s->irq[i], moved, s);
		s->pins++;
	}
	return s->pins > 0;
}

static void colours(const strip_t *s, const strip_frame_t *f, FILE *out)
{
	fputc('[', out);
	for (uint32_t i = 0; i + 3 <= f->bytes; i += 3) {
		int rgb[3] = {0, 0, 0};
		for (int k = 0; k < 3; k++)
			rgb[s->order[k] == 'R' ? 0 : s->order[k] == 'G' ? 1 : 2] = f->data[i + k];
		fprintf(out, "%s[%d,%d,%d]", i ? "," : "", rgb[0], rgb[1], rgb[2]);
	}
	fputc(']', out);
}

void strip_report(strip_t *s, FILE *out)
{
	strip_settle(s);
	fprintf(out, "{\"chip\":\"%s\",\"order\":\"%s\",\"frames\":%llu", s->chip->name, s->order,
	        (unsigned long long)s->frame_count);
	fputs(",\"colours\":", out);
	if (s->frame_count)
		colours(s, &s->frames[(s->frame_count - 1) % STRIP_FRAMES], out);
	else
		fputs("null", out);
	fputs(",\"violations\":{", out);
	const char *comma = "";
	for (int i = 0; i < VIOLATIONS; i++)
		if (s->violations[i]) {
			fprintf(out, "%s\"%s\":%llu", comma, NAMES[i], (unsigned long long)s->violations[i]);
			comma = ",";
		}
	fputs("},\"pulses_ns\":{", out);
	comma = "";
	for (int i = 0; i < 4; i++)
		if (s->pulses[i].n) {
			fprintf(out, "%s\"%s\":[%.1f,%.1f]", comma, PULSES[i], s->pulses[i].min_ns, s->pulses[i].max_ns);
			comma = ",";
		}
	fprintf(out, "},\"longest_low_ns\":%.1f}", s->worst_gap_ns);
}

void strip_report_frames(strip_t *s, uint64_t since, FILE *out)
{
	strip_settle(s);
	uint64_t first = s->frame_count > STRIP_FRAMES ? s->frame_count - STRIP_FRAMES : 0;
	if (since > first)
		first = since;
	fputc('[', out);
	for (uint64_t n = first; n < s->frame_count; n++) {
		const strip_frame_t *f = &s->frames[n % STRIP_FRAMES];
		fprintf(out, "%s{\"number\":%llu,\"begin_ns\":%.0f,\"latch_ns\":%.0f,\"colours\":", n > first ? "," : "",
		        (unsigned long long)f->number, board_ns(s->board, f->begin), board_ns(s->board, f->latch));
		colours(s, f, out);
		fputc('}', out);
	}
	fputc(']', out);
}
