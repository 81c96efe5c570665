/* A whole course of K chips of the firmware, for tests/firmware/test_chip_race.py: the network's only part that is
 * not chip_race.c. A chip is an image; all delays are DELAY ticks, so each runs so long before the next has its turn.
 */
#include <string.h>

#include "chip.h"

#define DELAY 8

struct course {
    uint32_t chips, inputs, classes, slots, learnt, slot, start, level, top, learn_at;
};

/* `images`: K of `length` bytes, read and written. `levels`: a row of inputs for each slot; `kind`: its class.
 * `fired` gets tick * K + chip of every spike, in order of window and chip; returns how many, or -1 for a bad image. */
int64_t race_course(const struct course *c, uint8_t *images, uint16_t length, const uint8_t *levels,
                    const uint8_t *kind, int64_t *fired, int64_t room)
{
    int64_t total = 0, last = 0, before;
    uint32_t now, end = c->slots * c->slot + 2 * DELAY;

    for (now = 0; now < end; now += DELAY) {
        uint32_t k;

        before = total;
        for (k = 0; k < c->chips; k++) {
            uint8_t *image = images + (size_t)k * length;
            uint16_t elders = k / c->classes, same = (c->chips - 1 - k % c->classes) / c->classes, others;
            uint32_t tick, i;

            others = c->chips - 1 - same;
            memcpy(chip_image(), image, length);
            if (!chip_restore(length))
                return -1;
            for (tick = now; tick < now + DELAY; tick++) {
                int64_t n;

                for (n = last; n < before; n++) {
                    uint32_t sender = fired[n] % c->chips, first = c->inputs;

                    if (fired[n] / c->chips + DELAY != tick || sender == k)
                        continue;
                    if (sender % c->classes != k % c->classes)
                        chip_input(first + same);
                    else
                        chip_input(sender < k ? first : first + elders);
                }
                if (tick / c->slot < c->slots) {
                    uint32_t slot = tick / c->slot, r = tick % c->slot;
                    uint16_t teacher = c->inputs + same + others;

                    if (r == 0)
                        chip_input(teacher + 2);
                    if (r == c->level / 2 && slot < c->learnt && kind[slot] == k % c->classes)
                        chip_input(teacher);
                    if (r == c->learn_at && slot < c->learnt)
                        chip_input(teacher + 1);
                    if (r >= c->start && (r - c->start) % c->level == 0) {
                        uint32_t late = (r - c->start) / c->level;

                        for (i = 0; late < c->top && i < c->inputs; i++)
                            if (levels[slot * c->inputs + i] == c->top - late)
                                chip_input(i);
                    }
                }
                if (chip_tick() == CHIP_FIRED) {
                    if (total == room)
                        return -1;
                    fired[total++] = (int64_t)tick * c->chips + k;
                    chip_learn();
                }
            }
            chip_snapshot();
            memcpy(image, chip_image(), length);
        }
        last = before;
    }
    return total;
}
