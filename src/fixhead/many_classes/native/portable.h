/* Vectors of 4, in the compiler's own terms: one block, four positions. */

#define FORM(name) name##_portable
#define TARGET
#define LANES 4

#define vec float4
#define words uint32_t

#define S(a) ((a) ? 0x80000000u : 0u)
#define SIGNS(n) {S((n) & 1), S((n) & 2), S((n) & 4), S((n) & 8)}
static const uint32_t signs_of[16][4] __attribute__((aligned(16))) = {
    SIGNS(0), SIGNS(1), SIGNS(2),  SIGNS(3),  SIGNS(4),  SIGNS(5),  SIGNS(6),  SIGNS(7),
    SIGNS(8), SIGNS(9), SIGNS(10), SIGNS(11), SIGNS(12), SIGNS(13), SIGNS(14), SIGNS(15)};
#undef S
#undef SIGNS

INNER vec FORM(load)(const float *from) { return *(const float4 *)from; }
INNER void FORM(store)(float *to, vec a) { *(float4 *)to = a; }
INNER vec FORM(fill)(float a) { return (vec){a, a, a, a}; }
INNER vec FORM(add)(vec a, vec b) { return a + b; }
INNER vec FORM(sub)(vec a, vec b) { return a - b; }
INNER vec FORM(mul)(vec a, vec b) { return a * b; }
INNER vec FORM(fma)(vec a, vec b, vec c) { return a * b + c; }

/* Bits of a where the lanes of mask are -1, of b where they are 0. */
INNER vec FORM(choose)(int4 mask, vec a, vec b) {
    return (vec)(((int4)a & mask) | ((int4)b & ~mask));
}
/* The second where one is NaN. */
INNER vec FORM(max)(vec a, vec b) { return FORM(choose)((int4)(a > b), a, b); }
INNER float FORM(highest)(vec a) {
    float high = a[0] > a[1] ? a[0] : a[1], low = a[2] > a[3] ? a[2] : a[3];
    return high > low ? high : low;
}
INNER int FORM(above)(vec a, float b) {
    int4 more = (int4)(a > FORM(fill)(b));
    return (more[0] | more[1] | more[2] | more[3]) != 0;
}

INNER void FORM(pair)(vec *a, vec *b, vec one) {
    vec sum = *a + *b;
    *b = *a - *b;
    *a = sum;
    (void)one;
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, ...) __builtin_shufflevector(a, a, __VA_ARGS__)
#else
#define SHUFFLE(a, ...) __builtin_shuffle(a, (int4){__VA_ARGS__})
#endif

/* H_4 within the four positions. */
INNER vec FORM(lanes)(vec a) {
    a = a * (vec){1, -1, 1, -1} + SHUFFLE(a, 1, 0, 3, 2);
    return a * (vec){1, 1, -1, -1} + SHUFFLE(a, 2, 3, 0, 1);
}

INNER words FORM(widen)(const uint32_t *from) { return *from; }
INNER words FORM(to_places)(words w) { return w; }
INNER words FORM(to_signs)(words w) { return w; }

INNER vec FORM(turn)(vec a, words signs, const int i) {
    return (vec)((int4)a ^ *(const int4 *)signs_of[signs >> 4 * i & 15]);
}

INNER void FORM(table_of)(const float *x, float scale, float *to) {
    for (int p = 0; p < 4; p++) to[p] = x[p] * scale;
}

/* H_4 of the four signed positions. */
INNER vec FORM(signed_sums)(const float *table, words places, const int i) {
    return FORM(lanes)(FORM(turn)(FORM(load)(table), places, i));
}

/* Four consecutive classes. */
INNER vec FORM(gather)(const float *bias, int64_t order) {
    vec found;
    memcpy(&found, bias, sizeof found);
    (void)order;
    return found;
}

/* 2^a for |a| < 126. Relative error 1.2e-7 at most. */
INNER vec FORM(exp2)(vec a) {
    const vec magic = FORM(fill)(12582912.0f); /* 1.5 * 2^23: its last bits count whole ones */
    vec t = a + magic;
    vec r = a - (t - magic);
    vec p = r * 0.00132764719f + 0.00967554133f;
    p = p * r + 0.0555071327f;
    p = p * r + 0.240221197f;
    p = p * r + 0.693146967f;
    p = p * r + 1.00000007f;
    return (vec)((uint4)p + ((uint4)t << 23));
}

/* The same for any a < 127: 0 below -126, NaN for NaN. */
INNER vec FORM(exp2_careful)(vec a) {
    const vec least = FORM(fill)(-126.0f);
    vec found = FORM(exp2)(FORM(max)(least, a));
    found = FORM(choose)((int4)(a < least), FORM(fill)(0.0f), found);
    return FORM(choose)((int4)(a != a), a, found);
}

#include "form.h"

#undef SHUFFLE
