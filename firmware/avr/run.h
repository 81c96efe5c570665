/* When the chip's updates are run: up to the host's horizon, or by the board's own clock. And what acts in them:
 * inputs that wait for their tick, kicks, presses of the button.
 */
#ifndef RUN_H
#define RUN_H

#include <stdint.h>

#include "link_messages.h"
#include "near.h"

/* What becomes of a message that must wait for something. */
enum run_answer { RUN_TAKEN, RUN_HOLD, RUN_REFUSE };

extern uint8_t run_queued;  /* inputs that wait for their tick */
extern uint8_t run_paused;  /* the image is being read: nothing may change it */
extern uint32_t run_period; /* of the clock, last given; 0: never */
extern struct run_state {   /* for others only `held`; side by side they take less code to reach */
    uint8_t held; /* LINK_HELD_* */
    uint8_t resting, stalled, owes_done, poked;
    uint16_t limit; /* updates before this one may be run; never more than 32767 away */
    /* The clock: update `clocked` is due at `due` (+ due_part / 65536). */
    uint16_t clocked, due_part;
    uint32_t due;
#if FAST
    /* Without input nothing can happen before the alarm rings (at rest: ever). Until then the chip stays behind the
     * clock, and what comes meanwhile acts in its own update, though that has passed. */
    uint8_t lazy;
#endif
} run_state;

void run_halt(void);               /* stay at this tick */
void run_empty(void);              /* the chip has no image */
void run_whole(void);              /* it has one, stepped */
void run_raise(uint16_t tick);     /* updates before this one may be run */
void run_owe_done(void);           /* say DONE when there */
void run_free(const struct link_run *run);
void run_resume(void);             /* from tick 0 on by the clock, as fast as last time; after a start */
/* An INPUT of `n` synapses, or a KICK (n = 1), which has its weight in place of a synapse. */
enum run_answer run_input(const struct link_input *f, uint8_t n, uint8_t is_kick);
void run_poke(void);

void run_poll(void);                    /* some updates, if any are due */
uint8_t run_may_sleep(uint8_t blocked); /* nothing is due, and the alarm is set for what will be; blocked: a message
                                           waits for an update */

#endif
