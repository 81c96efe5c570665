/* The contract between a neuron and the board that carries it. A program has one chip: it links one chip_*.c.
 *
 * Time is counted in ticks, one update of the network each. chip_input and chip_kick act in the next chip_tick;
 * what arrives for one tick may come in any order. A chip knows no clock, no pin and no message.
 *
 * A chip's parameters, state, weights and marks are one stretch of memory, its image: it is written and read byte
 * by byte, and is the same bytes on the wire (link_messages.h has the struct at its head). What a synapse is for
 * (its kind: plastic or not, pixel, teacher, broadcast, ...) follows from its number: the image's parameters give
 * the ranges, so a kind costs no memory and no byte on the wire.
 */
#ifndef CHIP_H
#define CHIP_H

#include <stdint.h>

#define CHIP_FIRED 1   /* it has fired in this tick: say so, then chip_learn */
#define CHIP_CALM 128
#define CHIP_RESTING 2 /* without input no further tick would change anything but the time: chip_skip may be used */

/* CHIP_KIND (LINK_CHIP_*), CHIP_ROOM (bytes of an image behind its structs), CHIP_CAPACITY (synapses of the largest
 * kind that fit), CHIP_IMAGE_SIZE (bytes there are for an image) and what is kept without power: CHIP_PARAMS_SIZE
 * bytes of parameters, and weights of CHIP_WEIGHT_BYTES each. */
#include CHIP

/* Configure, snapshot, restore. */
uint8_t *chip_image(void);
uint16_t chip_snapshot(void);            /* make the image fit to be read; its length in bytes */
uint8_t chip_restore(uint16_t length);   /* an image has been written: 1 if it makes sense, 0 if not */
void chip_rest(void);                    /* state as after power-on at tick 0; parameters and weights stay */

uint8_t *chip_weights(void);
uint16_t chip_weight_count(void);

/* Run. */
uint16_t chip_synapses(void);
uint32_t chip_now(void);                 /* ticks done */
uint16_t chip_now16(void);               /* the low half */
void chip_input(uint16_t synapse);       /* synapse < chip_synapses() */
void chip_kick(int16_t weight);          /* a stimulus without a synapse */
int16_t chip_poke(void);                 /* weight of a press of the button */
uint8_t chip_tick(void);                 /* CHIP_* */
uint8_t chip_run(uint8_t ticks);         /* up to so many ticks, until one says something: CHIP_* */
void chip_learn(void);                   /* after a tick that fired, before the next input */
void chip_skip(uint16_t ticks);          /* so many ticks at rest */
uint8_t chip_calm(void);                 /* without input it cannot fire before so many ticks: 1 ... CHIP_CALM,
                                            where FAST is 0: 1, or CHIP_CALM for never */

int8_t chip_level(void);                 /* for the eye: -127 ... 127, 0 at rest, 128 would be threshold */

#endif
