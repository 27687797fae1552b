/* One row against a range of classes, in the terms of one instruction set.

   A tile is LANES / 4 blocks: logits at [q][block][p], the class's row being 4 q + p. H_n is done
   level by level: two levels within four positions, the others between vectors q, several at a
   time in registers. The first pass begins from a table of the row's signed sums, so that signs
   and the two inner levels cost one look-up; the core has the last levels, e^z, and the first of
   the way back; the last pass ends with the signs and adds to the row's sum. */

#define BLOCKS (LANES / 4)

#define P(a, b) FORM(pair)(&v[a], &v[b], one);
#define LEVELS_2(o) P(o, o + 1)
#define LEVELS_4(o) LEVELS_2(o) LEVELS_2(o + 2) P(o, o + 2) P(o + 1, o + 3)
#define LEVELS_8(o) \
    LEVELS_4(o) LEVELS_4(o + 4) P(o, o + 4) P(o + 1, o + 5) P(o + 2, o + 6) P(o + 3, o + 7)
#define LEVELS_16(o) \
    LEVELS_8(o) LEVELS_8(o + 8) \
    P(o, o + 8) P(o + 1, o + 9) P(o + 2, o + 10) P(o + 3, o + 11) \
    P(o + 4, o + 12) P(o + 5, o + 13) P(o + 6, o + 14) P(o + 7, o + 15)

#define EACH_2(M) M(0) M(1)
#define EACH_4(M) EACH_2(M) M(2) M(3)
#define EACH_8(M) EACH_4(M) M(4) M(5) M(6) M(7)
#define EACH_16(M) EACH_8(M) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

/* 1.0 that the compiler does not know: see ``pair``. */
INNER vec FORM(one)(void) {
    float one = 1.0f;
    __asm__("" : "+m"(one));
    return FORM(fill)(one);
}

#define AT(i) (tile + (j + (int64_t)stride * (i)) * LANES)
#define LOAD(i) v[i] = FORM(load)(AT(i));
#define STORE(i) FORM(store)(AT(i), v[i]);
#define BEGIN(i) \
    v[i] = FORM(signed_sums)( \
        table + (j + (int64_t)stride * (i)) * LANES, (i) < 8 ? near : far, (i) & 7);
#define END(i) { \
    vec found = FORM(lanes)(v[i]); \
    if ((i) == 0 && j == 0) FORM(store)(totals, found); \
    float *at = sum + (j + (int64_t)stride * (i)) * LANES; \
    FORM(store)(at, FORM(add)(FORM(load)(at), FORM(turn)(found, (i) < 8 ? near : far, (i) & 7))); \
}
#define BIAS(i) \
    v[i] = FORM(fma)(FORM(gather)(bias + 4 * (j + (i)), order), factor, v[i]);
#define EXP(i) v[i] = FORM(exp2)(v[i]);
#define MAX(i) high = FORM(max)(high, v[i]);

#define PASSES(R) \
    TARGET static void FORM(first_##R)( \
        const Plan *plan, const float *table, const uint32_t *signs, float *tile) { \
        const int stride = plan->stride; \
        const vec one = FORM(one)(); \
        for (int j = 0; j < stride; j++) { \
            vec v[R]; \
            words near = FORM(to_places)(FORM(widen)(signs)), far = near; \
            signs += GROUP; \
            if (R > 8) { \
                far = FORM(to_places)(FORM(widen)(signs)); \
                signs += GROUP; \
            } \
            EACH_##R(BEGIN) LEVELS_##R(0) EACH_##R(STORE) \
        } \
    } \
    TARGET static void FORM(last_##R)( \
        const Plan *plan, const float *tile, const uint32_t *signs, float *sum, float *totals) { \
        const int stride = plan->stride; \
        const vec one = FORM(one)(); \
        for (int j = 0; j < stride; j++) { \
            vec v[R]; \
            words near = FORM(to_signs)(FORM(widen)(signs)), far = near; \
            signs += GROUP; \
            if (R > 8) { \
                far = FORM(to_signs)(FORM(widen)(signs)); \
                signs += GROUP; \
            } \
            EACH_##R(LOAD) LEVELS_##R(0) EACH_##R(END) \
        } \
    } \
    TARGET static void FORM(core_##R)(const Plan *plan, float *tile) { \
        const int stride = 1; \
        const vec one = FORM(one)(); \
        for (int j = 0; j < plan->vectors; j += R) { \
            vec v[R]; \
            EACH_##R(LOAD) LEVELS_##R(0) EACH_##R(EXP) LEVELS_##R(0) EACH_##R(STORE) \
        } \
    } \
    TARGET static void FORM(core_bias_##R)(const Plan *plan, float *tile, const float *bias) { \
        const int stride = 1; \
        const int64_t order = plan->order; \
        const vec one = FORM(one)(), factor = FORM(fill)(LOG2E); \
        for (int j = 0; j < plan->vectors; j += R) { \
            vec v[R]; \
            EACH_##R(LOAD) LEVELS_##R(0) EACH_##R(BIAS) EACH_##R(EXP) \
            LEVELS_##R(0) EACH_##R(STORE) \
        } \
    } \
    TARGET static float FORM(logits_##R)( \
        const Plan *plan, float *tile, const float *bias, float base) { \
        const int stride = 1; \
        const int64_t order = plan->order; \
        const vec one = FORM(one)(), factor = FORM(fill)(base); \
        vec high = FORM(fill)(-INFINITY); \
        for (int j = 0; j < plan->vectors; j += R) { \
            vec v[R]; \
            EACH_##R(LOAD) LEVELS_##R(0) \
            if (bias) { EACH_##R(BIAS) } \
            EACH_##R(STORE) EACH_##R(MAX) \
        } \
        return FORM(highest)(high); \
    } \
    TARGET static void FORM(levels_##R)(float *tile, int stride, int vectors) { \
        const vec one = FORM(one)(); \
        for (int start = 0; start < vectors; start += stride * R) \
            for (int j = start; j < start + stride; j++) { \
                vec v[R]; \
                EACH_##R(LOAD) LEVELS_##R(0) EACH_##R(STORE) \
            } \
    }

PASSES(2)
PASSES(4)
PASSES(8)
PASSES(16)

#define CASES(radix, name, ...) \
    switch (radix) { \
        case 2: FORM(name##_2)(__VA_ARGS__); break; \
        case 4: FORM(name##_4)(__VA_ARGS__); break; \
        case 8: FORM(name##_8)(__VA_ARGS__); break; \
        default: FORM(name##_16)(__VA_ARGS__); \
    }

/* The levels between the first pass and the core. */
TARGET static void FORM(middle)(const Plan *plan, float *tile) {
    for (int stride = plan->core; stride < plan->stride; stride *= 8)
        FORM(levels_8)(tile, stride, plan->vectors);
}

/* Logits in the tile, with a bias in units of ``base``; returns the largest. */
TARGET static float FORM(logits)(const Plan *plan, float *tile, const float *bias, float base) {
    switch (plan->core) {
        case 2: return FORM(logits_2)(plan, tile, bias, base);
        case 4: return FORM(logits_4)(plan, tile, bias, base);
        case 8: return FORM(logits_8)(plan, tile, bias, base);
        default: return FORM(logits_16)(plan, tile, bias, base);
    }
}

/* e^{z - peak} in place, or 2^z where the logits are to base 2 already; returns their sum. */
TARGET static double FORM(weigh)(const Plan *plan, float *tile, float peak, float factor) {
    const vec f = FORM(fill)(factor), p = FORM(fill)(peak);
    vec all = FORM(fill)(0.0f);
    for (int q = 0; q < plan->vectors; q += 16) {
        vec sum = FORM(fill)(0.0f);
        for (int i = q; i < q + 16 && i < plan->vectors; i++) {
            vec z = FORM(sub)(FORM(load)(tile + (int64_t)i * LANES), p);
            vec e = FORM(exp2_careful)(FORM(mul)(z, f));
            FORM(store)(tile + (int64_t)i * LANES, e);
            sum = FORM(add)(sum, e);
        }
        all = FORM(add)(all, sum);
    }
    float parts[LANES] __attribute__((aligned(64)));
    double total = 0;
    FORM(store)(parts, all);
    for (int i = 0; i < LANES; i++) total += parts[i];
    return total;
}

/* The sums of all lanes to the row's gradient in double; they begin anew at 0. */
TARGET static void FORM(flush)(const Plan *plan, float *sum, double *feature_grad) {
    for (int q = 0; q < plan->vectors; q++, sum += LANES, feature_grad += 4) {
        float4 all = *(float4 *)sum;
        for (int b = 1; b < BLOCKS; b++) all += *(float4 *)(sum + 4 * b);
        for (int p = 0; p < 4; p++) feature_grad[p] += all[p];
        FORM(store)(sum, FORM(fill)(0.0f));
    }
}

/* Where class ``row`` of the tile's block b lies. */
static inline int64_t FORM(place)(int b, int64_t row) {
    return row / 4 * LANES + 4 * b + row % 4;
}

/* -infinity for the own class and for what lies past the last; the bias, in units of ``base``, for
   what lies before it in the last tile. */
TARGET static void FORM(patch)(
    const Job *job, float *tile, int64_t block, int64_t own, float base) {
    const int64_t order = job->plan.order, from = block * order;
    if (own >= from && own < from + BLOCKS * order)
        tile[FORM(place)((int)((own - from) / order), (own - from) % order)] = -INFINITY;
    for (int b = 0; b < BLOCKS; b++) {
        const int64_t name = from + b * order;
        int64_t left = job->classes - name;
        if (left >= order && from + BLOCKS * order <= job->classes) continue;
        left = left < 0 ? 0 : left > order ? order : left;
        for (int64_t row = 0; job->bias && row < left; row++)
            tile[FORM(place)(b, row)] += base * job->bias[name + row];
        for (int64_t row = left; row < order; row++) tile[FORM(place)(b, row)] = -INFINITY;
    }
}

TARGET static float FORM(highest_of)(const Plan *plan, const float *tile) {
    vec high = FORM(fill)(-INFINITY);
    for (int q = 0; q < plan->vectors; q++)
        high = FORM(max)(high, FORM(load)(tile + (int64_t)q * LANES));
    return FORM(highest)(high);
}

TARGET static void FORM(prepare)(const Job *job, const Work *work, int64_t row, float scale) {
    const float *x = job->projected + row * job->plan.order;
    for (int q = 0; q < job->plan.vectors; q++)
        FORM(table_of)(x + 4 * q, scale, work->table + (int64_t)q * LANES);
}

TARGET static void FORM(begin)(const Job *job, const Work *work, const uint32_t *signs) {
    CASES(job->plan.first, first, &job->plan, work->table, signs, work->tile)
    FORM(middle)(&job->plan, work->tile);
}

/* sum += of this tile, found->total += its weights. */
TARGET static void FORM(accumulate)(
    const Job *job, const Work *work, const uint32_t *signs, Found *found) {
    float totals[LANES] __attribute__((aligned(64)));
    FORM(middle)(&job->plan, work->tile);
    CASES(job->plan.first, last, &job->plan, work->tile, signs, work->sum, totals)
    for (int b = 0; b < BLOCKS; b++) found->total += totals[4 * b];
}

/* Raise the running maximum; what was summed so far shrinks. */
static void FORM(raise)(const Job *job, const Work *work, float high, Found *found) {
    if (!(high > found->peak)) return;
    const double shrink = exp((double)found->peak - (double)high);
    found->total *= shrink;
    found->peak = high;
    if (found->feature_grad == NULL) return;
    FORM(flush)(&job->plan, work->sum, found->feature_grad);
    for (int64_t i = 0; i < job->plan.order; i++) found->feature_grad[i] *= shrink;
}

TARGET static void FORM(rest)(
    const Job *job, const Work *work, int64_t row, int64_t start, int64_t stop, Found *found) {
    const Plan *plan = &job->plan;
    const int64_t order = plan->order, own = job->labels ? job->labels[row] : -1;
    const int safe = is_safe(job, found->square);
    const float base = safe ? LOG2E : 1.0f;
    FORM(prepare)(job, work, row, base);
    memset(work->sum, 0, sizeof(float) * LANES * (size_t)plan->vectors);
    found->peak = safe ? 0.0f : LOWEST;
    int tiles = 0;
    for (int64_t block = GROUP * start; block < GROUP * stop; block += BLOCKS) {
        const int64_t from = block * order, end = from + BLOCKS * order;
        if (from >= job->classes) break;
        const uint32_t *signs = signs_at(job, block);
        const int whole = end <= job->classes, others = own < from || own >= end;
        FORM(begin)(job, work, signs);
        if (safe && whole && others && found->feature_grad) {
            if (job->bias)
                CASES(plan->core, core_bias, plan, work->tile, job->bias + from)
            else
                CASES(plan->core, core, plan, work->tile)
            FORM(accumulate)(job, work, signs, found);
        } else {
            const float *bias = whole && job->bias ? job->bias + from : NULL;
            float high = FORM(logits)(plan, work->tile, bias, base);
            if (!whole || !others) {
                FORM(patch)(job, work->tile, block, own, base);
                if (!safe) high = FORM(highest_of)(plan, work->tile);
            }
            if (!safe) FORM(raise)(job, work, high, found);
            double total = FORM(weigh)(plan, work->tile, found->peak, safe ? 1.0f : LOG2E);
            if (found->feature_grad) {
                CASES(plan->core, levels, work->tile, 1, plan->vectors)
                FORM(accumulate)(job, work, signs, found);
            } else
                found->total += total;
        }
        if (++tiles % FLUSH == 0 && found->feature_grad)
            FORM(flush)(plan, work->sum, found->feature_grad);
    }
    if (found->feature_grad) FORM(flush)(plan, work->sum, found->feature_grad);
}

/* bias_grad += upstream * softmax of this row, for these classes: the logits are bit for bit those
   that made R, and what R's rounding to float takes is given back by ``upstream``. */
TARGET static void FORM(bias_grad)(
    const Job *job, const Work *work, int64_t row, int64_t start, int64_t stop, double square) {
    const Plan *plan = &job->plan;
    const int64_t order = plan->order, own = job->labels ? job->labels[row] : -1;
    const int safe = is_safe(job, square);
    const float base = safe ? LOG2E : 1.0f;
    const double rest = job->value[row] * (safe ? 1 / M_LN2 : 1);
    const float near = (float)rest;
    const float upstream =
        job->upstream[row] * (float)(safe ? exp2(near - rest) : exp(near - rest));
    FORM(prepare)(job, work, row, base);
    for (int64_t block = GROUP * start; block < GROUP * stop; block += BLOCKS) {
        const int64_t from = block * order, end = from + BLOCKS * order;
        if (from >= job->classes) break;
        const int whole = end <= job->classes, others = own < from || own >= end;
        FORM(begin)(job, work, signs_at(job, block));
        FORM(logits)(plan, work->tile, whole && job->bias ? job->bias + from : NULL, base);
        if (!whole || !others) FORM(patch)(job, work->tile, block, own, base);
        FORM(weigh)(plan, work->tile, near, safe ? 1.0f : LOG2E);
        for (int b = 0; b < BLOCKS; b++) {
            float *to = job->bias_grad + from + b * order;
            int64_t left = job->classes - from - b * order;
            for (int64_t i = 0; i < order && i < left; i += 4)
                for (int64_t p = 0; p < 4 && i + p < left; p++)
                    to[i + p] += upstream * work->tile[FORM(place)(b, i + p)];
        }
    }
}

/* The tile's logits above the smallest kept. */
TARGET static void FORM(look)(const Job *job, const float *tile, int64_t block, Found *found) {
    for (int q = 0; q < job->plan.vectors; q++) {
        const float *z = tile + (int64_t)q * LANES;
        if (!FORM(above)(FORM(load)(z), found->values[job->k - 1])) continue;
        for (int i = 0; i < LANES; i++)
            insert_topk(job, found, z[i], (block + i / 4) * job->plan.order + 4 * q + i % 4);
    }
}

TARGET static void FORM(top)(
    const Job *job, const Work *work, int64_t row, int64_t start, int64_t stop, Found *found) {
    const Plan *plan = &job->plan;
    const int64_t order = plan->order;
    FORM(prepare)(job, work, row, 1.0f);
    for (int64_t block = GROUP * start; block < GROUP * stop; block += BLOCKS) {
        const int64_t from = block * order, end = from + BLOCKS * order;
        if (from >= job->classes) break;
        const int whole = end <= job->classes;
        FORM(begin)(job, work, signs_at(job, block));
        const float *bias = whole && job->bias ? job->bias + from : NULL;
        float high = FORM(logits)(plan, work->tile, bias, 1.0f);
        if (!whole) {
            FORM(patch)(job, work->tile, block, -1, 1.0f);
            high = FORM(highest_of)(plan, work->tile);
        }
        if (high > found->values[job->k - 1]) FORM(look)(job, work->tile, block, found);
    }
}

#undef FORM
#undef TARGET
#undef LANES
#undef BLOCKS
#undef vec
#undef words
#undef P
#undef LEVELS_2
#undef LEVELS_4
#undef LEVELS_8
#undef LEVELS_16
#undef EACH_2
#undef EACH_4
#undef EACH_8
#undef EACH_16
#undef AT
#undef LOAD
#undef STORE
#undef BEGIN
#undef END
#undef BIAS
#undef EXP
#undef MAX
#undef PASSES
#undef CASES
