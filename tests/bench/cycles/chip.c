/* One chip of a network through some slots of a course, as fast as it can; tests/bench/cycles.py counts the cycles.
 * course.h: IMAGE (the chip's, before), EVENTS (tick in the slot, synapse; 255 ends a slot), SLOTS, SLOT.
 */
#include <avr/interrupt.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

#include "chip.h"
#include "course.h"

uint8_t *volatile image_at; /* for whoever reads the memory in the end */
static const uint8_t start[] PROGMEM = IMAGE;
static const uint8_t events[] PROGMEM = EVENTS;

int main(void)
{
    const uint8_t *event = events;
    uint16_t i;
    uint8_t slot;

    for (i = 0; i < sizeof start; i++)
        chip_image()[i] = pgm_read_byte(start + i);
    chip_restore(sizeof start);
    for (slot = 0; slot != SLOTS; slot++) {
        uint16_t tick = 0;

        while (tick < SLOT) {
            uint8_t next, said;

            while ((next = pgm_read_byte(event)) == tick && next != 255) {
                chip_input(pgm_read_byte(event + 1));
                event += 2;
            }
            said = chip_tick();
            tick++;
            if (said == CHIP_FIRED)
                chip_learn();
            else if (said == CHIP_RESTING) {
                uint16_t until = next == 255 ? SLOT : next;

                if (until > tick) {
                    chip_skip(until - tick);
                    tick = until;
                }
            }
        }
        event++;
    }
    chip_snapshot();
    image_at = chip_image();
    cli();
    sleep_enable();
    sleep_cpu(); /* asleep without interrupts: the simulator is done */
    return 0;
}
