/* The chip `race`: race to the nearest, a classifier of neurons that learn alone. nodes/race.py is its twin, bit
 * for bit, and has the rule. Weights are bytes from 0 to 127, V and S 16 bits; nothing here divides.
 *
 * RESET and LEARN are carried out by the tick they come for, after all else that comes for it.
 */
#include "chip.h"

#define OPEN 1
#define INHIBITED 2
#define MINE 4
#define MATE 8
#define EARLIER 16
#define FOREIGN 32
#define VIRGIN 64
#define TAKEN 128 /* something has come that acts in the next tick */

#define RESET 1
#define LEARN 2

#define ATTRACT 0
#define REPEL 1
#define CLAIM 2

#define NONE 0xffff
#define W_MOST 127

static struct {
    struct race_params p;
    struct race_state s;
    uint8_t pool[CHIP_ROOM]; /* weights, then levels */
} LINK_PACKED image;

#define p image.p
#define s image.s

static uint8_t *T;      /* level of each input */
static uint16_t slope;  /* S >> shift */

uint8_t *chip_image(void)
{
    return (uint8_t *)&image;
}

uint16_t chip_snapshot(void)
{
    return sizeof p + sizeof s + 2 * p.inputs;
}

/* Of the weights: whether they are all 0, and the threshold. */
static void weigh(void)
{
    const uint8_t *w = image.pool;
    uint32_t square = 0;
    uint16_t n;

    for (n = p.inputs; n; n--, w++)
        square += (uint16_t)(*w * *w);
    if (square)
        s.flags &= ~VIRGIN;
    else
        s.flags |= VIRGIN;
    square = (square >> p.shift >> 1) + p.V_th;
    s.threshold = square > 0xffff ? 0xffff : square;
}

static void take_up(void)
{
    T = image.pool + p.inputs;
    slope = s.S >> p.shift;
}

uint8_t chip_restore(uint16_t length)
{
    const uint8_t *w = image.pool;
    uint16_t n;

    /* Ends of kinds that are out of order make a deaf chip, and harm nothing. */
    if (p.inputs > CHIP_ROOM / 2 || length != sizeof p + sizeof s + 2 * p.inputs || p.V_th == 0
        || (p.shift | p.attract | p.repel | p.level) > 15)
        return 0;
    for (n = p.inputs; n; n--)
        if (*w++ > W_MOST)
            return 0;
    take_up();
    return 1;
}

void chip_rest(void)
{
    uint8_t *byte = (uint8_t *)&s;
    uint16_t i;

    for (i = 0; i < sizeof s; i++)
        byte[i] = 0;
    for (i = 0; i < p.inputs; i++)
        image.pool[p.inputs + i] = 0;
    s.fired = s.claim = NONE;
    take_up();
    weigh();
}

uint8_t *chip_weights(void)
{
    return image.pool;
}

uint16_t chip_weight_count(void)
{
    return p.inputs;
}

uint16_t chip_synapses(void)
{
    return p.synapses;
}

uint32_t chip_now(void)
{
    return s.tick;
}

uint16_t chip_now16(void)
{
    return s.tick;
}

/* A push of the hand charges the membrane. */
void chip_kick(int16_t weight)
{
    uint16_t V = s.V + weight;

    s.flags |= TAKEN;
    s.V = weight >= 0 && V < s.V ? 0xffff : weight < 0 && V > s.V ? 0 : V;
}

int16_t chip_poke(void)
{
    return 0x7fff;
}

/* Ticks since RESET or, in a closed slot, since LEARN; it stops at the last that fits. */
static uint16_t since_began(void)
{
    uint32_t t = s.tick - s.began;

    return t < NONE ? t : NONE - 1;
}

void chip_input(uint16_t synapse)
{
    uint16_t t = since_began();

    s.flags |= TAKEN;
    if (synapse >= p.learns) {
        s.order = RESET;
        s.flags |= OPEN;
        s.began = s.tick;
    } else if (!(s.flags & OPEN)) {
        if (synapse >= p.inputs && synapse < p.youngers && t >= p.delay)
            s.claim = NONE; /* a classmate's spike of after LEARN is its claim */
    } else if (synapse < p.inputs) {
        uint8_t late = 0;

        s.S += image.pool[synapse];
        slope = s.S >> p.shift;
        if (t > p.start) {
            t = (t - p.start) >> p.level;
            late = t > p.top ? p.top : t;
        }
        T[synapse] = p.top - late;
    } else if (synapse < p.youngers) {
        s.flags |= MATE;
        if (s.fired == NONE) {
            s.flags |= INHIBITED | EARLIER;
        } else {
            int16_t ahead = t - p.delay - s.fired;

            if (ahead < 0 || (ahead == 0 && synapse < p.elders))
                s.flags |= EARLIER;
        }
    } else if (synapse < p.foreign) {
        s.flags |= FOREIGN;
        if (s.fired == NONE && !(s.flags & MINE))
            s.flags |= INHIBITED;
    } else if (synapse < p.teachers) {
        s.flags |= MINE;
    } else {
        s.order = LEARN;
    }
}

/* Towards the sample, away from it, or all the way: `way` is ATTRACT, REPEL or CLAIM. */
static void move(uint8_t way)
{
    uint8_t *w = image.pool;
    const uint8_t *level = T;
    uint8_t shift = way == ATTRACT ? p.attract : p.repel;
    uint16_t n;

    for (n = p.inputs; n; n--, w++) {
        int16_t to = *level++ * 8;

        if (way != CLAIM) {
            int16_t by = (to - *w) >> shift;

            to = way == ATTRACT ? *w + by : *w - by;
        }
        *w = to < 0 ? 0 : to > W_MOST ? W_MOST : to;
    }
    weigh();
}

static void carry_out(void)
{
    if (s.order == RESET) {
        uint8_t *level = T;
        uint16_t n;

        s.V = s.S = slope = 0;
        s.fired = s.claim = NONE;
        for (n = p.inputs; n; n--)
            *level++ = 0;
        s.flags = OPEN | (s.flags & VIRGIN);
        weigh();
    } else {
        uint8_t f = s.flags;

        s.flags &= ~OPEN;
        s.began = s.tick;
        if (f & VIRGIN) {
            if ((f & MINE) && ((f & FOREIGN) || !(f & MATE)))
                s.claim = (p.elders - p.inputs) * p.delay;
        } else if (s.fired != NONE) {
            if (!(f & MINE))
                move(REPEL);
            else if ((f & FOREIGN) && !(f & EARLIER))
                move(ATTRACT);
        }
    }
    s.order = 0;
}

uint8_t chip_tick(void)
{
    uint8_t said = CHIP_RESTING;

    s.flags &= ~TAKEN;
    if (s.order)
        carry_out();
    if (s.claim != NONE) {
        said = 0;
        if (s.claim == 0) {
            move(CLAIM);
            said = CHIP_FIRED;
        }
        s.claim--; /* from 0 to NONE */
    }
    if ((s.flags & (OPEN | INHIBITED)) == OPEN && s.fired == NONE) {
        if (slope) {
            uint16_t V = s.V;

            said = 0;
            s.V = V + slope < V || V + slope > 0xffff ? 0xffff : V + slope;
        }
        if (s.V >= s.threshold) {
            s.fired = since_began();
            said = CHIP_FIRED;
        }
    }
    s.tick++;
    return said;
}

void chip_learn(void)
{
    /* A spike changes nothing here: LEARN does. */
}

void chip_skip(uint16_t ticks)
{
    s.tick += ticks;
}

uint8_t chip_run(uint8_t n)
{
    uint8_t said;

    do
        said = chip_tick();
    while (!said && --n);
    return said;
}

uint8_t chip_calm(void)
{
    return 1;
}

int8_t chip_level(void)
{
    if (!(s.flags & OPEN))
        return 0;
    return s.V >= s.threshold ? 100 : s.V / (s.threshold / 100 + 1);
}
