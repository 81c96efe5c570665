/* The chip `lif`: leaky integrate-and-fire, exponential currents, pair STDP. nodes/chip.py is its twin, bit for
 * bit, and has the equations. All is integers; V and the currents have 24 bits, of which the upper 16 are seen by
 * the multiplications, so that one tick is five products of 16 x 16 bits.
 *
 * A current loses 1 / 256 more than its decay, so that it comes to exactly 0; the leak rounds down, so that V comes to
 * rest. The bounds of parameters in nodes/chip.py keep every sum within 24 bits.
 */
#include "chip.h"

#include <stddef.h>

#include "near.h"


#ifdef __AVR__
#include <avr/pgmspace.h>
typedef __int24 int24;
typedef __uint24 uint24;
#else
#define PROGMEM
#define pgm_read_byte(address) (*(address))
typedef int32_t int24; /* nothing here needs more than 24 bits */
typedef uint32_t uint24;
#endif

#define CYCLE 255      /* values of a mark: 1 ... 255, 0 is none */
#define FORGOTTEN 128  /* units after which a mark is none */
#define SWEEP 64       /* units between two sweeps of marks; FORGOTTEN + SWEEP < CYCLE */
#define HEAD (sizeof(struct lif_params) + sizeof(struct lif_state))
#define V_MOST 0x3fffffL

static struct image {
    struct lif_params p_;
    struct lif_state s_;
    uint8_t pool[CHIP_ROOM]; /* weights, then marks */
} LINK_PACKED image;

#define p (at->p_)
#define s (at->s_)

static uint8_t *marks;
static uint8_t unit_mask;

static inline int16_t *weight(uint16_t synapse)
{
    return (int16_t *)(void *)image.pool + synapse;
}

/* a b / 256, of which 24 bits fit all there is. */
#ifdef __AVR__
static APART_IF_SMALL uint24 product(uint16_t a, uint16_t b)
{
    uint24 c;

    __asm__("mul %A1, %A2 \n\t"
            "mov %A0, r1  \n\t"
            "mul %B1, %B2 \n\t"
            "mov %B0, r0  \n\t"
            "mov %C0, r1  \n\t"
            "mul %A1, %B2 \n\t"
            "add %A0, r0  \n\t"
            "adc %B0, r1  \n\t"
            "clr __tmp_reg__ \n\t" /* leaves the carry */
            "adc %C0, __tmp_reg__ \n\t"
            "mul %B1, %A2 \n\t"
            "add %A0, r0  \n\t"
            "adc %B0, r1  \n\t"
            "clr __tmp_reg__ \n\t"
            "adc %C0, __tmp_reg__ \n\t"
            "clr __zero_reg__ \n\t"
            : "=&r"(c) : "r"(a), "r"(b));
    return c;
}

/* The same of a byte: this one is for every synapse at every spike. */
static inline uint16_t part(uint8_t a, uint16_t b)
{
    uint16_t c;

    __asm__("mul %1, %A2  \n\t"
            "mov %A0, r1  \n\t"
            "mul %1, %B2  \n\t"
            "add %A0, r0  \n\t"
            "mov %B0, r1  \n\t"
            "clr __zero_reg__ \n\t" /* leaves the carry */
            "adc %B0, __zero_reg__ \n\t"
            : "=&r"(c) : "r"(a), "r"(b));
    return c;
}
#else
static uint24 product(uint16_t a, uint16_t b)
{
    return (uint32_t)a * b >> 8;
}

static uint16_t part(uint8_t a, uint16_t b)
{
    return (uint32_t)a * b >> 8;
}
#endif

/* round(255 * 2^(-i/16)) */
static const uint8_t powers[16] PROGMEM = {
    255, 244, 234, 224, 214, 205, 197, 188, 180, 173, 165, 158, 152, 145, 139, 133,
};

/* What a weight changes by: `most` * 2^(-age k / 4096), with the trace in 8 bits. */
static uint16_t APART change(uint16_t most, uint8_t age, uint16_t k)
{
    uint16_t e = part(age, k); /* sixteenths of halvings */

    if (e >= 8 * 16)
        return 0;
    return part(pgm_read_byte(&powers[e & 15]) >> (uint8_t)(e >> 4), most);
}

/* Units from mark to now: marks go round in 255 steps. */
static inline uint8_t age_of(uint8_t now, uint8_t mark)
{
    uint8_t age = now - mark;

    return now < mark ? age - 1 : age;
}

static void sweep(void)
{
    NEAR(struct image, at, image);
    uint8_t *mark = marks;
    uint16_t n;

    for (n = p.plastic; n; n--, mark++)
        if (*mark && age_of(s.unit, *mark) >= FORGOTTEN)
            *mark = 0;
    if (s.post && age_of(s.unit, s.post) >= FORGOTTEN)
        s.post = 0;
}

static void next_unit(void)
{
    NEAR(struct image, at, image);

    s.unit = s.unit == CYCLE ? 1 : s.unit + 1;
    if (--s.sweep == 0) {
        s.sweep = SWEEP;
        sweep();
    }
}

uint8_t *chip_image(void)
{
    return (uint8_t *)&image;
}

uint16_t chip_snapshot(void)
{
    NEAR(struct image, at, image);
    sweep();
    return HEAD + 2 * p.synapses + p.plastic;
}

static void take_up(void)
{
    NEAR(struct image, at, image);

    marks = image.pool + 2 * p.synapses;
    unit_mask = (1 << p.shift) - 1;
}

APART uint8_t chip_restore(uint16_t length)
{
    NEAR(struct image, at, image);
    uint16_t i;

    if (p.synapses > CHIP_ROOM / 2 || p.plastic > p.synapses
        || length != HEAD + 2 * p.synapses + p.plastic || length > sizeof image
        || p.shift > 7 || p.w_max > 0x7fff || p.V_reset >= p.V_th)
        return 0;
    for (i = 0; i < p.plastic; i++)
        if (*weight(i) < 0)
            return 0;
    take_up();
    return 1;
}

void chip_rest(void)
{
    NEAR(struct image, at, image);
    uint8_t *byte = (uint8_t *)&s;
    uint16_t i;

    for (i = 0; i < sizeof(struct lif_state); i++)
        byte[i] = 0;
    s.unit = 1;
    s.sweep = SWEEP;
    for (i = 0; i < p.plastic; i++)
        image.pool[2 * p.synapses + i] = 0;
    take_up();
}

uint8_t *chip_weights(void)
{
    return image.pool;
}

uint16_t chip_weight_count(void)
{
    NEAR(struct image, at, image);
    return p.synapses;
}

uint16_t chip_synapses(void)
{
    NEAR(struct image, at, image);
    return p.synapses;
}

uint32_t chip_now(void)
{
    NEAR(struct image, at, image);
    return s.tick;
}

uint16_t chip_now16(void)
{
    NEAR(struct image, at, image);

    return s.tick;
}

void chip_kick(int16_t w)
{
    NEAR(struct image, at, image);
    uint16_t sum;

    if (w < 0) {
        sum = s.x_in - w;
        s.x_in = sum < s.x_in ? 0xffff : sum;
    } else {
        sum = s.x_ex + w;
        s.x_ex = sum < s.x_ex ? 0xffff : sum;
    }
}

int16_t chip_poke(void)
{
    NEAR(struct image, at, image);
    return p.poke;
}

APART void chip_input(uint16_t synapse)
{
    NEAR(struct image, at, image);
    int16_t w = *weight(synapse);

    if (synapse < p.plastic) {
        if (s.post) {
            uint8_t age = age_of(s.unit, s.post);

            if (age < FORGOTTEN) {
                uint16_t loss = change(p.A_minus, age, p.k_minus);

                w = loss < (uint16_t)w ? w - loss : 0;
                *weight(synapse) = w;
            }
        }
        marks[synapse] = s.unit;
    }
    chip_kick(w);
}

APART void chip_learn(void)
{
    NEAR(struct image, at, image);
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
        gain = change(p.A_plus, age, p.k_plus);
        if ((uint16_t)*w < p.w_max)
            *w = gain < p.w_max - (uint16_t)*w ? *w + gain : p.w_max;
    }
}

/* Where the two currents lie in the state, which C has no way to say of fields of 24 bits. */
#define I_EX (offsetof(struct lif_state, r) - 6)
#define I_IN (offsetof(struct lif_state, r) - 3)

/* One step of the current at `lies`, of decay d, of which one unit does c to V; x are the weights that arrived.
 * Returns what it does to V in this step. */
static APART_IF_SMALL int24 current(uint8_t lies, uint16_t d, uint16_t c, uint16_t x)
{
    uint8_t *place = (uint8_t *)&image.s_ + lies;
    uint24 I = place[0] | (uint24)place[1] << 8 | (uint24)place[2] << 16;
    uint16_t seen = I >> 8;
    int24 dV = 0;

    if (seen) {
        dV = product(seen, c);
        I -= product(seen, d) + 1; /* even of seen = 1 and d = 65535 no more than there is */
    } else {
        I = 0;
    }
    seen = I >> 8;
    if (x > 0xffff - seen)
        I = 0xffffff;
    else
        I += (uint24)x << 8;
    place[0] = I;
    place[1] = I >> 8;
    place[2] = I >> 16;
    return dV;
}

static void next_tick(void)
{
    NEAR(struct image, at, image);

    s.tick++;
    if (((uint8_t)s.tick & unit_mask) == 0)
        next_unit();
}

APART_IF_SMALL uint8_t chip_tick(void)
{
    NEAR(struct image, at, image);
    int24 V = s.V, dV = 0;
    uint8_t said = 0, flows = 0;

    if (s.I_ex || s.x_ex) {
        dV += current(I_EX, p.d_ex, p.c_ex, s.x_ex);
        s.x_ex = 0;
        flows = 1;
    }
    if (s.I_in || s.x_in) {
        dV -= current(I_IN, p.d_in, p.c_in, s.x_in);
        s.x_in = 0;
        flows = 1;
    }
    if (s.r == 0) {
        uint16_t seen = V >> 8;

        dV += p.b - (int24)product(seen, p.d_m);
        if (V < 0)
            dV += (int24)p.d_m << 8; /* `seen` is 65536 too large */
        V += dV;
        if (V > V_MOST)
            V = V_MOST;
        if (V < -V_MOST)
            V = -V_MOST;
        if (dV == 0 && !flows)
            said = CHIP_RESTING;
    } else {
        s.r--;
    }
    if (V >= p.V_th) {
        V = p.V_reset;
        s.r = p.t_ref;
        s.post = s.unit;
        said = CHIP_FIRED;
    }
    s.V = V;
    next_tick();
    return said;
}

APART void chip_skip(uint16_t ticks)
{
#if FAST
    NEAR(struct image, at, image);
    uint8_t left = unit_mask + 1 - ((uint8_t)s.tick & unit_mask);

    while (ticks >= left) {
        s.tick += left;
        ticks -= left;
        next_unit();
        left = unit_mask + 1;
    }
    s.tick += ticks;
#else
    while (ticks--)
        next_tick();
#endif
}

APART uint8_t chip_run(uint8_t n)
{
    uint8_t said = chip_tick();

#if FAST
    NEAR(struct image, at, image);

    /* No weight arrives from here on. Where nothing inhibits either, V and I_ex stay in registers until trace time
     * moves on. */
    while (!said && --n) {
        uint8_t left = unit_mask + 1 - ((uint8_t)s.tick & unit_mask), done = 0;
        int24 V = s.V;
        uint24 I = s.I_ex;

        if (s.I_in || s.r) {
            said = chip_tick();
            continue;
        }
        if (left > n)
            left = n;
        do {
            int24 dV = p.b;
            uint16_t seen = V >> 8;
            uint8_t flows = I != 0;

            if (seen) {
                dV -= product(seen, p.d_m);
                if (V < 0)
                    dV += (int24)p.d_m << 8;
            }
            seen = I >> 8;
            if (seen) {
                dV += product(seen, p.c_ex);
                I -= product(seen, p.d_ex) + 1;
            } else {
                I = 0;
            }
            V += dV;
            if (V < -V_MOST)
                V = -V_MOST;
            done++;
            if (V >= p.V_th) {
                V = p.V_reset;
                s.r = p.t_ref;
                s.post = s.unit;
                said = CHIP_FIRED;
                break;
            }
            if (dV == 0 && !flows) {
                said = CHIP_RESTING;
                break;
            }
        } while (done != left);
        s.V = V;
        s.I_ex = I;
        n -= done - 1;
        s.tick += done;
        if (((uint8_t)s.tick & unit_mask) == 0)
            next_unit();
    }
#else
    while (!said && --n)
        said = chip_tick();
#endif
    return said;
}

/* Without input V rises in a tick by no more than b and what the current does now; below rest the leak brings it
 * no farther than to rest. Where flash is short, only whether it rises at all. */
APART uint8_t chip_calm(void)
{
    NEAR(struct image, at, image);
#if FAST
    int24 gap = p.V_th, rise = p.b;
    uint8_t ticks = 1;

    if (s.x_ex)
        return 1;
    if (s.V > 0)
        gap -= s.V;
    rise += product(s.I_ex >> 8, p.c_ex);
    while (ticks < CHIP_CALM && rise <= (gap >>= 1))
        ticks <<= 1;
    return ticks;
#else
    return s.I_ex || s.x_ex || p.b > 0 ? 1 : CHIP_CALM;
#endif
}

APART int8_t chip_level(void)
{
    NEAR(struct image, at, image);
    int16_t V = s.V >> 8;
    uint24 level = product(V < 0 ? -V : V, p.bar) >> 8;

    if (level > 127)
        level = 127;
    return V < 0 ? -level : level;
}
