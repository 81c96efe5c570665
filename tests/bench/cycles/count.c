/* count MCU PROGRAM.elf: run it in simavr until it sleeps for good; prints the cycles. */
#include <stdio.h>
#include <stdlib.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

int main(int n, char **words)
{
    static elf_firmware_t program;
    avr_t *avr;
    int state;

    if (n != 3 || elf_read_firmware(words[2], &program) != 0)
        return 2;
    avr = avr_make_mcu_by_name(words[1]);
    if (!avr)
        return 2;
    avr_init(avr);
    avr->log = LOG_ERROR;
    avr->frequency = 16000000;
    avr_load_firmware(avr, &program);
    do
        state = avr_run(avr);
    while (state != cpu_Done && state != cpu_Crashed);
    printf("%llu\n", (unsigned long long)avr->cycle);
    return state == cpu_Crashed;
}
