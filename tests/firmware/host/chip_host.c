/* Drives the chip of the firmware through a stretch of time, for tests/firmware/test_chip.py. */
#include "chip.h"

/* Inputs (ascending ticks; synapse 0xffff: a kick of `weight`) from now up to tick `end`. Stamps of spikes go to
 * `stamps`. Time at rest is skipped where the chip says so. Returns the number of spikes. */
uint32_t chip_drive(uint32_t n, const uint32_t *tick, const uint16_t *synapse, const int16_t *weight, uint32_t end,
                  uint32_t *stamps)
{
    uint32_t i = 0, fired = 0;

    while (chip_now() < end) {
        uint32_t until;
        uint8_t said = 0;

        for (; i < n && tick[i] == chip_now(); i++) {
            if (synapse[i] == 0xffff)
                chip_kick(weight[i]);
            else
                chip_input(synapse[i]);
        }
        until = i < n && tick[i] < end ? tick[i] : end;
        until -= chip_now();
        said = chip_run(until < 40 ? until : 1 + chip_now() % 37);
        if (said == CHIP_FIRED) {
            stamps[fired++] = chip_now();
            chip_learn();
        }
        until = i < n && tick[i] < end ? tick[i] : end;
        if (said == CHIP_RESTING && chip_now() < until)
            chip_skip(until - chip_now() < 0xffff ? until - chip_now() : 0xffff);
    }
    return fired;
}
