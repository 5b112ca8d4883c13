// Kernels over elements that know no rows, or little of them: GELU, SwiGLU, sums and weighted gathers.
//
// A thread has 4 accesses, a block's width apart, all read before the first is used. `accesses` counts those of
// the whole output, `width` those of one of its rows.

#include "element.cuh"

enum { EACH = 4 };

// GELU in its tanh form; 0.5 * (1 + tanh u) = 1 / (1 + exp(-2u)).
__device__ __forceinline__ float gelu(float x) {
    return x / (1.0f + __expf(-1.5957691216057308f * x * (1.0f + 0.044715f * x * x)));
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

template <typename W> __device__ __forceinline__ void activation(const void *x, void *out, u32 accesses) {
    u32 first = blockIdx.x * (blockDim.x * EACH) + threadIdx.x;
    W from[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) from[i] = W::load(x, at);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            W to;
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) to.set(j, gelu(from[i][j]));
            to.store(out, at);
        }
    }
}

// silu(gate) * up, where each row of `x` holds all of its gate before all of its up.
template <typename W>
__device__ __forceinline__ void gated_activation(const void *x, void *out, u32 accesses, u32 width) {
    u32 first = blockIdx.x * (blockDim.x * EACH) + threadIdx.x;
    W gate[EACH], up[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            u64 from = (u64)at + (u64)(at / width) * width;
            gate[i] = W::load(x, from);
            up[i] = W::load(x, from + width);
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            W to;
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) to.set(j, silu(gate[i][j]) * up[i][j]);
            to.store(out, at);
        }
    }
}

template <typename W>
__device__ __forceinline__ void residual(const void *x, const void *y, void *out, u32 accesses) {
    u32 first = blockIdx.x * (blockDim.x * EACH) + threadIdx.x;
    W a[EACH], b[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            a[i] = W::load(x, at);
            b[i] = W::load(y, at);
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            W to;
#pragma unroll
            for (int j = 0; j < W::COUNT; j++) to.set(j, a[i][j] + b[i][j]);
            to.store(out, at);
        }
    }
}

// Row r of the output is row places[r] of `x`.
template <typename W>
__device__ __forceinline__ void permute(
    const void *x, const u32 *places, void *out, u32 accesses, u32 width) {
    u32 first = blockIdx.x * (blockDim.x * EACH) + threadIdx.x;
    W from[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) {
            u32 row = at / width;
            from[i] = W::load(x, (u64)__ldg(places + row) * width + (at - row * width));
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        u32 at = first + i * blockDim.x;
        if (at < accesses) from[i].store(out, at);
    }
}

// Row r of the output is the sum over j < top_k of weights[r, j] times row places[r, j] of `x`.
template <typename W, typename E>
__device__ __forceinline__ void unpermute(
    const void *x, const void *weights, const u32 *places, void *out, u32 accesses, u32 width, u32 top_k) {
    u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= accesses) return;
    u32 row = at / width, column = at - row * width;
    float sum[W::COUNT];
#pragma unroll
    for (int j = 0; j < W::COUNT; j++) sum[j] = 0.0f;
    u64 route = (u64)row * top_k;
#pragma unroll 4
    for (u32 i = 0; i < top_k; i++) {
        W from = W::load(x, (u64)__ldg(places + route + i) * width + column);
        float weight = E::load(weights, route + i)[0];
#pragma unroll
        for (int j = 0; j < W::COUNT; j++) sum[j] += weight * from[j];
    }
    W to;
#pragma unroll
    for (int j = 0; j < W::COUNT; j++) to.set(j, sum[j]);
    to.store(out, at);
}

#define ACTIVATION(NAME, W)                                                                                    \
    extern "C" __global__ void __launch_bounds__(256) activation_##NAME(const void *x, void *out, u32 accesses) {                     \
        activation<W >(x, out, accesses);                                                                      \
    }
#define GATED_ACTIVATION(NAME, W)                                                                              \
    extern "C" __global__ void __launch_bounds__(256) gated_activation_##NAME(const void *x, void *out, u32 accesses, u32 width) {    \
        gated_activation<W >(x, out, accesses, width);                                                         \
    }
#define RESIDUAL(NAME, W)                                                                                      \
    extern "C" __global__ void __launch_bounds__(256) residual_##NAME(const void *x, const void *y, void *out, u32 accesses) {        \
        residual<W >(x, y, out, accesses);                                                                     \
    }
#define PERMUTE(NAME, W)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) permute_##NAME(                                                                 \
        const void *x, const u32 *places, void *out, u32 accesses, u32 width) {                                \
        permute<W >(x, places, out, accesses, width);                                                          \
    }
#define UNPERMUTE(NAME, W, E)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) unpermute_##NAME(const void *x, const void *weights, const u32 *places,         \
                                                void *out, u32 accesses, u32 width, u32 top_k) {               \
        unpermute<W, E >(x, weights, places, out, accesses, width, top_k);                                     \
    }

FOR_EACH_TYPE(ACTIVATION)
FOR_EACH_TYPE(GATED_ACTIVATION)
FOR_EACH_TYPE(RESIDUAL)
FOR_EACH_TYPE(PERMUTE)
UNPERMUTE(bf16, Wide<Bf16>, Single<Bf16>)
UNPERMUTE(f16, Wide<F16>, Single<F16>)
UNPERMUTE(f32, Wide<F32>, Single<F32>)
UNPERMUTE(odd_bf16, Single<Bf16>, Single<Bf16>)
UNPERMUTE(odd_f16, Single<F16>, Single<F16>)
UNPERMUTE(odd_f32, Single<F32>, Single<F32>)
