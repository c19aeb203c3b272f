// Latencies, the generator's own processor time, and the report: one line of JSON.
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

// Steps of 10 us below a second, of 1 ms below 100 s.
enum { STEPS = 100000, FINE_US = 10, COARSE_US = 1000 };

static uint64_t fine[STEPS], coarse[STEPS], latencies, worst_us;
static uint64_t window_us;
static double window_cpu_s;

uint64_t wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

void begin_window(void) {
    memset(fine, 0, sizeof fine);
    memset(coarse, 0, sizeof coarse);
    latencies = worst_us = 0;
    count.ticks = count.bytes = count.skipped = 0;
    window_us = wall_us();
    window_cpu_s = cpu_s();
}

void add_latency(uint64_t us) {
    latencies++;
    if (us > worst_us)
        worst_us = us;
    if (us < (uint64_t)STEPS * FINE_US)
        fine[us / FINE_US]++;
    else
        coarse[us < (uint64_t)STEPS * COARSE_US ? us / COARSE_US : STEPS - 1]++;
}

// The upper end of the step in which the share of all latencies is reached, in milliseconds.
static double quantile_ms(double share) {
    uint64_t wanted = (uint64_t)(share * (double)latencies), seen = 0;
    if (!latencies)
        return 0;
    for (int i = 0; i < STEPS; i++)
        if ((seen += fine[i]) > wanted)
            return (i + 1) * FINE_US / 1000.0;
    for (int i = 0; i < STEPS; i++)
        if ((seen += coarse[i]) > wanted)
            return (i + 1) * COARSE_US / 1000.0;
    return (double)worst_us / 1000.0;
}

static void print_minutes(void) {
    printf(",\"minutes\":[");
    for (int i = 0; i < count.minute_count; i++) {
        const closed_minute *one = &count.minutes[i];
        printf("%s{\"time\":%lu,\"count\":%lu,\"first_us\":%lu,\"last_us\":%lu}", i ? "," : "", one->time, one->count,
               one->first_us, one->last_us);
    }
    printf("]");
}

void print_report(const client *clients) {
    double seconds = (double)(wall_us() - window_us) / 1e6;
    double cpu = seconds > 0 ? (cpu_s() - window_cpu_s) / seconds : 0;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < given.clients; i++) {
        if (!clients[i].reads)
            continue;
        least = clients[i].ticks < least ? clients[i].ticks : least;
        most = clients[i].ticks > most ? clients[i].ticks : most;
    }
    printf("{\"seconds\":%.3f,\"cpu\":%.3f,\"ticks\":%lu,\"bytes\":%lu,\"skipped\":%lu,", seconds, cpu,
           count.ticks, count.bytes, count.skipped);
    printf("\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"p999_ms\":%.2f,\"max_ms\":%.2f,", quantile_ms(0.5), quantile_ms(0.99),
           quantile_ms(0.999), (double)worst_us / 1000.0);
    printf("\"least_ticks\":%lu,\"most_ticks\":%lu,\"all_ticks\":%lu,", least, most, count.all_ticks);
    printf("\"lost\":%lu,\"repeated\":%lu,\"reordered\":%lu,\"gaps\":%lu,\"other\":%lu,\"pings\":%lu,\"bad\":%lu,",
           count.lost, count.repeated, count.reordered, count.gaps, count.other, count.pings, count.bad);
    printf("\"closed\":%lu,\"close_code\":%u", count.closed, count.close_code);
    print_minutes();
    printf("}\n");
    fflush(stdout);
}
