//! Prints, as JSON, how fast the runtime is on this machine: `cargo run --release -p ringfence-nn --example nn_bench`.
//!
//! The model is the convolutional network for MNIST of Wong et al. 2020: conv 16 4×4/2, conv 32 4×4/2, 100, 10. Rates are
//! images per second of processor time. Beside them stands the share of the machine's ceiling: one core's peak, measured
//! by independent multiply-adds in registers, and what the matrix product reaches at a large square.
#![expect(clippy::print_stdout, reason = "a benchmark's output")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::time::Instant;

use ringfence_nn::builder::Builder;
use ringfence_nn::random::Random;
use ringfence_nn::{Model, Tensor, Want};

fn main() {
    let model = wong();
    let (x, labels) = batch(512);
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let peak = peak();
    let square = square();
    let mut rows = Vec::new();
    for threads in if all == 1 { vec![1] } else { vec![1, all] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rates = pool.install(|| {
            [
                rate("forward", || drop(black_box(model.forward(&x).unwrap()))),
                rate("input gradient", || drop(black_box(model.gradients(&x, &labels, Want::Input).unwrap()))),
                rate("parameter gradient", || drop(black_box(model.gradients(&x, &labels, Want::Parameters).unwrap()))),
            ]
        });
        for (what, per_second, per_cpu_second) in rates {
            let operations = if what == "forward" { FORWARD } else { FORWARD + gradient(what) };
            let reached = per_cpu_second * operations / 1e9;
            rows.push(format!(
                "    {{\"what\": \"{what}\", \"threads\": {threads}, \"images_per_second\": {per_second:.0}, \
                 \"images_per_cpu_second\": {per_cpu_second:.0}, \"gflops_per_cpu\": {reached:.1}, \"share_of_peak\": {:.3}}}",
                reached / peak
            ));
        }
    }
    println!("{{\n  \"schema\": \"ringfence.bench.nn/1\",\n  \"model\": \"wong-mnist\",\n  \"batch\": 512,");
    println!("  \"peak_gflops_per_core\": {peak:.1},\n  \"square_product_gflops_per_core\": {square:.1},");
    println!("  \"rates\": [\n{}\n  ]\n}}", rows.join(",\n"));
}

/// Multiplications and additions of a forward pass, by layer: outputs × inputs each × 2.
const LAYERS: [f64; 4] = [16.0 * 196.0 * 16.0, 32.0 * 49.0 * 256.0, 100.0 * 1568.0, 10.0 * 100.0];
const FORWARD: f64 = 2.0 * (LAYERS[0] + LAYERS[1] + LAYERS[2] + LAYERS[3]);

fn gradient(what: &str) -> f64 {
    // The gradient of the parameters does not go through the first layer to the input.
    if what == "input gradient" { FORWARD } else { 2.0 * FORWARD - 2.0 * LAYERS[0] }
}

fn wong() -> Model {
    let net = Builder::new("wong", 1).input("x", &[1, 28, 28]).conv(16, [4, 4], [2, 2], [1, 1]).relu();
    let net = net.conv(32, [4, 4], [2, 2], [1, 1]).relu().flatten().linear(100).relu().linear(10);
    Model::parse(&net.finish().unwrap()).unwrap()
}

fn batch(count: usize) -> (Tensor<f32>, Vec<usize>) {
    let mut random = Random::new(2);
    let mut x = Tensor::zeros(&[count, 1, 28, 28]).unwrap();
    x.data.iter_mut().for_each(|number| *number = random.uniform_in(0.0, 1.0));
    (x, (0..count).map(|row| row % 10).collect())
}

/// Images per second, and per second of processor time, over about a second.
fn rate(what: &'static str, mut pass: impl FnMut()) -> (&'static str, f64, f64) {
    pass();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut passes = 0.0;
    while start.elapsed().as_secs_f64() < 1.0 {
        pass();
        passes += 1.0;
    }
    let wall = start.elapsed().as_secs_f64();
    // The kernel counts in hundredths; where it does not count at all, the wall clock must do.
    let cpu = match (cpu, cpu_seconds()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => wall,
    };
    (what, passes * 512.0 / wall, passes * 512.0 / cpu)
}

/// User and system time of this process, in seconds, from `/proc/self/stat` (fields 14 and 15, hundredths of a second).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// GFLOP/s of one core by multiply-adds that need nothing but registers.
fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "a function compiled for AVX-512")]
            // SAFETY: the feature was detected on the line above.
            return unsafe { peak_avx512() };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "a function compiled for AVX2 and FMA")]
            // SAFETY: both features were detected on the line above.
            return unsafe { peak_avx2() };
        }
    }
    multiply_adds::<32>(|a, b, c| a * b + c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn peak_avx512() -> f64 {
    multiply_adds::<192>(f32::mul_add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn peak_avx2() -> f64 {
    multiply_adds::<96>(f32::mul_add)
}

/// `LANES` independent chains of multiply-adds.
#[inline(always)]
fn multiply_adds<const LANES: usize>(step: impl Fn(f32, f32, f32) -> f32) -> f64 {
    // Short enough to fit between two interruptions, so that the best of many is undisturbed.
    const ROUNDS: usize = 1 << 14;
    let mut chains = [1.0f32; LANES];
    let (factor, term) = (black_box(0.999_999f32), black_box(1e-6f32));
    let mut best = 0.0f64;
    for _ in 0..1000 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = step(*chain, factor, term);
            }
        }
        black_box(&mut chains);
        best = best.max(2.0 * (LANES * ROUNDS) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// GFLOP/s of one core in a 512 × 512 × 512 product, through the runtime.
fn square() -> f64 {
    let side = 512;
    let file = Builder::new("square", 1).input("x", &[side]).linear(side).finish().unwrap();
    let model = Model::parse(&file).unwrap();
    let x = Tensor::<f32>::zeros(&[side, side]).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (_, rate, _) = pool.install(|| rate("square", || drop(black_box(model.forward(&x).unwrap()))));
    rate * 2.0 * (side * side) as f64 / 1e9
}
