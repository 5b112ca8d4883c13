// What measuring itself needs: random data, a sweep of the cache, and a gate that holds a stream.

#include "element.cuh"

// Repeats `period` elements of `block` over `count` elements of `out`.
template <typename T>
__device__ __forceinline__ void fill(const T *block, T *out, u64 first, u64 count, u32 period) {
    u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += stride) {
        out[first + at] = block[(first + at) % period];
    }
}

extern "C" __global__ void fill_1(const unsigned char *block, unsigned char *out, u64 first, u64 count, u32 period) {
    fill(block, out, first, count, period);
}

extern "C" __global__ void fill_2(const u16 *block, u16 *out, u64 first, u64 count, u32 period) {
    fill(block, out, first, count, period);
}

extern "C" __global__ void fill_4(const u32 *block, u32 *out, u64 first, u64 count, u32 period) {
    fill(block, out, first, count, period);
}

// Reads `accesses` times 16 bytes, so that the cache holds these; the sum is written only if it is a number that
// it never is, so that no read can be left out.
extern "C" __global__ void sweep(const uint4 *from, u32 accesses, u32 *never) {
    u32 sum = 0;
    for (u32 at = blockIdx.x * blockDim.x + threadIdx.x; at < accesses; at += gridDim.x * blockDim.x) {
        uint4 x = from[at];
        sum += (x.x ^ x.y) + (x.z ^ x.w);
    }
    if (sum == 0x5eed5eedu && accesses == 0xffffffffu) *never = sum;
}

// Ends when `*open` is no longer 0, or after `nanoseconds`: what is queued behind it starts at once then.
extern "C" __global__ void gate(const volatile u32 *open, u64 nanoseconds) {
    u64 start, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (*open == 0 && now - start < nanoseconds);
}
