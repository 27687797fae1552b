/* The kernel against the definition in double, at random sizes: for the sanitizers.

   driver SEED COUNT: every form that the processor has, every option; says what differs, exit 1.
   All inputs end where their allocations end, so that a read or write too far is seen. */

#include "../../../src/fixhead/many_classes/native/kernel.c"

#include <stdio.h>

static uint64_t state;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int64_t below(int64_t n) { return (int64_t)(next() % (uint64_t)n); }
static float normal(void) { /* nearly */
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += (float)(next() >> 40) / 16777216.0f;
    return sum - 6;
}

static int parity(uint64_t a) { return __builtin_parityll(a); }

static double difference(double a, double b) {
    return fabs(a - b) / (1e-30 + fabs(b) + 1);
}

static int one_case(void) {
    const int64_t order = (int64_t)16 << below(below(4) ? 5 : 10);
    const int64_t classes = 2 + below(below(2) ? 6 * order : 20000);
    const int64_t rows = below(below(3) ? 4 : 40), blocks = (classes + order - 1) / order;
    const int64_t stride = (blocks + 7) / 8 + below(2);
    const int threads = 1 + (int)below(9), biased = (int)below(2), k = 1 + (int)below(5);
    const int gradient = (int)below(4) != 0, odd = below(8) == 0;
    const float length = (float[]){1, 5, 60, 300, 10000}[below(5)] / sqrtf((float)order);
    float *x = malloc(sizeof(float) * (size_t)(rows * order));
    float *bias = malloc(sizeof(float) * (size_t)classes);
    int64_t *labels = malloc(sizeof(int64_t) * (size_t)rows);
    uint8_t *packed = malloc((size_t)(order * stride));
    uint32_t *signs = malloc(sizeof(uint32_t) * (size_t)fixhead_words(order, blocks));
    double *value = malloc(sizeof(double) * (size_t)rows), *z = malloc(sizeof(double) * (size_t)classes);
    double *pull = malloc(sizeof(double) * (size_t)order);
    float *found = malloc(sizeof(float) * (size_t)(rows * order));
    float *own = malloc(sizeof(float) * (size_t)(rows * order));
    float *values = malloc(sizeof(float) * (size_t)(rows * k));
    int64_t *names = malloc(sizeof(int64_t) * (size_t)(rows * k));
    for (int64_t i = 0; i < rows * order; i++) x[i] = normal() * length / sqrtf((float)order);
    for (int64_t i = 0; i < classes; i++) bias[i] = normal();
    for (int64_t i = 0; i < rows; i++) labels[i] = below(5) ? below(classes) : -1;
    for (int64_t i = 0; i < order * stride; i++) packed[i] = (uint8_t)next();
    if (odd && rows) x[below(rows * order)] = (float[]){NAN, INFINITY, -INFINITY, 1e38f}[below(4)];
    if (odd) bias[below(classes)] = (float[]){NAN, INFINITY, -INFINITY, 1e30f}[below(4)];
    fixhead_arrange(packed, stride, order, blocks, signs);
    fixhead_rows(packed, stride, order, labels, rows, own);
    int wrong = 0;
    for (int form = PORTABLE; form <= AVX512; form *= 2) {
        if (!(fixhead_forms() & form)) continue;
        wrong |= fixhead_rest(
            form, threads, x, rows, order, signs, classes, labels, biased ? bias : NULL,
            sqrt((double)order), value, gradient ? found : NULL);
        wrong |= fixhead_top(
            form, threads, x, rows, order, signs, classes, biased ? bias : NULL, k, values, names);
        const int64_t most = 20000000 / (classes * order) + 1; /* the definition is slow */
        float *upstream = calloc((size_t)rows, sizeof(float)), *slope = malloc(sizeof(float) * (size_t)classes);
        if (rows) upstream[0] = 0.5f;
        wrong |= fixhead_slope(
            form, threads, x, rows, order, signs, classes, labels, biased ? bias : NULL,
            sqrt((double)order), value, upstream, slope);
        for (int64_t i = 0; i < rows && i < most && !odd; i++) {
            double peak = -INFINITY, best = -INFINITY, sum = 0, far = 0, size = 0;
            for (int64_t c = 0; c < classes; c++) {
                const int64_t block = c / order, line = c % order;
                z[c] = biased ? bias[c] : 0;
                for (int64_t j = 0; j < order; j++) {
                    int bit = packed[j * stride + block / 8] >> block % 8 & 1;
                    z[c] += parity((uint64_t)(line & j)) ^ bit ? -x[i * order + j] : x[i * order + j];
                }
                if (z[c] > best) best = z[c];
                if (c != labels[i] && z[c] > peak) peak = z[c];
            }
            memset(pull, 0, sizeof(double) * (size_t)order);
            for (int64_t c = 0; c < classes; c++) {
                if (c == labels[i]) continue;
                const int64_t block = c / order, line = c % order;
                const double e = exp(z[c] - peak);
                sum += e;
                if (i == 0 && fabs(slope[c] - 0.5 * exp(z[c] - value[0])) > 3e-3) wrong |= 64;
                for (int64_t j = 0; j < order && gradient; j++) {
                    int bit = packed[j * stride + block / 8] >> block % 8 & 1;
                    pull[j] += parity((uint64_t)(line & j)) ^ bit ? -e : e;
                }
            }
            /* Digits that logits of this size do not have are no fault. */
            const double scale = fabs(best) > 1 ? fabs(best) : 1;
            if (difference(value[i], peak + log(sum)) > 3e-6) wrong |= 4;
            if (difference(values[i * k], best) > 3e-6) wrong |= 8;
            for (int t = 0; t < k && t < classes; t++)
                if (fabs(z[names[i * k + t]] - values[i * k + t]) > 2e-6 * scale + 1e-5) wrong |= 16;
            for (int64_t j = 0; j < order && gradient; j++) {
                far += pow(found[i * order + j] - pull[j] / sum, 2);
                size += pow(pull[j] / sum, 2);
            }
            if (sqrt(far) > (3e-6 + 1e-6 * scale) * sqrt(size) + 1e-6) wrong |= 32;
        }
        free(upstream), free(slope);
        if (wrong) {
            printf("n=%ld K=%ld N=%ld form=%d threads=%d bias=%d k=%d gradient=%d length=%g: %d\n",
                   (long)order, (long)classes, (long)rows, form, threads, biased, k, gradient,
                   (double)length, wrong);
            break;
        }
    }
    free(x), free(bias), free(labels), free(packed), free(signs), free(value), free(z), free(pull);
    free(found), free(own), free(values), free(names);
    return wrong;
}

int main(int count, char **given) {
    if (count != 3) return 2;
    state = strtoull(given[1], NULL, 10) * 2654435761u + 1;
    int wrong = 0;
    for (long i = strtol(given[2], NULL, 10); i > 0; i--) wrong |= one_case();
    return wrong != 0;
}
