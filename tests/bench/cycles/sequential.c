/* The same rule for all neurons in one program on one chip: what a network of chips is compared with. Written as one
 * would who has one chip: neurons out of the race are no longer visited, and a spike's effect needs no message.
 * course.h: WEIGHTS (K x INPUTS, before), LEVELS (SLOTS x INPUTS), KINDS (SLOTS), K, CLASSES.
 */
#include <stdint.h>
#ifdef __AVR__
#include <avr/interrupt.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#else
#define PROGMEM
#define pgm_read_byte(address) (*(address))
#endif

#include "course.h"

#define V_TH 12000U
#define LEARN_AT 200
#define NONE 0xff

static const uint8_t weights[] PROGMEM = WEIGHTS;
static const uint8_t samples[] PROGMEM = LEVELS;
static const uint8_t kinds[] PROGMEM = KINDS;

uint8_t W[K][INPUTS];
static uint8_t x[INPUTS];
static uint16_t V[K], S[K], threshold[K];
static uint8_t fired[K], racing[K], n_racing, virgin[K], mate[K], earlier[K], foreign[K];

static void weigh(uint8_t k)
{
    uint32_t square = 0;
    uint8_t i;

    for (i = 0; i < INPUTS; i++)
        square += (uint16_t)(W[k][i] * W[k][i]);
    virgin[k] = square == 0;
    square = (square >> 4) + V_TH;
    threshold[k] = square > 0xffff ? 0xffff : square;
}

static void move(uint8_t k, int8_t way)
{
    uint8_t i;

    for (i = 0; i < INPUTS; i++) {
        int16_t to = x[i] * 8;

        if (way) {
            int16_t by = to - W[k][i];

            to = way > 0 ? W[k][i] + (by >> 3) : W[k][i] - (by >> 4);
        }
        W[k][i] = to < 0 ? 0 : to > 127 ? 127 : to;
    }
    weigh(k);
}

/* What the spikes of 8 ticks ago do to the others. */
static void inhibit(uint8_t tick, uint8_t teacher)
{
    uint8_t sender, k;

    for (sender = 0; sender < K; sender++) {
        if (fired[sender] != tick - 8)
            continue;
        for (k = 0; k < K; k++) {
            if (k == sender)
                continue;
            if (k % CLASSES == sender % CLASSES) {
                mate[k] = 1;
                if (fired[k] == NONE || fired[sender] < fired[k] || (fired[sender] == fired[k] && sender < k))
                    earlier[k] = 1;
            } else {
                foreign[k] = 1;
            }
        }
        n_racing = 0;
        for (k = 0; k < K; k++)
            if (fired[k] == NONE && !mate[k] && (k % CLASSES == teacher || !foreign[k]))
                racing[n_racing++] = k;
    }
}

static void present(uint8_t teacher)
{
    uint8_t i, k, n, tick, some = 0, claimed = 0;

    for (k = 0; k < K; k++) {
        V[k] = S[k] = 0;
        mate[k] = earlier[k] = foreign[k] = 0;
        fired[k] = NONE;
        racing[k] = k;
    }
    n_racing = K;
    for (tick = 8; tick <= LEARN_AT; tick++) {
        if (some && tick >= 16)
            inhibit(tick, teacher);
        if (tick == LEARN_AT)
            break;
        if ((tick & 7) == 0 && tick <= 128) {
            uint8_t level = 17 - tick / 8;

            for (i = 0; i < INPUTS; i++)
                if (x[i] == level)
                    for (n = 0; n < n_racing; n++)
                        S[racing[n]] += W[racing[n]][i];
        }
        for (n = 0; n < n_racing;) {
            uint16_t before;

            k = racing[n];
            before = V[k];
            V[k] += S[k] >> 3;
            if (V[k] < before)
                V[k] = 0xffff;
            if (V[k] >= threshold[k] && !virgin[k]) {
                fired[k] = tick;
                some = 1;
                racing[n] = racing[--n_racing];
            } else {
                n++;
            }
        }
        if (n_racing == 0 && tick < LEARN_AT - 9 && some) {
            uint8_t last = 0;

            for (k = 0; k < K; k++)
                if (fired[k] != NONE && fired[k] > last)
                    last = fired[k];
            if (tick > last + 8)
                break; /* nobody is left, and every spike has arrived */
        }
    }
    for (k = 0; k < K; k++) {
        uint8_t mine = k % CLASSES == teacher;

        if (virgin[k]) {
            if (mine && (foreign[k] || !mate[k]) && !claimed) {
                claimed = 1;
                move(k, 0);
            }
        } else if (fired[k] != NONE && !mine) {
            move(k, -1);
        } else if (fired[k] != NONE && !earlier[k] && foreign[k]) {
            move(k, 1);
        }
    }
}

int run(void)
{
    uint8_t slot, k, i;

    for (k = 0; k < K; k++) {
        for (i = 0; i < INPUTS; i++)
            W[k][i] = pgm_read_byte(weights + (uint16_t)k * INPUTS + i);
        weigh(k);
    }
    for (slot = 0; slot != SLOTS; slot++) {
        for (i = 0; i < INPUTS; i++)
            x[i] = pgm_read_byte(samples + (uint16_t)slot * INPUTS + i);
        present(pgm_read_byte(kinds + slot));
    }
    return 0;
}

#ifdef __AVR__
int main(void)
{
    run();
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
#endif
