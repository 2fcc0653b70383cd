//! Speed of PGD on the MNIST network of Wong et al. 2020, printed as one JSON object.
//!
//! Labels are the network's own answers and the radius is tiny, so no example is fooled early and every one costs all 40
//! gradients and the last prediction. Weights are fresh: speed does not depend on them. Linux only (CPU time is read from
//! `/proc`).

use std::{error::Error, fs, io::Write as _, time::Instant};

use ringfence_attack::{Examples, Plan, attack, predict};
use ringfence_nn::{Model, Tensor, builder::Builder, random::Random};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Builder::new("wong", 1)
        .input("image", &[1, 28, 28])
        .conv(16, [4, 4], [2, 2], [1, 1])
        .relu()
        .conv(32, [4, 4], [2, 2], [1, 1])
        .relu()
        .flatten()
        .linear(100)
        .relu()
        .linear(10)
        .finish()?;
    let model = Model::parse(&file)?;
    let mut random = Random::new(1);
    let data = (0..IMAGES * 28 * 28).map(|_| random.uniform_in(0.0, 1.0)).collect();
    let blind = Examples::new(Tensor::new(vec![IMAGES, 1, 28, 28], data)?, vec![0; IMAGES])?;
    let labels = predict(&model, &blind)?.into_iter().map(Option::unwrap_or_default).collect();
    let images = Examples::new(blind.inputs().clone(), labels)?;

    let plan = Plan { eps: vec![EPS], restarts: 1, margin_restarts: 0, noise_tries: 1, ..Plan::default() };
    let clock = Clock::start()?;
    let (mut before, mut spent) = (clock, None);
    let report = attack(&model, &images, &plan, &mut |progress| {
        let now = Clock::start();
        if let Ok(now) = now {
            if progress.what.starts_with("pgd") {
                spent = Some(now.since(&before));
            }
            before = now;
        }
    })?;
    let (wall, cpu) = spent.ok_or("no PGD row")?;
    let queries: u64 = report.results.iter().filter(|row| row.attack.starts_with("pgd")).map(|row| row.queries).sum();
    if queries != (IMAGES * 41) as u64 {
        return Err(format!("{queries} queries: some example was fooled early").into());
    }
    let figures = serde_json::json!({
        "network": "Wong 2020 MNIST CNN",
        "images": IMAGES,
        "pgd40_images_per_cpu_second": (IMAGES as f64 / cpu).round(),
        "pgd40_images_per_second": (IMAGES as f64 / wall).round(),
        "gradients_per_cpu_second": (queries as f64 / cpu).round(),
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// A moment in wall time and in CPU time of the whole process.
#[derive(Clone, Copy)]
struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    /// Reads both; `/proc/self/stat` counts user and system time in hundredths of a second (proc(5), fields 14 and 15).
    fn start() -> Result<Self, Box<dyn Error>> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("unknown form of /proc/self/stat")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(Self { wall: Instant::now(), cpu: f64::from(ticks) / 100.0 })
    }

    /// Seconds since an earlier moment: wall, CPU.
    fn since(&self, earlier: &Self) -> (f64, f64) {
        (self.wall.duration_since(earlier.wall).as_secs_f64(), self.cpu - earlier.cpu)
    }
}

const IMAGES: usize = 2_000;
const EPS: f64 = 1e-6;
