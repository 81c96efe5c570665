/* What is kept without power: a serial number, the count of starts, and snapshots in two slots.
 *
 * A snapshot goes into the slot that does not hold the newest. Its first byte says whether it is whole; it is
 * cleared first and set last, after a CRC over all between, so that whenever power fails the slot is either whole
 * or not there, and the other one is. A byte takes 3.4 ms (ATmega8: 8.5 ms), so one is written whenever the
 * EEPROM is ready while the neuron goes on; a weight is saved as it is when its turn comes.
 */
#ifndef STORE_H
#define STORE_H

#include <stdint.h>

#include "board.h"
#include "link_messages.h"

struct store_head {
    uint8_t whole;
    uint16_t number; /* counts snapshots */
    uint8_t shift;   /* weights are kept as 8 bits, shifted by this; 255: as they are */
#if GOES_ON
    uint32_t period; /* of the clock */
#endif
} LINK_PACKED; /* then parameters, weights, crc at the end of the slot */

extern struct store_head store_head; /* of the snapshot last saved or recalled */

void store_init(void);
void store_put_identity(void);       /* serial number and starts, into the message that has begun */
void store_name(uint32_t serial);
uint8_t store_save(void);            /* 0: too large, or still saving */
uint8_t store_recall(void);          /* parameters and weights of the newest snapshot; 0: there is none */
uint8_t store_poll(void);            /* write a byte if there is one; 1: a snapshot has just become whole */

#endif
