// Kernels over whole rows: layernorm and softmax.
//
// The threads along x share a row, which they hold in registers from its only read to its write; rows wider than
// 4 accesses a thread are read again instead, mostly from the cache. `accesses` is the width of a row in accesses.

#include "element.cuh"

enum { HELD = 4 };

// (x - mean) / sqrt(variance + 1e-5) * scale + shift
template <typename W>
__device__ __forceinline__ void layernorm(
    const void *x, const void *scale, const void *shift, void *out, u32 rows, u32 accesses) {
    __shared__ float sums[32], squares[32];
    u32 row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    u64 first = (u64)row * accesses;
    float count = (float)accesses * W::COUNT;
    bool held = accesses <= HELD * blockDim.x;
    W kept[HELD];
    float sum = 0.0f;
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            u32 at = threadIdx.x + i * blockDim.x;
            if (at < accesses) kept[i] = W::load(x, first + at);
        }
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (threadIdx.x + i * blockDim.x < accesses) {
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) sum += kept[i][j];
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at);
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) sum += wide[j];
        }
    }
    float mean = across<Sum>(sum, sums) / count;
    float square = 0.0f;
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (threadIdx.x + i * blockDim.x < accesses) {
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) square += (kept[i][j] - mean) * (kept[i][j] - mean);
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at);
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) square += (wide[j] - mean) * (wide[j] - mean);
        }
    }
    float factor = rsqrtf(across<Sum>(square, squares) / count + 1e-5f);
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            u32 at = threadIdx.x + i * blockDim.x;
            if (at < accesses) {
                W by = W::load(scale, at), plus = W::load(shift, at), to;
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) to.set(j, (kept[i][j] - mean) * factor * by[j] + plus[j]);
                to.store(out, first + at);
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at), by = W::load(scale, at), plus = W::load(shift, at), to;
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) to.set(j, (wide[j] - mean) * factor * by[j] + plus[j]);
            to.store(out, first + at);
        }
    }
}

// exp(x - max) / sum of exp(x - max)
template <typename W>
__device__ __forceinline__ void softmax(const void *x, void *out, u32 rows, u32 accesses) {
    __shared__ float most_of[32], sums[32];
    u32 row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    u64 first = (u64)row * accesses;
    bool held = accesses <= HELD * blockDim.x;
    const float log2_e = 1.4426950408889634f;
    W kept[HELD];
    float most = -infinity();
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            u32 at = threadIdx.x + i * blockDim.x;
            if (at < accesses) kept[i] = W::load(x, first + at);
        }
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (threadIdx.x + i * blockDim.x < accesses) {
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) most = fmaxf(most, kept[i][j]);
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at);
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) most = fmaxf(most, wide[j]);
        }
    }
    most = across<Largest>(most, most_of);
    float sum = 0.0f;
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (threadIdx.x + i * blockDim.x < accesses) {
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) sum += exp2f((kept[i][j] - most) * log2_e);
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at);
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) sum += exp2f((wide[j] - most) * log2_e);
        }
    }
    float factor = 1.0f / across<Sum>(sum, sums);
    if (held) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            u32 at = threadIdx.x + i * blockDim.x;
            if (at < accesses) {
                W to;
#pragma unroll
                for (int j = 0; j < W::COUNT; j++) to.set(j, exp2f((kept[i][j] - most) * log2_e) * factor);
                to.store(out, first + at);
            }
        }
    } else {
        for (u32 at = threadIdx.x; at < accesses; at += blockDim.x) {
            W wide = W::load(x, first + at), to;
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) to.set(j, exp2f((wide[j] - most) * log2_e) * factor);
            to.store(out, first + at);
        }
    }
}

#define LAYERNORM(NAME, W)                                                                                     \
    extern "C" __global__ void __launch_bounds__(1024) layernorm_##NAME(                                                               \
        const void *x, const void *scale, const void *shift, void *out, u32 rows, u32 accesses) {              \
        layernorm<W >(x, scale, shift, out, rows, accesses);                                                   \
    }
#define SOFTMAX(NAME, W)                                                                                       \
    extern "C" __global__ void __launch_bounds__(1024) softmax_##NAME(const void *x, void *out, u32 rows, u32 accesses) {              \
        softmax<W >(x, out, rows, accesses);                                                                   \
    }

FOR_EACH_TYPE(LAYERNORM)
FOR_EACH_TYPE(SOFTMAX)
