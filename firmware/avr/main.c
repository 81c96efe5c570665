/* A neuron on a board.
 *
 *   uart      bytes in and out of two rings
 *   link      frames: COBS, CRC, seq and ack; what must be sent again
 *   session   what the host asks, and the answers
 *   run       when updates are run, and what acts in them
 *   chip      the neuron: chip.h is the contract, chip_*.c the neurons
 *   clock     a clock of 32 bits, an alarm, a frame every 20 ms
 *   lights    what the strip shows; ws28xx tells the strip
 *   button    a press is a poke
 *   store     what is kept without power
 *   stack     how deep the stack has been
 *
 * Interrupts only move bytes and set flags; all the rest happens here, in turn, a bounded piece each time.
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "board.h"
#include "button.h"
#include "clock.h"
#include "lights.h"
#include "link.h"
#include "near.h"
#include "run.h"
#include "session.h"
#include "store.h"
#include "uart.h"

#if BOOT_LOADER
/* Boot loaders clear the register of the reset's cause and leave it in r2. */
static uint8_t reset_flags __attribute__((section(".noinit")));
void keep_reset_flags(void) __attribute__((naked, used, section(".init0")));
void keep_reset_flags(void)
{
    __asm__ volatile("sts %0, r2" : "=m"(reset_flags));
}
#endif

static void frame(void)
{
    clock_frame = 0;
    if (button_frame())
        run_poke();
    session_frame();
    lights_frame();
}

/* Wait for an interrupt, unless there has just been one that matters. */
static void rest(void)
{
    cli();
    if (!clock_frame && !clock_alarmed && session_may_sleep()) {
        sleep_enable();
        sei(); /* takes effect after the next instruction, so nothing can slip in between */
        sleep_cpu();
        sleep_disable();
    }
    sei();
}

int __attribute__((OS_main)) main(void)
{
    session_reset_flags = MCUSR & 0x0f;
#if BOOT_LOADER
    if (session_reset_flags == 0)
        session_reset_flags = reset_flags & 0x0f;
#endif
    MCUSR = 0;
    wdt_enable(WDTO_500MS);
    store_init();
    clock_init();
    uart_init();
    lights_init();
    button_init();
    set_sleep_mode(SLEEP_MODE_IDLE);
    sei();
    session_start();

    for (;;) {
        wdt_reset();
        run_poll();
        session_poll();
#if FAST
        /* An input is answered before anything else is done. Whoever sleeps must have asked last whether the message
         * that is held can be followed by now. */
        if (!run_state.lazy && !session_blocked)
            run_poll();
#endif
        if (clock_frame)
            frame();
        lights_poll();
        link_poll(0);
        if (run_may_sleep(session_blocked) && session_may_sleep()) {
            link_poll(1);
            rest();
        }
    }
}
