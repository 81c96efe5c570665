/* Sizes of the chip `race`, for chip.h: -DCHIP='"chip_race.h"'. */
#ifndef CHIP_RACE_H
#define CHIP_RACE_H

#include "board.h"
#include "link_messages.h"

#define CHIP_KIND LINK_CHIP_RACE
#define CHIP_CAPACITY (CHIP_ROOM / 2)
#define CHIP_PARAMS_SIZE sizeof(struct race_params)
#define CHIP_WEIGHT_BYTES 1
#define CHIP_IMAGE_SIZE (sizeof(struct race_params) + sizeof(struct race_state) + CHIP_ROOM)

#endif
