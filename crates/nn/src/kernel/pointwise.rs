//! Functions of one number, and of two with broadcasting.
//!
//! At kinks the derivative is the one that PyTorch takes: 0 at the corner of `Relu`, 1 on the closed interval of `Clip`.

use super::elementary::{Elementary, Step};
use super::layout::Broadcast;
use crate::real::Real;

/// A function of one number, applied to each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unary {
    Relu,
    LeakyRelu {
        slope: f64,
    },
    Elu {
        alpha: f64,
    },
    Selu {
        alpha: f64,
        gamma: f64,
    },
    Celu {
        alpha: f64,
    },
    Sigmoid,
    HardSigmoid {
        alpha: f64,
        beta: f64,
    },
    HardSwish,
    Tanh,
    Softplus,
    Softsign,
    Gelu,
    GeluTanh,
    Erf,
    Clip {
        low: f64,
        high: f64,
    },
    Exp,
    Log,
    Sqrt,
    Abs,
    Neg,
    Reciprocal,
    Mish,
    ThresholdedRelu {
        alpha: f64,
    },
    /// Towards 0 by `bias` outside of ±`limit`, 0 inside.
    Shrink {
        limit: f64,
        bias: f64,
    },
    Elementary(Elementary),
    Step(Step),
    /// A step to which the user gave the identity's derivative.
    Through(Step),
}

impl Unary {
    pub(crate) fn forward<T: Real>(self, input: &[T], output: &mut [T]) {
        let c = |value: f64| T::of(value);
        let (zero, one) = (T::ZERO, T::ONE);
        let map = output.iter_mut().zip(input);
        // One loop per function, so that the simple ones become SIMD.
        match self {
            Self::Relu => map.for_each(|(y, x)| *y = if *x > zero { *x } else { zero }),
            Self::LeakyRelu { slope } => {
                let slope = c(slope);
                map.for_each(|(y, x)| *y = if *x < zero { slope * *x } else { *x });
            }
            Self::Elu { alpha } => map.for_each(|(y, x)| *y = if *x < zero { c(alpha) * (x.exp() - one) } else { *x }),
            Self::Selu { alpha, gamma } => map.for_each(|(y, x)| {
                *y = c(gamma) * if *x > zero { *x } else { c(alpha) * (x.exp() - one) };
            }),
            Self::Celu { alpha } => map.for_each(|(y, x)| {
                *y = if *x > zero { *x } else { c(alpha) * ((*x / c(alpha)).exp() - one) };
            }),
            Self::Sigmoid => map.for_each(|(y, x)| *y = sigmoid(*x)),
            Self::HardSigmoid { alpha, beta } => {
                let (alpha, beta) = (c(alpha), c(beta));
                map.for_each(|(y, x)| *y = (alpha * *x + beta).larger(zero).smaller(one));
            }
            Self::HardSwish => {
                let (sixth, half) = (c(1.0 / 6.0), c(0.5));
                map.for_each(|(y, x)| *y = *x * (sixth * *x + half).larger(zero).smaller(one));
            }
            Self::Tanh => map.for_each(|(y, x)| *y = x.tanh()),
            Self::Softplus => map.for_each(|(y, x)| *y = softplus(*x)),
            Self::Softsign => map.for_each(|(y, x)| *y = *x / (one + x.abs())),
            Self::Gelu => map.for_each(|(y, x)| *y = *x * normal_cdf(*x)),
            Self::GeluTanh => map.for_each(|(y, x)| *y = c(0.5) * *x * (one + gelu_inner(*x).tanh())),
            Self::Erf => map.for_each(|(y, x)| *y = x.erf()),
            Self::Clip { low, high } => {
                let (low, high) = (c(low), c(high));
                map.for_each(|(y, x)| *y = x.larger(low).smaller(high));
            }
            Self::Exp => map.for_each(|(y, x)| *y = x.exp()),
            Self::Log => map.for_each(|(y, x)| *y = x.ln()),
            Self::Sqrt => map.for_each(|(y, x)| *y = x.sqrt()),
            Self::Abs => map.for_each(|(y, x)| *y = x.abs()),
            Self::Neg => map.for_each(|(y, x)| *y = -*x),
            Self::Reciprocal => map.for_each(|(y, x)| *y = one / *x),
            rare => map.for_each(|(y, x)| *y = rare.rare(*x)),
        }
    }

    /// The value of a function that is not worth a loop of its own.
    fn rare<T: Real>(self, x: T) -> T {
        let c = |value: f64| T::of(value);
        match self {
            Self::Mish => x * softplus(x).tanh(),
            Self::ThresholdedRelu { alpha } if x > c(alpha) => x,
            Self::Shrink { limit, bias } if x < -c(limit) => x + c(bias),
            Self::Shrink { limit, bias } if x > c(limit) => x - c(bias),
            Self::Elementary(function) => function.value(x),
            Self::Step(step) | Self::Through(step) => step.value(x),
            _ => T::ZERO,
        }
    }

    pub(crate) fn backward<T: Real>(self, input: &[T], output: &[T], upstream: &[T], gradient: &mut [T]) {
        if self == Self::Relu {
            let all = gradient.iter_mut().zip(output).zip(upstream);
            return all.for_each(|((g, y), up)| *g += if *y > T::ZERO { *up } else { T::ZERO });
        }
        for (((g, x), y), up) in gradient.iter_mut().zip(input).zip(output).zip(upstream) {
            *g += *up * self.derivative(*x, *y);
        }
    }

    /// The derivative at `x`, where `y` is the function's value.
    fn derivative<T: Real>(self, x: T, y: T) -> T {
        let c = |value: f64| T::of(value);
        let (zero, one) = (T::ZERO, T::ONE);
        let step = |inside: bool| if inside { one } else { zero };
        match self {
            Self::Relu => step(x > zero),
            Self::LeakyRelu { slope } => {
                if x < zero {
                    c(slope)
                } else {
                    one
                }
            }
            Self::Elu { alpha } => {
                if x < zero {
                    y + c(alpha)
                } else {
                    one
                }
            }
            Self::Selu { alpha, gamma } => {
                if x > zero {
                    c(gamma)
                } else {
                    y + c(alpha * gamma)
                }
            }
            Self::Celu { alpha } => {
                if x > zero {
                    one
                } else {
                    (x / c(alpha)).exp()
                }
            }
            Self::Sigmoid => y * (one - y),
            Self::HardSigmoid { alpha, .. } => {
                if y > zero && y < one {
                    c(alpha)
                } else {
                    zero
                }
            }
            Self::HardSwish => {
                if x <= c(-3.0) {
                    zero
                } else if x >= c(3.0) {
                    one
                } else {
                    x / c(3.0) + c(0.5)
                }
            }
            Self::Tanh => one - y * y,
            Self::Softplus => sigmoid(x),
            Self::Softsign => {
                let denominator = one + x.abs();
                one / (denominator * denominator)
            }
            Self::Gelu => normal_cdf(x) + x * c(0.398_942_280_401_432_7) * (c(-0.5) * x * x).exp(),
            Self::GeluTanh => {
                let t = gelu_inner(x).tanh();
                let slope = c(SQRT_2_OVER_PI) * (one + c(3.0 * GELU_CUBIC) * x * x);
                c(0.5) * (one + t) + c(0.5) * x * (one - t * t) * slope
            }
            Self::Erf => c(std::f64::consts::FRAC_2_SQRT_PI) * (-x * x).exp(),
            Self::Clip { low, high } => step(x >= c(low) && x <= c(high)),
            Self::Exp => y,
            Self::Log => one / x,
            Self::Sqrt => c(0.5) / y,
            Self::Abs => {
                if x > zero {
                    one
                } else if x < zero {
                    -one
                } else {
                    zero
                }
            }
            Self::Neg => -one,
            Self::Reciprocal => -y * y,
            Self::Mish => {
                let t = softplus(x).tanh();
                t + x * (one - t * t) * sigmoid(x)
            }
            Self::ThresholdedRelu { alpha } => step(x > c(alpha)),
            Self::Shrink { limit, .. } => step(x < -c(limit) || x > c(limit)),
            Self::Elementary(function) => function.derivative(x),
            Self::Step(_) => zero,
            Self::Through(_) => one,
        }
    }
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    /// Of equal numbers the first is taken, and gets the gradient.
    Max,
    /// As [`Function::Max`].
    Min,
    /// `x` where it is not negative, `slope · x` below.
    PRelu,
    /// The remainder with the sign of the divisor.
    Modulo,
    /// The remainder with the sign of the dividend.
    Remainder,
    /// The quotient without its fraction: the division of integers.
    Quotient,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

impl Function {
    /// Whether the function is constant between its jumps.
    pub(crate) fn is_step(self) -> bool {
        self == Self::Quotient || self.is_truth()
    }

    /// Whether the function answers 0 or 1.
    pub(crate) fn is_truth(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
                | Self::And
                | Self::Or
                | Self::Xor
        )
    }
}

/// A function of two operands, broadcast.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) function: Function,
    pub(crate) walk: Broadcast,
}

impl Binary {
    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let (a, b) = (inputs[0], inputs[1]);
        match self.function {
            Function::Add => self.fill(a, b, output, |x, y| x + y),
            Function::Sub => self.fill(a, b, output, |x, y| x - y),
            Function::Mul => self.fill(a, b, output, |x, y| x * y),
            Function::Div => self.fill(a, b, output, |x, y| x / y),
            Function::Pow => self.fill(a, b, output, power),
            Function::Max => self.fill(a, b, output, T::larger),
            Function::Min => self.fill(a, b, output, T::smaller),
            Function::PRelu => self.fill(a, b, output, |x, slope| if x < T::ZERO { slope * x } else { x }),
            rare => self.fill(a, b, output, |x, y| T::of(uncommon(rare, x.wide(), y.wide()))),
        }
    }

    fn fill<T: Real>(&self, a: &[T], b: &[T], output: &mut [T], function: impl Fn(T, T) -> T) {
        let (length, step_a, step_b) = self.walk.run();
        self.walk.runs(|out, at, bt| {
            let out = &mut output[out..][..length];
            match (step_a, step_b) {
                (1, 1) => {
                    let pairs = a[at..][..length].iter().zip(&b[bt..][..length]);
                    out.iter_mut().zip(pairs).for_each(|(out, (x, y))| *out = function(*x, *y));
                }
                (1, 0) => {
                    let y = b[bt];
                    out.iter_mut().zip(&a[at..][..length]).for_each(|(out, x)| *out = function(*x, y));
                }
                _ => {
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = function(a[at + i * step_a], b[bt + i * step_b]);
                    }
                }
            }
        });
    }

    pub(crate) fn backward<T: Real>(
        &self,
        which: usize,
        inputs: &[&[T]],
        output: &[T],
        upstream: &[T],
        gradient: &mut [T],
    ) {
        let (a, b) = (inputs[0], inputs[1]);
        let (zero, one) = (T::ZERO, T::ONE);
        let pick = |yes: bool| if yes { one } else { zero };
        match (self.function, which) {
            (Function::Add, _) | (Function::Sub, 0) => self.add(which, upstream, gradient, |_, _, _| one),
            (Function::Sub, _) => self.add(which, upstream, gradient, |_, _, _| -one),
            (Function::Mul, 0) => self.add(0, upstream, gradient, |_, _, y| b[y]),
            (Function::Mul, _) => self.add(1, upstream, gradient, |_, x, _| a[x]),
            (Function::Div, 0) => self.add(0, upstream, gradient, |_, _, y| one / b[y]),
            (Function::Div, _) => self.add(1, upstream, gradient, |out, _, y| -output[out] / b[y]),
            (Function::Pow, 0) => {
                self.add(
                    0,
                    upstream,
                    gradient,
                    |_, x, y| if b[y] == zero { zero } else { b[y] * power(a[x], b[y] - one) },
                );
            }
            (Function::Pow, _) => {
                self.add(1, upstream, gradient, |out, x, _| if a[x] > zero { output[out] * a[x].ln() } else { zero });
            }
            (Function::Max, 0) => self.add(0, upstream, gradient, |_, x, y| pick(a[x] >= b[y])),
            (Function::Max, _) => self.add(1, upstream, gradient, |_, x, y| pick(b[y] > a[x])),
            (Function::Min, 0) => self.add(0, upstream, gradient, |_, x, y| pick(a[x] <= b[y])),
            (Function::Min, _) => self.add(1, upstream, gradient, |_, x, y| pick(b[y] < a[x])),
            (Function::PRelu, 0) => self.add(0, upstream, gradient, |_, x, y| if a[x] < zero { b[y] } else { one }),
            (Function::PRelu, _) => self.add(1, upstream, gradient, |_, x, _| if a[x] < zero { a[x] } else { zero }),
            (Function::Modulo | Function::Remainder, 0) => self.add(0, upstream, gradient, |_, _, _| one),
            (Function::Modulo | Function::Remainder, _) => {
                self.add(1, upstream, gradient, |out, x, y| (output[out] - a[x]) / b[y]);
            }
            // Steps: the plan never asks.
            _ => {}
        }
    }

    fn add<T: Real>(
        &self,
        which: usize,
        upstream: &[T],
        gradient: &mut [T],
        derivative: impl Fn(usize, usize, usize) -> T,
    ) {
        let (length, step_a, step_b) = self.walk.run();
        let own = if which == 0 { step_a } else { step_b };
        self.walk.runs(|out, at, bt| {
            let start = if which == 0 { at } else { bt };
            let slope = |i: usize| upstream[out + i] * derivative(out + i, at + i * step_a, bt + i * step_b);
            if own == 0 {
                gradient[start] += (0..length).map(slope).sum();
            } else {
                for i in 0..length {
                    gradient[start + i * own] += slope(i);
                }
            }
        });
    }
}

/// The functions that are rare in networks, in `f64`.
fn uncommon(function: Function, x: f64, y: f64) -> f64 {
    let truth = |yes: bool| if yes { 1.0 } else { 0.0 };
    match function {
        Function::Modulo => x - y * (x / y).floor(),
        Function::Remainder => x % y,
        Function::Quotient => (x / y).trunc(),
        #[expect(clippy::float_cmp, reason = "that is what the operator asks")]
        Function::Equal => truth(x == y),
        Function::Less => truth(x < y),
        Function::LessOrEqual => truth(x <= y),
        Function::Greater => truth(x > y),
        Function::GreaterOrEqual => truth(x >= y),
        Function::And => truth(x != 0.0 && y != 0.0),
        Function::Or => truth(x != 0.0 || y != 0.0),
        Function::Xor => truth((x != 0.0) != (y != 0.0)),
        _ => f64::NAN,
    }
}

fn softplus<T: Real>(x: T) -> T {
    x.larger(T::ZERO) + (-x.abs()).exp().ln_1p()
}

fn power<T: Real>(base: T, exponent: T) -> T {
    if exponent == T::ONE {
        base
    } else if exponent == T::of(2.0) {
        base * base
    } else {
        base.powf(exponent)
    }
}

fn sigmoid<T: Real>(x: T) -> T {
    // The exponent is never positive, so nothing overflows.
    let e = (-x.abs()).exp();
    if x < T::ZERO { e / (T::ONE + e) } else { T::ONE / (T::ONE + e) }
}

/// The distribution function of the normal distribution.
fn normal_cdf<T: Real>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn gelu_inner<T: Real>(x: T) -> T {
    T::of(SQRT_2_OVER_PI) * (x + T::of(GELU_CUBIC) * x * x * x)
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// The cubic term of the tanh approximation (Hendrycks and Gimpel 2016, section 2).
const GELU_CUBIC: f64 = 0.044_715;
