/* The button, and with TOUCH=1 a touch module: a press is a poke. */
#ifndef BUTTON_H
#define BUTTON_H

#include <stdint.h>

void button_init(void);
uint8_t button_frame(void); /* every 20 ms, longer than contacts bounce; 1: it has just been pressed */

#endif
