/* What the strip shows: the membrane as a bar from the plug on, warm above rest and cool below, and a flash of all
 * for a spike. neurobus/led.py has the same rule, so that the host can draw what stands here.
 */
#ifndef LIGHTS_H
#define LIGHTS_H

#include <stdint.h>

void lights_init(void);
void lights_flash(void);                   /* a spike */
void lights_identify(uint8_t seconds);
void lights_palette(const uint8_t *colours);
void lights_mirror(uint8_t every);         /* say LIGHTS at most once in so many frames; 0: never */
void lights_frame(void);                   /* every 20 ms */
void lights_poll(void);                    /* say LIGHTS if it is due */

#endif
