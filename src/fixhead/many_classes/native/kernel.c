/* Exact softmax sums over code vectors, class k = (block k / n, row k % n): w = row of H_n D_block.

   For a point x of a row, with z = x W^T + b and its own class left out:
       R = log sum_k e^{z_k}        G = sum_k softmax_k w_k        or the largest z_k.
   Logits are made tile by tile by a fast Walsh-Hadamard transform that begins in a table of signed
   sums, and the weights return by the same transform: 2 log2 n sums a logit and one e^z, nothing
   of the size of W or of the logits. The sums over classes are in double.

   One translation unit, plain C; the forms for AVX-512, AVX2 and everything else are chosen when
   called. The threads are those of the OpenMP runtime that the process has already, where it hands
   over its ``GOMP_parallel``; otherwise, and in a forked process, where that one would wait for
   threads that are gone, they live as long as one call. */

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1
#define GROUP 4         /* blocks whose signs lie together */
#define FLUSH 256       /* tiles whose gradient is summed in float before it goes to double */
#define SAFE 85.0       /* e^85 < 3.4e38 and e^-85 > 1.2e-38 */
#define LOWEST (-FLT_MAX / 4)
#define LOG2E 1.44269504f
#define MOST 64         /* largest k of the largest logits */
#define WORTH (1 << 17) /* logits for which another thread pays */

#define INNER TARGET static inline __attribute__((always_inline))

typedef float float4 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));
typedef uint32_t uint4 __attribute__((vector_size(16)));

/* H_n as: two levels in a vector; ``first`` vectors at once, ``stride`` apart; eight at once, as
   often as needed; ``core`` neighbours at once. n = 4 first 8^i core. width: words of signs of a
   block, eight vectors to a word. */
typedef struct {
    int64_t order, width;
    int vectors, first, core, stride;
} Plan;

typedef struct {
    Plan plan;
    int form, k;
    int64_t rows, classes, groups, parts;
    const float *projected, *bias;
    const int64_t *labels;
    const uint32_t *signs;
    double norm, largest_bias;
    double *value;
    const float *upstream;
    float *feature_grad, *bias_grad, *top_values;
    int64_t *top_names;
    int64_t next; /* taken by all threads */
    int failed;
} Job;

/* One thread's memory: a tile, a table of signed sums, sums of the gradient. */
typedef struct {
    float *tile, *table, *sum;
    double *feature_grad;
} Work;

/* What one row, of this squared length, has of a range of classes; feature_grad is NULL where G is
   not asked for. */
typedef struct {
    double square, total;
    float peak;
    double *feature_grad;
    float values[MOST];
    int64_t names[MOST];
} Found;

static double square_of(const Job *job, int64_t row) {
    const float *x = job->projected + row * job->plan.order;
    double sum[4] = {0};
    for (int64_t i = 0; i < job->plan.order; i += 4)
        for (int p = 0; p < 4; p++) sum[p] += (double)x[i + p] * x[i + p];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

static int is_safe(const Job *job, double square) {
    return sqrt(square) * job->norm + job->largest_bias + log((double)job->classes) <= SAFE;
}

static inline const uint32_t *signs_at(const Job *job, int64_t block) {
    return job->signs + block / GROUP * GROUP * job->plan.width + block % GROUP;
}

/* Among the k largest, largest first; of equal ones the first found stays first. */
static void insert_topk(const Job *job, Found *found, float value, int64_t name) {
    int i = job->k - 1;
    if (!(value > found->values[i])) return;
    for (; i > 0 && value > found->values[i - 1]; i--) {
        found->values[i] = found->values[i - 1];
        found->names[i] = found->names[i - 1];
    }
    found->values[i] = value;
    found->names[i] = name;
}

#if defined(__x86_64__) && !defined(FIXHEAD_PORTABLE_ONLY)
#define X86 1
#include <cpuid.h>
#include <immintrin.h>
#include "avx512.h"
#include "avx2.h"
#endif
#include "portable.h"

enum { PORTABLE = 1, AVX2 = 2, AVX512 = 4 };

int32_t fixhead_version(void) { return VERSION; }

int32_t fixhead_most(void) { return MOST; }

/* Asked of the processor itself: not every compiler's runtime library answers
   __builtin_cpu_supports. */
static int ask(void) {
    int forms = PORTABLE;
#ifdef X86
    unsigned a, b, c, d;
    const unsigned basic = 1u << 12 | 1u << 27 | 1u << 28; /* FMA, OSXSAVE, AVX */
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & basic) != basic) return forms;
    uint32_t saved, high; /* the registers that the system keeps over a switch */
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (saved & 0x6) != 0x6) return forms;
    if (b >> 5 & 1) forms |= AVX2;
    if (forms & AVX2 && (saved & 0xe6) == 0xe6 && b >> 16 & 1 && b >> 17 & 1) forms |= AVX512;
#endif
    return forms;
}

/* The forms that this processor and its system can run. Asked once: in a virtual machine an answer
   takes longer than a small loss. */
int32_t fixhead_forms(void) {
    static int known;
    int forms = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!forms) __atomic_store_n(&known, forms = ask(), __ATOMIC_RELAXED);
    return forms;
}

static int plan_for(int64_t order, Plan *plan) {
    int levels = -2;
    while ((int64_t)1 << (levels + 2) < order) levels++;
    if (order != (int64_t)1 << (levels + 2) || levels < 2 || levels > 24) return 0;
    int middle = levels > 8 ? (levels - 8 + 2) / 3 : 0;
    int rest = levels - 3 * middle;
    plan->order = order;
    plan->vectors = (int)(order / 4);
    plan->first = 1 << (rest + 1) / 2;
    plan->core = 1 << rest / 2;
    plan->stride = plan->vectors / plan->first;
    plan->width = (int64_t)plan->stride * (plan->first > 8 ? 2 : 1);
    return 1;
}

/* How many words ``fixhead_arrange`` writes; 0 where n is not 2^m from 16 to 2^26. */
int64_t fixhead_words(int64_t order, int64_t blocks) {
    Plan plan;
    return plan_for(order, &plan) ? (blocks + GROUP - 1) / GROUP * GROUP * plan.width : 0;
}

/* Sign bits (n, stride) bytes, block b in bit b % 8 of byte b / 8, in the order of the first pass:
   word [group][w][block], nibble i of it the four signs of vector j + S i. */
void fixhead_arrange(
    const uint8_t *packed, int64_t stride, int64_t order, int64_t blocks, uint32_t *out) {
    Plan plan;
    if (!plan_for(order, &plan)) return;
    const int per = plan.first > 8 ? 8 : plan.first;
    for (int64_t block = 0; block < blocks; block += GROUP)
        for (int64_t w = 0; w < plan.width; w++, out += GROUP) {
            const int64_t j = plan.first > 8 ? w / 2 : w, far = plan.first > 8 ? w % 2 * 8 : 0;
            memset(out, 0, GROUP * sizeof *out);
            for (int i = 0; i < per; i++)
                for (int p = 0; p < 4; p++) {
                    int64_t position = 4 * (j + plan.stride * (far + i)) + p;
                    unsigned bits = (unsigned)packed[position * stride + block / 8] >> block % 8;
                    for (int b = 0; b < GROUP; b++)
                        out[b] |= (uint32_t)(bits >> b & 1) << (4 * i + p);
                }
        }
}

/* Rows +-1 (N, n) of labels (N,), from the sign bits as ``fixhead_arrange`` takes them. */
void fixhead_rows(
    const uint8_t *packed, int64_t stride, int64_t order, const int64_t *labels, int64_t rows,
    float *out) {
    for (int64_t i = 0; i < rows; i++, out += order) {
        const int64_t label = labels[i] < 0 ? 0 : labels[i];
        const int64_t block = label / order, line = label % order;
        out[0] = 1.0f;
        for (int64_t half = 1; half < order; half *= 2) {
            const float sign = line & half ? -1.0f : 1.0f;
            for (int64_t j = 0; j < half; j++) out[half + j] = sign * out[j];
        }
        const uint8_t *bits = packed + block / 8;
        for (int64_t j = 0; j < order; j++)
            out[j] *= (float)(1 - 2 * (bits[j * stride] >> block % 8 & 1));
    }
}

static void walk(
    const Job *job, const Work *work, int64_t row, int64_t start, int64_t stop, Found *found) {
    const int top = job->top_values != NULL;
#ifdef X86
    if (job->form == AVX512) {
        (top ? top_avx512 : rest_avx512)(job, work, row, start, stop, found);
        return;
    }
    if (job->form == AVX2) {
        (top ? top_avx2 : rest_avx2)(job, work, row, start, stop, found);
        return;
    }
#endif
    (top ? top_portable : rest_portable)(job, work, row, start, stop, found);
}

static void walk_bias_grad(
    const Job *job, const Work *work, int64_t row, int64_t start, int64_t stop, double square) {
#ifdef X86
    if (job->form == AVX512) {
        bias_grad_avx512(job, work, row, start, stop, square);
        return;
    }
    if (job->form == AVX2) {
        bias_grad_avx2(job, work, row, start, stop, square);
        return;
    }
#endif
    bias_grad_portable(job, work, row, start, stop, square);
}

static void clear(const Job *job, Found *found) {
    found->total = 0;
    found->peak = 0;
    if (found->feature_grad)
        memset(found->feature_grad, 0, sizeof(double) * (size_t)job->plan.order);
    for (int i = 0; i < job->k; i++) {
        found->values[i] = -INFINITY;
        found->names[i] = 0;
    }
}

/* found += other, of the same row. */
static void merge(const Job *job, Found *found, const Found *other) {
    for (int i = 0; i < job->k; i++) insert_topk(job, found, other->values[i], other->names[i]);
    if (job->top_values) return;
    const float peak = found->peak > other->peak ? found->peak : other->peak;
    const double mine = exp((double)found->peak - peak), theirs = exp((double)other->peak - peak);
    found->total = found->total * mine + other->total * theirs;
    found->peak = peak;
    for (int64_t i = 0; found->feature_grad && i < job->plan.order; i++)
        found->feature_grad[i] = found->feature_grad[i] * mine + other->feature_grad[i] * theirs;
}

static void finish(const Job *job, int64_t row, const Found *found) {
    if (job->top_values) {
        memcpy(job->top_values + row * job->k, found->values, sizeof(float) * (size_t)job->k);
        memcpy(job->top_names + row * job->k, found->names, sizeof(int64_t) * (size_t)job->k);
        return;
    }
    job->value[row] = found->peak + log(found->total);
    if (job->feature_grad == NULL) return;
    float *to = job->feature_grad + row * job->plan.order;
    const double share = 1 / found->total;
    for (int64_t i = 0; i < job->plan.order; i++) to[i] = (float)(found->feature_grad[i] * share);
}

typedef struct {
    Job *job;
    Found *parts; /* of all rows and ranges; NULL where a row is one range */
} Task;

static void *worker(void *given) {
    const Task *task = given;
    Job *job = task->job;
    const size_t lanes = job->form == AVX512 ? 16 : job->form == AVX2 ? 8 : 4;
    const size_t floats = lanes * (size_t)job->plan.vectors, order = (size_t)job->plan.order;
    void *memory = NULL;
    if (posix_memalign(&memory, 64, 3 * floats * sizeof(float) + order * sizeof(double))) {
        job->failed = 1;
        return NULL;
    }
    float *at = memory;
    Work work = {at, at + floats, at + 2 * floats, (double *)(void *)(at + 3 * floats)};
    Found own;
    for (;;) {
        const int64_t unit = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (unit >= (job->bias_grad ? 1 : job->rows) * job->parts) break;
        if (job->bias_grad) { /* of one range of classes, all rows: no other worker writes there */
            for (int64_t row = 0; row < job->rows; row++)
                walk_bias_grad(
                    job, &work, row, job->groups * unit / job->parts,
                    job->groups * (unit + 1) / job->parts, square_of(job, row));
            continue;
        }
        const int64_t row = unit / job->parts, part = unit % job->parts;
        Found *found = task->parts ? task->parts + unit : &own;
        if (!task->parts) own.feature_grad = job->feature_grad ? work.feature_grad : NULL;
        clear(job, found);
        found->square = square_of(job, row);
        if (!isfinite(found->square))
            found->total = NAN;
        else
            walk(
                job, &work, row, job->groups * part / job->parts,
                job->groups * (part + 1) / job->parts, found);
        if (!task->parts) finish(job, row, found);
    }
    free(memory);
    return NULL;
}

typedef void Pool(void (*work)(void *), void *given, unsigned threads, unsigned flags);

static Pool *pool;
static pid_t home;

/* Work from now on with the threads of a pool that is called as libgomp's ``GOMP_parallel``. A pool
   of our own beside it would share the processors with its threads while they wait for work. */
void fixhead_share(Pool *theirs) {
    pool = theirs;
    home = getpid();
}

static void worker_of_pool(void *given) { worker(given); }

/* 0, or 1 where memory is lacking. */
static int share(Job *job, int threads) {
    const int64_t units = job->rows < 8 * (int64_t)threads ? threads : 1;
    const double logits = (double)job->rows * (double)job->classes;
    if (threads > 1 + logits / WORTH) threads = 1 + (int)(logits / WORTH);
    job->parts = threads == 1 ? 1 : units < job->groups ? units : job->groups;
    if (job->bias_grad) job->parts = job->groups < 4 * threads ? job->groups : 4 * threads;
    const int64_t pieces = (job->bias_grad ? 1 : job->rows) * job->parts;
    if (threads > pieces) threads = (int)pieces;
    Task task = {job, NULL};
    double *feature_grads = NULL;
    pthread_t *others = NULL;
    const size_t all = (size_t)(job->rows * job->parts), order = (size_t)job->plan.order;
    if (job->parts > 1 && !job->bias_grad) {
        task.parts = calloc(all, sizeof *task.parts);
        if (job->feature_grad) feature_grads = malloc(all * order * sizeof *feature_grads);
        if (!task.parts || (job->feature_grad && !feature_grads)) job->failed = 1;
        for (size_t i = 0; feature_grads && task.parts && i < all; i++)
            task.parts[i].feature_grad = feature_grads + i * order;
    }
    const int theirs = threads > 1 && pool && home == getpid();
    if (threads > 1 && !theirs) others = malloc((size_t)threads * sizeof *others);
    int started = 0;
    if (theirs && !job->failed) pool(worker_of_pool, &task, (unsigned)threads, 0);
    /* Where no further thread can be had, those that are there do the work. */
    while (others && !job->failed && started < threads - 1 &&
           !pthread_create(others + started, NULL, worker, &task))
        started++;
    if (!theirs && !job->failed) worker(&task);
    for (int i = 0; i < started; i++) pthread_join(others[i], NULL);
    for (int64_t row = 0; task.parts && !job->failed && row < job->rows; row++) {
        Found *found = task.parts + row * job->parts;
        for (int64_t part = 1; part < job->parts; part++) merge(job, found, found + part);
        finish(job, row, found);
    }
    free(others);
    free(feature_grads);
    free(task.parts);
    return job->failed;
}

static int prepare(
    Job *job, int32_t form, const float *projected, int64_t rows, int64_t order,
    const uint32_t *signs, int64_t classes, const float *bias, double norm) {
    if (!(fixhead_forms() & form) || !plan_for(order, &job->plan)) return 0;
    const int64_t blocks = (classes + order - 1) / order;
    job->form = form;
    job->projected = projected;
    job->rows = rows;
    job->signs = signs;
    job->classes = classes;
    job->groups = (blocks + GROUP - 1) / GROUP;
    job->bias = bias;
    job->norm = norm;
    for (int64_t i = 0; bias && i < classes; i++) {
        const double size = fabs((double)bias[i]);
        if (!(size <= job->largest_bias) && !isnan(job->largest_bias))
            job->largest_bias = size;
    }
    return 1;
}

/* R (N,) and, where feature_grad is given, G (N, n), of projected (N, n). labels (N,) may be NULL,
   as bias (K,). norm: of a row of W. 0: done; 1: no memory; 2: no such form or order. */
int32_t fixhead_rest(
    int32_t form, int32_t threads, const float *projected, int64_t rows, int64_t order,
    const uint32_t *signs, int64_t classes, const int64_t *labels, const float *bias, double norm,
    double *value, float *feature_grad) {
    Job job = {0};
    if (!prepare(&job, form, projected, rows, order, signs, classes, bias, norm)) return 2;
    job.labels = labels;
    job.value = value;
    job.feature_grad = feature_grad;
    return rows > 0 ? share(&job, threads) : 0;
}

/* sum_i g_i softmax_ik (K,), the gradient of a bias, from R (N,) of ``fixhead_rest`` and g (N,). */
int32_t fixhead_slope(
    int32_t form, int32_t threads, const float *projected, int64_t rows, int64_t order,
    const uint32_t *signs, int64_t classes, const int64_t *labels, const float *bias, double norm,
    const double *value, const float *upstream, float *bias_grad) {
    Job job = {0};
    if (!prepare(&job, form, projected, rows, order, signs, classes, bias, norm)) return 2;
    memset(bias_grad, 0, sizeof *bias_grad * (size_t)classes);
    job.labels = labels;
    job.value = (double *)value;
    job.upstream = upstream;
    job.bias_grad = bias_grad;
    return rows > 0 ? share(&job, threads) : 0;
}

/* The k largest logits (N, k) and their classes, largest first; k <= 64. */
int32_t fixhead_top(
    int32_t form, int32_t threads, const float *projected, int64_t rows, int64_t order,
    const uint32_t *signs, int64_t classes, const float *bias, int32_t k, float *values,
    int64_t *names) {
    Job job = {0};
    if (!prepare(&job, form, projected, rows, order, signs, classes, bias, 0.0)) return 2;
    if (k < 1 || k > MOST) return 2;
    job.k = k;
    job.top_values = values;
    job.top_names = names;
    return rows > 0 ? share(&job, threads) : 0;
}
