#include "marks.h"

#include <string.h>

static void count(stretch_t *s, avr_cycle_count_t cycles)
{
	s->last = cycles;
	s->sum += cycles;
	if (!s->n || cycles < s->min)
		s->min = cycles;
	if (cycles > s->max)
		s->max = cycles;
	s->n++;
}

static void marked(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	marks_t *m = param;
	avr->data[address] = v;
	stretch_t *s = &m->stretch[v & 0x7F];
	if (!(v & 0x80)) {
		s->begin = avr->cycle;
	} else if (s->begin) {
		count(s, avr->cycle - s->begin - 1); /* the OUT that began it is not of it */
		s->begin = 0;
	}
}

bool marks_profile(marks_t *m, avr_flashaddr_t address)
{
	if (m->profiles == PROFILES)
		return false;
	m->profile[m->profiles++] = (profile_t){.address = address};
	return true;
}

void marks_look(marks_t *m, avr_t *avr)
{
	uint16_t sp = avr->data[R_SPL] | avr->data[R_SPH] << 8;
	for (int i = 0; i < m->profiles; i++) {
		profile_t *p = &m->profile[i];
		if (p->inside && sp > p->sp) {
			p->inside = false;
			count(&p->calls, avr->cycle - p->calls.begin);
		}
		if (!p->inside && avr->pc == p->address) {
			p->inside = true;
			p->sp = sp;
			p->calls.begin = avr->cycle;
		}
	}
}

void marks_attach(marks_t *m, avr_t *avr, const facts_t *facts)
{
	marks_clear(m);
	avr_register_io_write(avr, facts->mark, marked, m);
}

void marks_clear(marks_t *m)
{
	memset(m, 0, sizeof *m);
}

static void report(const stretch_t *s, FILE *out)
{
	fprintf(out, "{\"n\":%llu,\"min\":%llu,\"mean\":%.2f,\"max\":%llu,\"last\":%llu}", (unsigned long long)s->n,
	        (unsigned long long)s->min, s->n ? (double)s->sum / s->n : 0, (unsigned long long)s->max,
	        (unsigned long long)s->last);
}

void marks_report(const marks_t *m, FILE *out)
{
	const char *comma = "";
	fputc('{', out);
	for (int i = 1; i < 128; i++) {
		if (!m->stretch[i].n)
			continue;
		fprintf(out, "%s\"%d\":", comma, i);
		report(&m->stretch[i], out);
		comma = ",";
	}
	fputc('}', out);
}

void marks_report_profile(const marks_t *m, FILE *out)
{
	fputc('{', out);
	for (int i = 0; i < m->profiles; i++) {
		fprintf(out, "%s\"%u\":", i ? "," : "", (unsigned)m->profile[i].address);
		report(&m->profile[i].calls, out);
	}
	fputc('}', out);
}
