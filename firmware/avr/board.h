/* Facts of the board that this is built for, -DBOARD='"boards/atmega328p.h"'. */
#ifndef BOARD_H
#define BOARD_H

#include BOARD

#endif
