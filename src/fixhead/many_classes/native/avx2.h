/* Vectors of 8: two blocks, four positions of each. */

#define FORM(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8

#define vec __m256
#define words __m256i

INNER vec FORM(load)(const float *from) { return _mm256_load_ps(from); }
INNER void FORM(store)(float *to, vec a) { _mm256_store_ps(to, a); }
INNER vec FORM(fill)(float a) { return _mm256_set1_ps(a); }
INNER vec FORM(add)(vec a, vec b) { return _mm256_add_ps(a, b); }
INNER vec FORM(sub)(vec a, vec b) { return _mm256_sub_ps(a, b); }
INNER vec FORM(mul)(vec a, vec b) { return _mm256_mul_ps(a, b); }
INNER vec FORM(fma)(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
/* The second where one is NaN. */
INNER vec FORM(max)(vec a, vec b) { return _mm256_max_ps(a, b); }
INNER float FORM(highest)(vec a) {
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
}
INNER int FORM(above)(vec a, float b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(b), _CMP_GT_OQ)) != 0;
}

INNER void FORM(pair)(vec *a, vec *b, vec one) {
    vec sum = _mm256_add_ps(*a, *b);
    *b = _mm256_sub_ps(*a, *b);
    *a = sum;
    (void)one;
}

/* H_4 within every block's four positions. */
INNER vec FORM(lanes)(vec a) {
    const vec first = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const vec second = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    a = _mm256_fmadd_ps(a, first, _mm256_permute_ps(a, 0xb1));
    return _mm256_fmadd_ps(a, second, _mm256_permute_ps(a, 0x4e));
}

/* One word of each block to its four lanes. */
INNER words FORM(widen)(const uint32_t *from) {
    __m128i two = _mm_loadl_epi64((const __m128i *)from);
    return _mm256_permutevar8x32_epi32(
        _mm256_castsi128_si256(two), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* Nibble i: three bits of the place in a table, and whether its entry is to be negated. */
INNER words FORM(to_places)(words w) {
    const __m256i flips = _mm256_setr_epi32(
        0, (int)0xaaaaaaaau, (int)0xccccccccu, 0x66666666,
        0, (int)0xaaaaaaaau, (int)0xccccccccu, 0x66666666);
    w = _mm256_xor_si256(w, flips);
    __m256i minus = _mm256_and_si256(w, _mm256_set1_epi32((int)0x88888888u));
    return _mm256_xor_si256(w, _mm256_sub_epi32(minus, _mm256_srli_epi32(minus, 3)));
}

/* Words whose bit 4i + 3 is the sign of the lane's own position, for ``turn``. */
INNER words FORM(to_signs)(words w) {
    return _mm256_sllv_epi32(w, _mm256_setr_epi32(3, 2, 1, 0, 3, 2, 1, 0));
}

INNER vec FORM(turn)(vec a, words signs, const int i) {
    __m256i here = _mm256_and_si256(
        _mm256_slli_epi32(signs, 28 - 4 * i), _mm256_set1_epi32((int)0x80000000u));
    return _mm256_xor_ps(a, _mm256_castsi256_ps(here));
}

/* The eight +-a +-b +-c + d of four positions; the others are their negatives. */
INNER void FORM(table_of)(const float *x, float scale, float *to) {
    const vec first = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    const vec second = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    const vec third = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
    vec sum = _mm256_mul_ps(first, _mm256_set1_ps(x[0] * scale));
    sum = _mm256_fmadd_ps(second, _mm256_set1_ps(x[1] * scale), sum);
    sum = _mm256_fmadd_ps(third, _mm256_set1_ps(x[2] * scale), sum);
    _mm256_store_ps(to, _mm256_add_ps(sum, _mm256_set1_ps(x[3] * scale)));
}

/* H_4 of the four signed positions of every block, looked up by their signs. */
INNER vec FORM(signed_sums)(const float *table, words places, const int i) {
    vec found = _mm256_permutevar8x32_ps(_mm256_load_ps(table), _mm256_srli_epi32(places, 4 * i));
    return FORM(turn)(found, places, i);
}

/* Four consecutive classes of every block. */
INNER vec FORM(gather)(const float *bias, int64_t order) {
    return _mm256_insertf128_ps(
        _mm256_castps128_ps256(_mm_loadu_ps(bias)), _mm_loadu_ps(bias + order), 1);
}

/* 2^a for |a| < 126. Relative error 1.2e-7 at most. */
INNER vec FORM(exp2)(vec a) {
    const vec magic = _mm256_set1_ps(12582912.0f); /* 1.5 * 2^23: its last bits count whole ones */
    vec t = _mm256_add_ps(a, magic);
    vec r = _mm256_sub_ps(a, _mm256_sub_ps(t, magic));
    vec p = _mm256_set1_ps(0.00132764719f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.00967554133f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.0555071327f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.240221197f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.693146967f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.00000007f));
    __m256i power = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power));
}

/* The same for any a < 127: 0 below -126, NaN for NaN. */
INNER vec FORM(exp2_careful)(vec a) {
    vec low = _mm256_cmp_ps(a, _mm256_set1_ps(-126.0f), _CMP_LT_OQ);
    vec nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
    vec found = FORM(exp2)(_mm256_max_ps(_mm256_set1_ps(-126.0f), a));
    return _mm256_or_ps(_mm256_andnot_ps(low, found), nan);
}

#include "form.h"
