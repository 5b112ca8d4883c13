// Element types, 16-byte accesses and reductions that the kernels share.
//
// 16-bit floats are converted by instructions named here, so that no header of a toolkit is needed to compile.

#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// The number that a bit pattern stands for, and the nearest pattern of a number.
struct Bf16 {
    typedef u16 Bits;
    static __device__ __forceinline__ float number(u16 bits) { return __uint_as_float((u32)bits << 16); }
    static __device__ __forceinline__ u16 bits(float x) {
        u16 out;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out) : "f"(x));
        return out;
    }
};

struct F16 {
    typedef u16 Bits;
    static __device__ __forceinline__ float number(u16 bits) {
        float out;
        asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(bits));
        return out;
    }
    static __device__ __forceinline__ u16 bits(float x) {
        u16 out;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(x));
        return out;
    }
};

struct F32 {
    typedef u32 Bits;
    static __device__ __forceinline__ float number(u32 bits) { return __uint_as_float(bits); }
    static __device__ __forceinline__ u32 bits(float x) { return __float_as_uint(x); }
};

// What one thread reads or writes at once: 16 bytes.
template <typename E> struct Wide {
    enum { COUNT = 16 / sizeof(typename E::Bits) };
    union {
        uint4 whole;
        typename E::Bits part[COUNT];
    };
    __device__ __forceinline__ float operator[](int i) const { return E::number(part[i]); }
    __device__ __forceinline__ void set(int i, float x) { part[i] = E::bits(x); }
    static __device__ __forceinline__ Wide load(const void *base, u64 at) {
        Wide out;
        out.whole = __ldg(reinterpret_cast<const uint4 *>(base) + at);
        return out;
    }
    __device__ __forceinline__ void store(void *base, u64 at) const {
        reinterpret_cast<uint4 *>(base)[at] = whole;
    }
};

// One element, with the same face: for rows whose width is no multiple of 16 bytes.
template <typename E> struct Single {
    enum { COUNT = 1 };
    typename E::Bits part;
    __device__ __forceinline__ float operator[](int) const { return E::number(part); }
    __device__ __forceinline__ void set(int, float x) { part = E::bits(x); }
    static __device__ __forceinline__ Single load(const void *base, u64 at) {
        Single out;
        out.part = __ldg(reinterpret_cast<const typename E::Bits *>(base) + at);
        return out;
    }
    __device__ __forceinline__ void store(void *base, u64 at) const {
        reinterpret_cast<typename E::Bits *>(base)[at] = part;
    }
};

struct Sum {
    static __device__ __forceinline__ float none() { return 0.0f; }
    static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};

struct Largest {
    static __device__ __forceinline__ float none() { return -infinity(); }
    static __device__ __forceinline__ float join(float a, float b) { return fmaxf(a, b); }
};

// Joins one number of each thread of a row: threads along x, at most 1024, a multiple of 32. `scratch` holds 32
// numbers, used by this call alone. Rows side by side along y have one warp each.
template <typename J> __device__ __forceinline__ float across(float value, float *scratch) {
    for (int step = 16; step > 0; step /= 2) value = J::join(value, __shfl_xor_sync(0xffffffffu, value, step));
    if (blockDim.x == 32) return value;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    value = lane < blockDim.x / 32 ? scratch[lane] : J::none();
    for (int step = 16; step > 0; step /= 2) value = J::join(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// Defines NAME_bf16, NAME_f16 and NAME_f32, in 16-byte accesses, and NAME_odd_… element by element.
#define FOR_EACH_TYPE(DEFINE)                                                                                  \
    DEFINE(bf16, Wide<Bf16>)                                                                                   \
    DEFINE(f16, Wide<F16>)                                                                                     \
    DEFINE(f32, Wide<F32>)                                                                                     \
    DEFINE(odd_bf16, Single<Bf16>)                                                                             \
    DEFINE(odd_f16, Single<F16>)                                                                               \
    DEFINE(odd_f32, Single<F32>)
