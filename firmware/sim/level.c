#include "level.h"

#include <stddef.h>

#include <simavr/sim_interrupts.h>
#include <simavr/sim_io.h>

avr_int_vector_t *level_vector(avr_t *avr, uint8_t number)
{
	for (int i = 0; i < avr->interrupts.vector_count; i++)
		if (avr->interrupts.vector[i]->vector == number)
			return avr->interrupts.vector[i];
	return NULL;
}

static void take_out(avr_t *avr, avr_int_vector_t *vector)
{
	avr_int_pending_t *queue = &avr->interrupts.pending;
	uint16_t to = queue->read;
	for (uint16_t from = queue->read; from != queue->write; from = (from + 1) % avr_int_pending_fifo_size)
		if (queue->buffer[from] != vector) {
			queue->buffer[to] = queue->buffer[from];
			to = (to + 1) % avr_int_pending_fifo_size;
		}
	queue->write = to;
	vector->pending = 0;
	if (queue->read == queue->write && avr->interrupt_state > 0)
		avr->interrupt_state = 0; /* serving an empty queue would read a stale entry */
}

void level_set(avr_t *avr, avr_int_vector_t *vector, bool holds)
{
	if (vector->raised.reg)
		avr_regbit_setto(avr, vector->raised, holds);
	if (!holds || !avr_regbit_get(avr, vector->enable)) {
		if (vector->pending)
			take_out(avr, vector);
	} else if (!vector->pending) {
		avr_raise_interrupt(avr, vector);
	}
}
