/* The cable: a pty under a name of its own. Unplugged, the host reads its end and writes EIO, and the name
 * is gone; plugged in again, it is another pty under the same name, or another. */
#ifndef CABLE_H
#define CABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct cable {
	char folder[192], path[256];
	int master, slave;  /* -1: unplugged. The slave is held so that a host may come and go */
	uint64_t dropped;   /* bytes that the host did not take in time */
	uint64_t in, out;   /* bytes from and to the host since the cable was plugged in */
	uint32_t plugs;
} cable_t;

void cable_make(cable_t *c, const char *folder, const char *name);
void cable_name(cable_t *c, const char *name); /* of the port, from the next time it is plugged in */
bool cable_plug(cable_t *c);
void cable_unplug(cable_t *c);

/* What the host has sent; 0 when nothing. */
ssize_t cable_read(cable_t *c, uint8_t *to, size_t room);
void cable_write(cable_t *c, const uint8_t *data, size_t n);

/* The rate the host has set the port to, in baud; 0 where it is not known. */
double cable_baud(const cable_t *c);

#endif
