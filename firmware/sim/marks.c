#include "marks.h"

#include <string.h>

static void marked(avr_t *avr, avr_io_addr_t address, uint8_t v, void *param)
{
	marks_t *m = param;
	avr->data[address] = v;
	stretch_t *s = &m->stretch[v & 0x7F];
	if (!(v & 0x80)) {
		s->begin = avr->cycle;
	} else if (s->begin) {
		s->last = avr->cycle - s->begin - 1; /* the OUT that began it is not of it */
		s->begin = 0;
		s->sum += s->last;
		if (!s->n || s->last < s->min)
			s->min = s->last;
		if (s->last > s->max)
			s->max = s->last;
		s->n++;
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

void marks_report(const marks_t *m, FILE *out)
{
	const char *comma = "";
	fputc('{', out);
	for (int i = 1; i < 128; i++) {
		const stretch_t *s = &m->stretch[i];
		if (!s->n)
			continue;
		fprintf(out, "%s\"%d\":{\"n\":%llu,\"min\":%llu,\"mean\":%.2f,\"max\":%llu,\"last\":%llu}", comma, i,
		        (unsigned long long)s->n, (unsigned long long)s->min, (double)s->sum / s->n,
		        (unsigned long long)s->max, (unsigned long long)s->last);
		comma = ",";
	}
	fputc('}', out);
}
