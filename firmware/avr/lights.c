#include "lights.h"

#include <avr/io.h>

#include "board.h"
#include "chip.h"
#include "link.h"
#include "near.h"
#include "run.h"
#include "ws28xx.h"

#define REFRESH 50 /* frames after which a strip that shows the same is told once more */
#define BLINK 16   /* frames of light, then as many of dark; a power of 2 */

enum { REST, WARM, COOL, FLASH };

/* In the strip's order. Dim: 60 pixels of this stay below an ampere. */
#define RGB(r, g, b) { [WS_PLACE(0)] = r, [WS_PLACE(1)] = g, [WS_PLACE(2)] = b }
static uint8_t palette[4][3] = { RGB(2, 2, 3), RGB(96, 44, 6), RGB(8, 30, 96), RGB(72, 70, 62) };

static struct state {
    struct link_lights now, shown;
    uint8_t age, every, since, owed;
    uint8_t white; /* of a spike: never the same in two frames, or what fires in each would seem to stand still */
    uint16_t identify; /* frames left */
} state = { .age = REFRESH };

void lights_init(void)
{
    SIGN_DDR |= SIGN;
    ws_init();
}

void lights_flash(void)
{
    NEAR(struct state, my, state);
    my->now.flash = my->white;
    SIGN_PORT |= SIGN;
}

void lights_identify(uint8_t seconds)
{
    NEAR(struct state, my, state);
    my->identify = seconds * 50;
}

void lights_palette(const uint8_t *colours)
{
    NEAR(struct state, my, state);
    uint8_t i, j;

    for (i = 0; i < 4; i++)
        for (j = 0; j < 3; j++)
            palette[i][WS_PLACE(j)] = *colours++;
    my->age = REFRESH;
    my->owed = 1;
    my->since = 0; /* not before the strip has been told */
}

void lights_mirror(uint8_t frames)
{
    NEAR(struct state, my, state);
    my->every = frames;
    my->owed = 1;
}

/* a with a share of b, of 255 */
static APART uint8_t mix(uint8_t a, uint8_t b, uint8_t share)
{
    uint16_t of_b = share + (share >> 7); /* 255 is all: 256 */

    return (a * (256 - of_b) + b * of_b) >> 8;
}

static APART void show(void)
{
    NEAR(struct state, my, state);
    uint8_t colours[9]; /* as ws_write wants them: three times three */
    uint8_t level = my->shown.level, flash = my->shown.flash, blink = my->shown.blink, i;
    const uint8_t *tone = palette[WARM];
    uint16_t reach;

    if (my->shown.level < 0) {
        level = -level;
        tone = palette[COOL];
    }
    if (blink)
        flash = 255;
    reach = level * (2 * WS_PIXELS); /* pixels, / 256 */
    for (i = 0; i < 3; i++) {
        uint8_t white = blink == 2 ? 0 : palette[FLASH][i], full = mix(tone[i], white, flash),
                rest = mix(palette[REST][i], white, flash);

        colours[i] = full;
        colours[i + 3] = mix(rest, full, reach);
        colours[i + 6] = rest;
    }
    ws_write(colours, reach >> 8);
}

APART void lights_frame(void)
{
    NEAR(struct state, my, state);
    if (my->since != 255)
        my->since++;
    my->white = ~my->white | 0xf7;
    my->now.level = run_state.held == LINK_HELD_EMPTY ? 0 : chip_level();
    my->now.blink = 0;
    if (my->identify) {
        my->now.blink = my->identify & BLINK ? 2 : 1;
        my->identify--;
    }
    if (my->now.level != my->shown.level || my->now.flash != my->shown.flash
        || my->now.blink != my->shown.blink) {
        my->shown = my->now;
        my->owed = 1;
        my->age = REFRESH;
    }
    if (my->age >= REFRESH) {
        my->age = 0;
        if (WS_PIXELS)
            show();
    }
    my->age++;
    if (my->now.flash >= 128 || my->now.blink == 1)
        SIGN_PORT |= SIGN;
    else
        SIGN_PORT &= ~SIGN;
    my->now.flash -= (my->now.flash >> 3) + (my->now.flash != 0);
}

APART void lights_poll(void)
{
    NEAR(struct state, my, state);
    if (my->every && my->owed && my->since >= my->every && link_session() && link_room(sizeof my->shown)) {
        link_send(LINK_LIGHTS, &my->shown, sizeof my->shown);
        my->owed = my->since = 0;
    }
}
