/* The peer in C: a thread a gateway reads every unit behind it, as the daemon does, with libmodbus.
 *
 * usage: libmodbus_sweep HOST UNITS PORT...
 * Connects once, then makes one sweep for every line on standard input and answers its nanoseconds of wall time and of
 * CPU. Units are 1 to UNITS on every port. Exit code 1, with a sentence, when a meter does not answer. */
#include <modbus/modbus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int units;

static void *sweep(void *context)
{
    modbus_t *gateway = context;
    uint16_t registers[18];
    for (int unit = 1; unit <= units; unit++) {
        modbus_set_slave(gateway, unit);
        if (modbus_read_registers(gateway, 0x0000, 18, registers) != 18 ||
            modbus_read_registers(gateway, 0x001A, 1, registers) != 1) {
            fprintf(stderr, "libmodbus_sweep: unit %d does not answer\n", unit);
            exit(1);
        }
    }
    return NULL;
}

static long long nanoseconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments)
{
    int gateways = count - 3;
    if (gateways < 1) {
        fprintf(stderr, "usage: libmodbus_sweep HOST UNITS PORT...\n");
        return 2;
    }
    units = atoi(arguments[2]);
    modbus_t **gateway = calloc(gateways, sizeof *gateway);
    pthread_t *thread = calloc(gateways, sizeof *thread);
    for (int i = 0; i < gateways; i++) {
        gateway[i] = modbus_new_tcp(arguments[1], atoi(arguments[3 + i]));
        modbus_set_response_timeout(gateway[i], 5, 0);
        if (modbus_connect(gateway[i])) {
            fprintf(stderr, "libmodbus_sweep: port %s cannot be connected\n", arguments[3 + i]);
            return 1;
        }
    }
    while (getchar() == '\n') {
        long long wall = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int i = 0; i < gateways; i++)
            pthread_create(&thread[i], NULL, sweep, gateway[i]);
        for (int i = 0; i < gateways; i++)
            pthread_join(thread[i], NULL);
        printf("%lld %lld\n", nanoseconds(CLOCK_MONOTONIC) - wall, nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
        fflush(stdout);
    }
    return 0;
}
