#include "run.h"

#include "board.h"
#include "chip.h"
#include "clock.h"
#include "lights.h"
#include "link.h"
#include "near.h"
#include "uart.h"

#define AT_ONCE 16 /* updates at one go, and twice so many between two looks at what else there is to do */

#define BEHIND (CLOCK_HZ / 1000 * 3) /* how far a lazy chip is left behind when all the same it is looked after */

uint8_t run_queued;
uint8_t run_paused;
uint32_t run_period;
struct run_state run_state;

/* What waits for its update: a spike on a synapse, or a kick of this weight. */
static struct waiting {
    uint16_t tick, value;
    uint8_t is_kick;
} queue[QUEUE];

/* Ticks from now to there. */
static int16_t ahead_of_now(uint16_t tick)
{
    return tick - chip_now16();
}

static APART uint8_t is_due(void)
{
    return ahead_of_now(run_state.limit) > 0;
}

/* Something has come up: the chip is not to lag behind any longer. */
static inline void stir(void)
{
#if FAST
    run_state.lazy = 0;
#endif
}

static inline uint8_t is_lazy(void)
{
#if FAST
    return run_state.lazy;
#else
    return 0;
#endif
}

void run_halt(void)
{
    NEAR(struct run_state, my, run_state);
    stir();
    if (my->held == LINK_HELD_RUNNING)
        my->held = LINK_HELD_WHOLE;
    my->limit = chip_now16();
    my->owes_done = 0;
}

void run_empty(void)
{
    NEAR(struct run_state, my, run_state);
    my->held = LINK_HELD_EMPTY;
    run_queued = run_paused = my->poked = my->owes_done = 0;
}

void run_whole(void)
{
    NEAR(struct run_state, my, run_state);
    stir();
    my->held = LINK_HELD_WHOLE;
    my->limit = chip_now16();
    my->resting = my->stalled = 0;
}

void run_raise(uint16_t tick)
{
    NEAR(struct run_state, my, run_state);
    if ((int16_t)(tick - my->limit) > 0)
        my->limit = tick;
}

void run_owe_done(void)
{
    NEAR(struct run_state, my, run_state);
    my->owes_done = 1;
}

/* Clock */

/* `tick` may be one that is done already: what is due is counted on from there when the clock is looked at. */
void run_free(const struct link_run *run)
{
    NEAR(struct run_state, my, run_state);

    stir();
    my->held = LINK_HELD_RUNNING;
    run_period = run->period;
    my->clocked = run->tick;
    my->due = run->at;
    my->due_part = 0;
}

#if GOES_ON
void run_resume(void)
{
    if (run_state.held == LINK_HELD_WHOLE && run_period)
        run_state.held = LINK_HELD_RUNNING; /* `due` and `clocked` are 0 */
}
#endif

static APART void look_at_clock(void)
{
    NEAR(struct run_state, my, run_state);
    uint32_t now = clock_now(), at = my->due;
    uint16_t tick = my->clocked, part = my->due_part;

    if (is_lazy())
        now -= BEHIND;
    while ((int32_t)(now - at) >= 0) {
        uint16_t before = part, counts = run_period >> 16, parts = run_period, ticks = 1;

#if FAST
        /* After a sleep they are not counted one by one. */
        uint16_t passed = now - at > 0xffff ? 0xffff : now - at;

        while (counts < passed >> 1) {
            counts = counts << 1 | parts >> 15;
            parts <<= 1;
            ticks <<= 1;
        }
#endif
        part += parts;
        at += counts;
        if (part < before)
            at++;
        tick += ticks;
    }
    my->due = at;
    my->due_part = part;
    my->clocked = tick;
    run_raise(tick);
}

/* Inputs */

static void act(uint16_t value, uint8_t is_kick)
{
    stir();
    run_state.resting = 0;
    if (is_kick)
        chip_kick(value);
    else
        chip_input(value);
}

APART enum run_answer run_input(const struct link_input *f, uint8_t n, uint8_t is_kick)
{
    int16_t ahead = ahead_of_now(f->tick);
    const uint16_t *value = (const uint16_t *)(f + 1);

    if (ahead < 0) {
        if (run_paused || !link_room(2 + LINK_CHUNK + 2))
            return RUN_REFUSE;
        link_count(&stats.late);
        link_begin(LINK_LATE);
        link_put16(f->tick);
        link_put16(chip_now16());
        if (is_kick)
            link_put16(LINK_NO_SYNAPSE);
        else
            link_put_all(value, 2 * n);
        link_end();
    } else if (ahead > 0 || run_paused) {
        /* An image that is being read must not change. */
        if (run_state.held == LINK_HELD_WHOLE && !run_paused) {
            run_raise(f->tick);
        } else if (run_queued + n <= QUEUE) {
            stir();
            for (; n; n--) {
                struct waiting *one = &queue[run_queued++];

                one->tick = f->tick;
                one->value = *value++;
                one->is_kick = is_kick;
            }
            return RUN_TAKEN;
        }
        /* Only acks could end a stall or a pause, and they come behind this message. */
        return run_paused || !link_room(2) ? RUN_REFUSE : RUN_HOLD;
    }
    while (n--)
        act(*value++, is_kick);
    return RUN_TAKEN;
}

void run_poke(void)
{
    NEAR(struct run_state, my, run_state);
    my->poked = 1;
}

static APART void take_poke(void)
{
    NEAR(struct run_state, my, run_state);
    int16_t weight = chip_poke();

    if (link_session()) {
        if (!link_room(4))
            return;
        link_begin(LINK_POKE);
        link_put16(chip_now16());
        link_put16(weight);
        link_end();
    }
    my->poked = 0;
    if (my->held == LINK_HELD_RUNNING)
        act(weight, 1); /* stepped, it is the host who says in which update, by KICK */
}

/* Give the chip what waits for the update that comes; ticks until something else does. */
static APART uint16_t serve_queue(void)
{
    uint16_t nearest = 0xffff;
    struct waiting *one = queue + run_queued;

    while (one-- != queue) {
        uint16_t ahead = ahead_of_now(one->tick);

        if (ahead == 0) {
            act(one->value, one->is_kick);
            *one = queue[--run_queued];
        } else if (ahead < nearest) {
            nearest = ahead;
        }
    }
    return nearest;
}

static APART void fired(void)
{
    if (link_session()) {
        link_begin(LINK_SPIKE);
        link_put16(chip_now16());
        link_end();
    }
    lights_flash();
    chip_learn();
}

APART void run_poll(void)
{
    NEAR(struct run_state, my, run_state);
    uint8_t most = 2, said;

    if (!FAST || clock_alarmed) {
        clock_alarmed = 0;
        stir();
    }
    if (my->held == LINK_HELD_EMPTY || run_paused)
        return;
    if (my->poked && !is_lazy())
        take_poke();
    if (my->poked)
        stir();
    if (my->held == LINK_HELD_RUNNING)
        look_at_clock();
    while (is_due() && most--) {
        uint16_t free, nearest;

        if (link_session() && !link_room(2)) {
            if (!my->stalled)
                link_count(&stats.stalls);
            my->stalled = 1;
            return;
        }
        my->stalled = 0;
        nearest = serve_queue();
        free = ahead_of_now(my->limit);
        if (nearest < free)
            free = nearest;
        if (my->resting) {
            chip_skip(free);
            continue;
        }
        if (free > AT_ONCE)
            free = AT_ONCE;
        said = chip_run(free);
        if (said == CHIP_FIRED)
            fired();
        my->resting = said == CHIP_RESTING;
    }
    if (my->owes_done && !is_due() && link_room(4)) {
        my->owes_done = 0;
        link_begin(LINK_DONE);
        link_put_tick();
        link_end();
    }
}

APART uint8_t run_may_sleep(uint8_t blocked)
{
    NEAR(struct run_state, my, run_state);
    uint32_t next = my->due;
    uint8_t calm;

    if (my->held == LINK_HELD_EMPTY || run_paused)
        return 1;
    if (is_due())
        return my->stalled;
    if (is_lazy())
        return !clock_alarmed;
    calm = run_queued || blocked ? 1 : chip_calm();
    /* What can wait for longer is looked at in the next frame. */
    if (my->held == LINK_HELD_RUNNING && !(FAST ? my->resting && calm > 1 : calm == CHIP_CALM)) {
#if FAST
        next += (uint32_t)(uint8_t)(calm - 1) * (uint16_t)(run_period >> 16);
#endif
        clock_alarm(next);
    }
#if FAST
    my->lazy = my->held == LINK_HELD_RUNNING && !my->poked;
#endif
    return !clock_alarmed;
}
