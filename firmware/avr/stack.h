/* How deep the stack has been: memory between data and stack is painted before main and looked at later. */
#ifndef STACK_H
#define STACK_H

#include <stdint.h>

uint16_t stack_unused(void); /* bytes never touched since the start */

#endif
