#include "cable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifdef __linux__
#include <asm/termbits.h> /* rates beyond those that have a name: BOTHER. Excludes <termios.h> */
#else
#include <termios.h>
#endif

void cable_make(cable_t *c, const char *folder, const char *name)
{
	memset(c, 0, sizeof *c);
	c->master = c->slave = -1;
	snprintf(c->folder, sizeof c->folder, "%s", folder);
	cable_name(c, name);
}

void cable_name(cable_t *c, const char *name)
{
	snprintf(c->path, sizeof c->path, "%s/%.60s", c->folder, name);
}

static bool raw(int fd)
{
#ifdef __linux__
	struct termios2 t;
	if (ioctl(fd, TCGETS2, &t))
		return false;
	t.c_iflag = t.c_oflag = t.c_lflag = 0;
	t.c_cflag = CS8 | CREAD | CLOCAL | B0;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	return !ioctl(fd, TCSETS2, &t);
#else
	struct termios t;
	if (tcgetattr(fd, &t))
		return false;
	cfmakeraw(&t);
	return !tcsetattr(fd, TCSANOW, &t);
#endif
}

bool cable_plug(cable_t *c)
{
	if (c->master >= 0)
		return true;
	c->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->master < 0 || grantpt(c->master) || unlockpt(c->master))
		goto failed;
	const char *device = ptsname(c->master);
	c->slave = device ? open(device, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	if (c->slave < 0 || !raw(c->slave) || fcntl(c->master, F_SETFL, O_NONBLOCK))
		goto failed;
	char scratch[sizeof c->folder + 8];
	snprintf(scratch, sizeof scratch, "%s/.new", c->folder); /* no name of a port, should somebody look */
	unlink(scratch);
	if (symlink(device, scratch) || rename(scratch, c->path))
		goto failed;
	c->plugs++;
	c->in = c->out = 0;
	return true;
failed:
	perror(c->path);
	cable_unplug(c);
	return false;
}

void cable_unplug(cable_t *c)
{
	if (c->master < 0)
		return;
	unlink(c->path);
	if (c->slave >= 0)
		close(c->slave);
	close(c->master);
	c->master = c->slave = -1;
}

ssize_t cable_read(cable_t *c, uint8_t *to, size_t room)
{
	ssize_t n = c->master < 0 || !room ? 0 : read(c->master, to, room);
	if (n <= 0)
		return 0;
	c->in += n;
	return n;
}

void cable_write(cable_t *c, const uint8_t *data, size_t n)
{
	while (n && c->master >= 0) {
		ssize_t taken = write(c->master, data, n);
		if (taken < 0 && errno == EINTR)
			continue;
		if (taken <= 0)
			break;
		data += taken;
		n -= taken;
		c->out += taken;
	}
	c->dropped += c->master >= 0 ? n : 0;
}

double cable_baud(const cable_t *c)
{
	if (c->master < 0)
		return 0;
#ifdef __linux__
	struct termios2 t;
	return ioctl(c->slave, TCGETS2, &t) ? 0 : t.c_ospeed;
#else
	struct termios t;
	return tcgetattr(c->slave, &t) ? 0 : cfgetospeed(&t);
#endif
}
