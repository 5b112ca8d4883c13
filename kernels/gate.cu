// The gate of a mixture of experts: the top_k largest of each row of logits, the first of equal ones first, with
// their share of the softmax over the whole row.

#include "element.cuh"

// `threads` threads side by side in a warp share a row, a power of two, each with HELD accesses that lie
// `threads` apart. A block has 256 threads.
template <typename W, int HELD, typename E>
__device__ __forceinline__ void gate(
    const void *logits, void *weights, u16 *experts, u32 rows, u32 accesses, u32 top_k, u32 threads) {
    u32 row = (blockIdx.x * blockDim.x + threadIdx.x) / threads;
    u32 place = threadIdx.x % threads;
    // Threads beyond the last row work on it too and write nothing: all of a warp must take part in a shuffle.
    bool mine = row < rows;
    if (!mine) row = rows - 1;
    float value[HELD * W::COUNT];
    float most = -infinity();
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        u32 at = place + i * threads;
        W wide;
        if (at < accesses) wide = W::load(logits, (u64)row * accesses + at);
#pragma unroll
        for (int j = 0; j < W::COUNT; j++) {
            float x = at < accesses ? wide[j] : -infinity();
            value[i * W::COUNT + j] = x;
            most = fmaxf(most, x);
        }
    }
    for (u32 step = threads / 2; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < HELD * W::COUNT; i++) sum += __expf(value[i] - most);
    for (u32 step = threads / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    float factor = 1.0f / sum;
    for (u32 rank = 0; rank < top_k; rank++) {
        float best = -infinity();
        u32 expert = 0xffffffffu;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) {
                u32 here = (place + i * threads) * W::COUNT + j;
                // In ascending order of places, so that the first of equal ones stays.
                if (value[i * W::COUNT + j] > best) {
                    best = value[i * W::COUNT + j];
                    expert = here;
                }
            }
        }
        for (u32 step = threads / 2; step > 0; step /= 2) {
            float other = __shfl_xor_sync(0xffffffffu, best, step);
            u32 its = __shfl_xor_sync(0xffffffffu, expert, step);
            if (other > best || (other == best && its < expert)) {
                best = other;
                expert = its;
            }
        }
#pragma unroll
        for (int i = 0; i < HELD; i++) {
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) {
                if ((place + i * threads) * W::COUNT + j == expert) value[i * W::COUNT + j] = -infinity();
            }
        }
        if (mine && place == 0) {
            u64 to = (u64)row * top_k + rank;
            E weight;
            weight.set(0, __expf(best - most) * factor);
            weight.store(weights, to);
            experts[to] = (u16)expert;
        }
    }
}

// Wide: up to 32 accesses of 16 bytes a row. Odd: up to 1024 elements a row.
#define GATE(NAME, W, HELD, E)                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) gate_topk_##NAME(const void *logits, void *weights, u16 *experts, u32 rows,     \
                                                u32 accesses, u32 top_k, u32 threads) {                        \
        gate<W, HELD, E >(logits, weights, experts, rows, accesses, top_k, threads);                           \
    }

GATE(bf16, Wide<Bf16>, 1, Single<Bf16>)
GATE(f16, Wide<F16>, 1, Single<F16>)
GATE(f32, Wide<F32>, 2, Single<F32>)
GATE(odd_bf16, Single<Bf16>, 32, Single<Bf16>)
GATE(odd_f16, Single<F16>, 32, Single<F16>)
GATE(odd_f32, Single<F32>, 32, Single<F32>)
