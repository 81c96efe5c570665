/* Sizes of the chip `lif`, for chip.h: -DCHIP='"chip_lif.h"'. */
#ifndef CHIP_LIF_H
#define CHIP_LIF_H

#include "board.h"
#include "link_messages.h"

#define CHIP_KIND LINK_CHIP_LIF
#define CHIP_CAPACITY (CHIP_ROOM / 3)
#define CHIP_PARAMS_SIZE sizeof(struct lif_params)
#define CHIP_WEIGHT_BYTES 2
#define CHIP_IMAGE_SIZE (sizeof(struct lif_params) + sizeof(struct lif_state) + CHIP_ROOM)

#endif
