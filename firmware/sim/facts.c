#include "facts.h"

#include <stddef.h>
#include <string.h>

static const facts_t FACTS[] = {
#include "mcus.h"
};

const facts_t *facts_of(const char *mcu)
{
	for (size_t i = 0; i < sizeof FACTS / sizeof *FACTS; i++)
		if (!strcmp(FACTS[i].mcu, mcu))
			return &FACTS[i];
	return NULL;
}
