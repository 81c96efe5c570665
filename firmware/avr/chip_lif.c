/* The chip `lif`: leaky integrate-and-fire, exponential currents, pair STDP. nodes/chip.py is its twin, bit for
 * bit, and has the equations. All is integers; V and the currents have 24 bits, of which the upper 16 are seen by
 * the multiplications, so that one tick is five products of 16 x 16 bits.
 *
 * Decays round up, so that a current comes to exactly 0; the leak rounds down, so that V comes to rest.
 */
#include "chip.h"

#include "board.h"
#include "link_messages.h"

#ifdef __AVR__
#include <avr/pgmspace.h>
#else
#define PROGMEM
#define pgm_read_byte(address) (*(address))
#endif

#define CYCLE 255      /* values of a mark: 1 ... 255, 0 is none */
#define FORGOTTEN 128  /* units after which a mark is none */
#define SWEEP 64       /* units between two sweeps of marks; FORGOTTEN + SWEEP < CYCLE */
#define V_MOST 0x7fffffL
#define I_MOST 0xffffffUL

static struct {
    struct lif_params p;
    struct lif_state s;
    uint8_t pool[CHIP_ROOM]; /* weights, then marks */
} LINK_PACKED image;

#define p image.p
#define s image.s

static uint8_t *marks;
static uint8_t unit;     /* the mark of now */
static uint8_t to_sweep; /* units until the next sweep */
static uint8_t unit_mask;

const uint8_t chip_kind = LINK_CHIP_LIF;
const uint16_t chip_room = CHIP_ROOM;
const uint16_t chip_capacity = CHIP_ROOM / 3;
const uint16_t chip_image_size = sizeof image;
const uint8_t chip_params_size = sizeof(struct lif_params);
const uint8_t chip_weight_bytes = 2;

static inline int16_t *weight(uint16_t synapse)
{
    return (int16_t *)(void *)image.pool + synapse;
}

/* round(255 * 2^(-i/16)) */
static const uint8_t powers[16] PROGMEM = {
    255, 244, 234, 224, 214, 205, 197, 188, 180, 173, 165, 158, 152, 145, 139, 133,
};

/* 255 * 2^(-age k / 4096), of a trace that was set `age` units ago. */
static uint8_t trace(uint8_t age, uint16_t k)
{
    uint32_t e = (uint32_t)age * k;
    uint16_t halvings = e >> 12;

    return halvings < 8 ? pgm_read_byte(&powers[(e >> 8) & 15]) >> halvings : 0;
}

/* Units from mark to now: marks go round in 255 steps. */
static inline uint8_t age_of(uint8_t now, uint8_t mark)
{
    uint8_t age = now - mark;

    return now < mark ? age - 1 : age;
}

static void sweep(void)
{
    uint8_t *mark = marks;
    uint16_t n;

    for (n = p.plastic; n; n--, mark++)
        if (*mark && age_of(unit, *mark) >= FORGOTTEN)
            *mark = 0;
    if (s.post && age_of(unit, s.post) >= FORGOTTEN)
        s.post = 0;
}

static void next_unit(void)
{
    unit = unit == CYCLE ? 1 : unit + 1;
    if (--to_sweep == 0) {
        to_sweep = SWEEP;
        sweep();
    }
}

uint8_t *chip_image(void)
{
    return (uint8_t *)&image;
}

uint16_t chip_snapshot(void)
{
    sweep();
    return sizeof p + sizeof s + 2 * p.synapses + p.plastic;
}

static void take_up_time(void)
{
    uint32_t units = s.tick >> p.shift;

    marks = image.pool + 2 * p.synapses;
    unit_mask = (1 << p.shift) - 1;
    unit = units % CYCLE + 1;
    to_sweep = SWEEP - (uint8_t)(units % SWEEP);
}

uint8_t chip_restore(uint16_t length)
{
    uint16_t i;

    if (length < sizeof p + sizeof s || p.synapses > CHIP_ROOM / 2 || p.plastic > p.synapses
        || length != sizeof p + sizeof s + 2 * p.synapses + p.plastic || length > sizeof image
        || p.shift > 7 || p.w_max > 0x7fff || p.V_reset >= p.V_th)
        return 0;
    for (i = 0; i < p.plastic; i++)
        if (*weight(i) < 0)
            return 0;
    take_up_time();
    return 1;
}

void chip_rest(void)
{
    uint8_t *byte = (uint8_t *)&s;
    uint16_t i;

    for (i = 0; i < sizeof s; i++)
        byte[i] = 0;
    for (i = 0; i < p.plastic; i++)
        image.pool[2 * p.synapses + i] = 0;
    take_up_time();
}

uint8_t *chip_weights(void)
{
    return image.pool;
}

uint16_t chip_weight_count(void)
{
    return p.synapses;
}

uint16_t chip_synapses(void)
{
    return p.synapses;
}

uint32_t chip_now(void)
{
    return s.tick;
}

void chip_kick(int16_t w)
{
    if (w >= 0)
        s.x_ex += (uint16_t)w;
    else
        s.x_in += (uint16_t)-w;
}

int16_t chip_poke(void)
{
    return p.poke;
}

void chip_input(uint16_t synapse)
{
    int16_t w = *weight(synapse);

    if (synapse < p.plastic) {
        if (s.post) {
            uint8_t age = age_of(unit, s.post);

            if (age < FORGOTTEN) {
                uint16_t loss = ((uint32_t)p.A_minus * trace(age, p.k_minus)) >> 8;

                w = loss < (uint16_t)w ? w - loss : 0;
                *weight(synapse) = w;
            }
        }
        marks[synapse] = unit;
    }
    chip_kick(w);
}

void chip_learn(void)
{
    int16_t *w = weight(0);
    uint8_t *mark = marks;
    uint16_t n;

    if (p.A_plus == 0)
        return;
    for (n = p.plastic; n; n--, mark++, w++) {
        uint8_t age;
        uint16_t gain;

        if (*mark == 0 || (age = age_of(s.post, *mark)) >= FORGOTTEN)
            continue;
        gain = ((uint32_t)p.A_plus * trace(age, p.k_plus)) >> 8;
        if ((uint16_t)*w < p.w_max)
            *w = gain < p.w_max - (uint16_t)*w ? *w + gain : p.w_max;
    }
}

/* One step of a current: what is left of it, and the weights that arrived. */
static inline uint32_t current(uint32_t I, uint16_t d, uint32_t x)
{
    uint16_t seen = I >> 8;

    I = seen ? I - (((uint32_t)seen * d + 255) >> 8) : 0;
    if (x) {
        I += x > 0xffff ? 0xffff00UL : x << 8;
        if (I > I_MOST)
            I = I_MOST;
    }
    return I;
}

uint8_t chip_tick(void)
{
    uint16_t ex = s.I_ex >> 8, in = s.I_in >> 8;
    int32_t V = s.V;
    uint8_t said = 0;

    if (s.r == 0) {
        int32_t dV = p.b - (((int32_t)(int16_t)(V >> 8) * p.d_m) >> 8);

        if (ex)
            dV += ((uint32_t)ex * p.c_ex) >> 8;
        if (in)
            dV -= ((uint32_t)in * p.c_in) >> 8;
        V += dV;
        if (V > V_MOST)
            V = V_MOST;
        else if (V < -V_MOST)
            V = -V_MOST;
        if (dV == 0)
            said = CHIP_RESTING;
    } else {
        s.r--;
    }
    if (s.I_ex | s.x_ex) {
        s.I_ex = current(s.I_ex, p.d_ex, s.x_ex);
        s.x_ex = 0;
        said = 0;
    }
    if (s.I_in | s.x_in) {
        s.I_in = current(s.I_in, p.d_in, s.x_in);
        s.x_in = 0;
        said = 0;
    }
    if (V >= p.V_th) {
        V = p.V_reset;
        s.r = p.t_ref;
        s.post = unit;
        said = CHIP_FIRED;
    }
    s.V = V;
    s.tick++;
    if (((uint8_t)s.tick & unit_mask) == 0)
        next_unit();
    return said;
}

void chip_skip(uint16_t ticks)
{
    while (ticks) {
        uint8_t step = unit_mask + 1 - ((uint8_t)s.tick & unit_mask);

        if (step > ticks) {
            s.tick += ticks;
            return;
        }
        s.tick += step;
        ticks -= step;
        next_unit();
    }
}

int8_t chip_level(void)
{
    int16_t threshold = p.V_th >> 8;
    int32_t level = 100L * (int16_t)(s.V >> 8) / (threshold > 0 ? threshold : 1);

    return level > 100 ? 100 : level < -100 ? -100 : level;
}
