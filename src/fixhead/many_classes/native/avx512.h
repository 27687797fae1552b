/* Vectors of 16: four blocks, four positions of each. */

#define FORM(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx2,fma")))
#define LANES 16

#define vec __m512
#define words __m512i

INNER vec FORM(load)(const float *from) { return _mm512_load_ps(from); }
INNER void FORM(store)(float *to, vec a) { _mm512_store_ps(to, a); }
INNER vec FORM(fill)(float a) { return _mm512_set1_ps(a); }
INNER vec FORM(add)(vec a, vec b) { return _mm512_add_ps(a, b); }
INNER vec FORM(sub)(vec a, vec b) { return _mm512_sub_ps(a, b); }
INNER vec FORM(mul)(vec a, vec b) { return _mm512_mul_ps(a, b); }
INNER vec FORM(fma)(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
/* The second where one is NaN. */
INNER vec FORM(max)(vec a, vec b) { return _mm512_max_ps(a, b); }
INNER float FORM(highest)(vec a) { return _mm512_reduce_max_ps(a); }
INNER int FORM(above)(vec a, float b) {
    return _mm512_cmp_ps_mask(a, _mm512_set1_ps(b), _CMP_GT_OQ) != 0;
}

/* The butterfly (a + b, a - b). A product with 1 is exact; it goes to another unit than a sum on
   processors that have separate ones. */
INNER void FORM(pair)(vec *a, vec *b, vec one) {
    vec sum = _mm512_add_ps(*a, *b);
    *b = _mm512_fnmadd_ps(*b, one, *a);
    *a = sum;
}

/* H_4 within every block's four positions. */
INNER vec FORM(lanes)(vec a) {
    const vec first = _mm512_castsi512_ps(_mm512_set4_epi32(
        (int)0xbf800000u, 0x3f800000, (int)0xbf800000u, 0x3f800000));
    const vec second = _mm512_castsi512_ps(_mm512_set4_epi32(
        (int)0xbf800000u, (int)0xbf800000u, 0x3f800000, 0x3f800000));
    a = _mm512_fmadd_ps(a, first, _mm512_permute_ps(a, 0xb1));
    return _mm512_fmadd_ps(a, second, _mm512_permute_ps(a, 0x4e));
}

/* One word of each block to its four lanes. */
INNER words FORM(widen)(const uint32_t *from) {
    const __m512i spread =
        _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m128i four = _mm_loadu_si128((const __m128i *)from);
    return _mm512_permutexvar_epi32(spread, _mm512_castsi128_si512(four));
}

/* Words whose nibble i is the place in a table of lane's output, for ``signed_sums``. */
INNER words FORM(to_places)(words w) {
    const __m512i flips = _mm512_set4_epi32(0x66666666, (int)0xccccccccu, (int)0xaaaaaaaau, 0);
    return _mm512_xor_si512(w, flips);
}

/* Words whose bit 4i + 3 is the sign of the lane's own position, for ``turn``. */
INNER words FORM(to_signs)(words w) {
    return _mm512_sllv_epi32(w, _mm512_set4_epi32(0, 1, 2, 3));
}

/* All sixteen +-a +-b +-c +-d of four positions. */
INNER void FORM(table_of)(const float *x, float scale, float *to) {
    vec sum = _mm512_setzero_ps();
    for (int p = 0; p < 4; p++) {
        __mmask16 minus = (__mmask16[]){0xaaaa, 0xcccc, 0xf0f0, 0xff00}[p];
        vec a = _mm512_set1_ps(x[p] * scale);
        sum = _mm512_mask_sub_ps(_mm512_add_ps(sum, a), minus, sum, a);
    }
    _mm512_store_ps(to, sum);
}

/* H_4 of the four signed positions of every block, looked up by their signs. */
INNER vec FORM(signed_sums)(const float *table, words places, const int i) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(places, 4 * i), _mm512_load_ps(table));
}

INNER vec FORM(turn)(vec a, words signs, const int i) {
    const __m512i sign = _mm512_set1_epi32((int)0x80000000u);
    __m512i here = _mm512_slli_epi32(signs, 28 - 4 * i);
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(_mm512_castps_si512(a), here, sign, 0x78));
}

/* Four consecutive classes of every block. */
INNER vec FORM(gather)(const float *bias, int64_t order) {
    __m256 low = _mm256_insertf128_ps(
        _mm256_castps128_ps256(_mm_loadu_ps(bias)), _mm_loadu_ps(bias + order), 1);
    __m256 high = _mm256_insertf128_ps(
        _mm256_castps128_ps256(_mm_loadu_ps(bias + 2 * order)), _mm_loadu_ps(bias + 3 * order), 1);
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* 2^a; 0 below the range of float, NaN for NaN. Relative error 1.2e-7 at most. */
INNER vec FORM(exp2)(vec a) {
    vec r = _mm512_reduce_ps(a, 1);
    vec p = _mm512_set1_ps(0.00187757666f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.00898934013f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.055826318f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.240153617f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693153073f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999999925f));
    return _mm512_scalef_ps(p, a);
}

/* The same, for any a: minus infinity too. */
INNER vec FORM(exp2_careful)(vec a) {
    return FORM(exp2)(_mm512_max_ps(_mm512_set1_ps(-300.0f), a));
}

#include "form.h"
