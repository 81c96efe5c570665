/* Strips of WS2811, WS2812, WS2813, WS2815 or WS2818, chosen when building: LED=ws2812 LEDS=8.
 *
 * chip     LEDs a chip  data lines  colours  supply    high for 0, 1 (ns)         reset (µs)
 * WS2811   3            1           RGB      12-24 V   220-380, 580-1000          > 280
 * WS2812   1            1           GRB      5 V       220-380, 580-1000          > 280
 * WS2813   1            2           GRB      5 V       220-380, 580-1000          > 280
 * WS2815   1            2           GRB      9-13.5 V  220-380, 580-1000          > 280
 * WS2818   3            2           RGB      12-24 V   220-380, 580-1000          > 280
 *
 * At 16 MHz a bit has 20 cycles (1250 ns), high for 5 (312 ns) or 12 (750 ns); at 8 MHz 10, high for 3 (375 ns) or
 * 6 (750 ns). The backup line of the chips that have one carries the same. A pixel is one chip.
 */
#ifndef WS28XX_H
#define WS28XX_H

#include <stdint.h>

#include "link_messages.h"

#define WS_NAME_(name) LINK_LED_##name
#define WS_NAME(name) WS_NAME_(name)

#ifndef LEDS
#define LEDS 0
#endif
#if LEDS > 60
#error "a strip has at most 60 LEDs"
#endif
#if LEDS == 0
#define WS_KIND LINK_LED_NONE
#else
#define WS_KIND WS_NAME(LED)
#endif

#if WS_KIND == LINK_LED_WS2811 || WS_KIND == LINK_LED_WS2818
#define WS_LEDS_A_CHIP 3
#define WS_RED_FIRST 1
#else
#define WS_LEDS_A_CHIP 1
#define WS_RED_FIRST 0
#endif
#define WS_PLACE(hue) (WS_RED_FIRST || (hue) == 2 ? (hue) : 1 - (hue)) /* of red, green, blue on the line */
#define WS_BACKUP (WS_KIND == LINK_LED_WS2813 || WS_KIND == LINK_LED_WS2815 || WS_KIND == LINK_LED_WS2818)
#define WS_PIXELS ((LEDS + WS_LEDS_A_CHIP - 1) / WS_LEDS_A_CHIP)

void ws_init(void);
/* Three colours in the order of the line: the first for `whole` pixels, the second for one, the third for those
 * behind. Takes 30 µs a pixel, with interrupts off; the UART's receiver is served between bytes. At least 300 µs
 * must lie between two. */
void ws_write(const uint8_t *colours, uint8_t whole);

#endif
