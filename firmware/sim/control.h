/* Commands to the rig: lines over a socket, one line of answer each, "ok JSON" or "error what is wrong". */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"

enum pace { PACE_REAL, PACE_FREE, PACE_HOLD };

typedef struct rig {
	board_t *boards;
	int n;
	enum pace pace;
	double factor;            /* board time over host time */
	double linger_ms;         /* free: how long a board with nothing to do still runs */
	double packet_us;         /* the longest that bytes for the host are held back */
	bool quit;
} rig_t;

/* `line` is taken apart. The answer, with its end of line, is to be freed. */
char *control(rig_t *rig, char *line);

/* Of main.c: let board time pass as fast as can be, and begin anew to keep pace with the host's clock. */
void rig_pass(rig_t *rig, board_t *only, double ns);
void rig_rebase(rig_t *rig);
void rig_take_in(board_t *b); /* what the host has written, now */

#endif
