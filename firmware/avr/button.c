#include "button.h"

#include <avr/io.h>

#include "board.h"

void button_init(void)
{
    BUTTON_PORT |= BUTTON; /* pull-up */
}

uint8_t button_frame(void)
{
    static uint8_t before;
    uint8_t now = !(BUTTON_PIN & BUTTON), pressed;

#if TOUCH
    now |= !!(TOUCH_PIN & TOUCHED);
#endif
    pressed = now && !before;
    before = now;
    return pressed;
}
