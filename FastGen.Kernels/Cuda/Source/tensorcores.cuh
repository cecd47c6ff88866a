// Inline PTX for tensor cores and asynchronous copies: mma.sync, ldmatrix, cp.async (compute capability 8.0); mbarriers, bulk copies, tensor
// maps and clusters (9.0, under HOPPER).
#pragma once
#include "common.cuh"

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

DEVICE void load_matrices(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
DEVICE void load_matrices_transposed(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}

// d[16 × 8] += a[16 × 16] · b[16 × 8]
template <class T> struct Mma;
template <> struct Mma<bf16> {
    static DEVICE void add(float* d, const u32 (&a)[4], u32 b0, u32 b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};
template <> struct Mma<f16> {
    static DEVICE void add(float* d, const u32 (&a)[4], u32 b0, u32 b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};

// Four words of each lane of a quad: lane t ends with word t of every lane, in the lanes' order.
DEVICE void transpose_quad(u32 (&w)[4], int t) {
#pragma unroll
    for (int d = 1; d <= 2; d <<= 1)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (!(i & d)) {
                u32 other = __shfl_xor_sync(~0u, t & d ? w[i] : w[i + d], d);
                if (t & d) w[i] = other;
                else w[i + d] = other;
            }
}

DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 16 bytes to shared memory; zeros where not valid.
DEVICE void copy16(u32 target, const void* source, bool valid) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" :: "r"(target), "l"(source), "r"(valid ? 16 : 0) : "memory");
}
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEVICE void wait_for_copies() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

#if HOPPER
DEVICE void barrier_init(u32 barrier, u32 count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count)); }
DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void barrier_expect(u32 barrier, u32 bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory"); }
DEVICE void barrier_arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory"); }
DEVICE void barrier_wait(u32 barrier, u32 parity) {
    asm volatile("{\n .reg .pred p;\n W: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n @p bra D;\n bra W;\n D:\n}" :: "r"(barrier), "r"(parity) : "memory");
}
// Address and size are multiples of 16 bytes.
DEVICE void bulk_copy(u32 target, const void* source, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" :: "r"(target), "l"(source), "r"(bytes), "r"(barrier) : "memory");
}
struct alignas(64) TensorMap { u64 opaque[16]; };
DEVICE void tensor_copy(u32 target, const TensorMap* map, int x, int y, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
        :: "r"(target), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}
// To the same place in every CTA of the cluster that the mask names, and to its barrier there.
DEVICE void tensor_copy_to_all(u32 target, const TensorMap* map, int x, int y, u32 barrier, u16 mask) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
        :: "r"(target), "l"(map), "r"(x), "r"(y), "r"(barrier), "h"(mask) : "memory");
}
// At another CTA's barrier. Releases nothing beyond the CTA: that would be a fence over the whole device.
DEVICE void barrier_arrive_at(u32 barrier, int rank) {
    u32 a;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(barrier), "r"(rank));
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" :: "r"(a) : "memory");
}
// The two halves of a barrier of the cluster; the first publishes nothing: with a release it would wait for all that the device has to write.
DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// To the same place in another CTA of the cluster; the bytes count at the same barrier there.
DEVICE void send_remote2(const float* p, int rank, float x, float y, u32 barrier) {
    u32 a, b;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(shared_address(p)), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(b) : "r"(barrier), "r"(rank));
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" :: "r"(a), "f"(x), "f"(y), "r"(b) : "memory");
}
// From this CTA's shared memory to another's of the cluster; target and barrier are as they would be here, the bytes count at the barrier there. Address and size are
// multiples of 16 bytes. What threads wrote there must be published first.
DEVICE void bulk_send(u32 target, u32 source, u32 bytes, u32 barrier, int rank) {
    u32 a, b;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(target), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(b) : "r"(barrier), "r"(rank));
    asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" :: "r"(a), "r"(source), "r"(bytes), "r"(b) : "memory");
}
// Between what a thread read or wrote in shared memory and what bulk copies and wgmma do there next. An arrival at a barrier alone does not wait for loads that are still
// under way, and a copy from the second-level cache can come before them.
DEVICE void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#endif
