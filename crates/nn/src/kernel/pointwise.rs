//! Functions of one number, and of two with broadcasting.
//!
//! At kinks the derivative is the one that PyTorch takes: 0 at the corner of `Relu`, 1 on the closed interval of `Clip`.

use super::elementary::{Elementary, Step};
use super::layout::Broadcast;
use super::smooth;
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
        if let (Some(input), Some(output)) = (T::single(input), T::single_mut(output))
            && smooth::forward(self, input, output)
        {
            return;
        }
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
        let all = gradient.iter_mut().zip(output).zip(upstream);
        match self {
            Self::Relu => return all.for_each(|((g, y), up)| *g += if *y > T::ZERO { *up } else { T::ZERO }),
            Self::Clip { low, high } => {
                let (low, high) = (T::of(low), T::of(high));
                let all = gradient.iter_mut().zip(input).zip(upstream);
                return all.for_each(|((g, x), up)| *g += if *x >= low && *x <= high { *up } else { T::ZERO });
            }
            _ => {}
        }
        if let (Some(input), Some(upstream), Some(gradient)) =
            (T::single(input), T::single(upstream), T::single_mut(gradient))
            && smooth::backward(self, input, upstream, gradient)
        {
            return;
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
                (0, 1) => {
                    let x = a[at];
                    out.iter_mut().zip(&b[bt..][..length]).for_each(|(out, y)| *out = function(x, *y));
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
        let (zero, one) = (T::ZERO, T::ONE);
        let pick = |yes: bool| if yes { one } else { zero };
        let all = Chain { which, inputs, output, upstream };
        match (self.function, which) {
            (Function::Add, _) | (Function::Sub, 0) => self.add(all, gradient, |_, _, _| one),
            (Function::Sub, _) => self.add(all, gradient, |_, _, _| -one),
            (Function::Mul, _) => self.add(all, gradient, |_, _, other| other),
            (Function::Div, 0) => self.add(all, gradient, |_, _, divisor| one / divisor),
            (Function::Div, _) => self.add(all, gradient, |z, divisor, _| -z / divisor),
            (Function::Pow, 0) => {
                let slope = |base, exponent| exponent * power(base, exponent - one);
                self.add(
                    all,
                    gradient,
                    |_, base, exponent| if exponent == zero { zero } else { slope(base, exponent) },
                );
            }
            (Function::Pow, _) => {
                self.add(all, gradient, |z, _, base| if base > zero { z * base.ln() } else { zero });
            }
            (Function::Max, 0) => self.add(all, gradient, |_, x, y| pick(x >= y)),
            (Function::Max, _) => self.add(all, gradient, |_, y, x| pick(y > x)),
            (Function::Min, 0) => self.add(all, gradient, |_, x, y| pick(x <= y)),
            (Function::Min, _) => self.add(all, gradient, |_, y, x| pick(y < x)),
            (Function::PRelu, 0) => self.add(all, gradient, |_, x, slope| if x < zero { slope } else { one }),
            (Function::PRelu, _) => self.add(all, gradient, |_, _, x| if x < zero { x } else { zero }),
            (Function::Modulo | Function::Remainder, 0) => self.add(all, gradient, |_, _, _| one),
            (Function::Modulo | Function::Remainder, _) => self.add(all, gradient, |z, y, x| (z - x) / y),
            // Steps: the plan never asks.
            _ => {}
        }
    }

    /// `derivative` takes the function's value, the operand by which it is derived, and the other one.
    fn add<T: Real>(&self, all: Chain<'_, T>, gradient: &mut [T], derivative: impl Fn(T, T, T) -> T) {
        let Chain { which, inputs, output, upstream } = all;
        let (length, step_a, step_b) = self.walk.run();
        let turned = |a: usize, b: usize| if which == 0 { (a, b) } else { (b, a) };
        let (own, other) = (inputs[which], inputs[1 - which]);
        let (step, other_step) = turned(step_a, step_b);
        self.walk.runs(|out, a, b| {
            let (at, other_at) = turned(a, b);
            let above = output[out..][..length].iter().zip(&upstream[out..][..length]);
            match (step, other_step) {
                (1, 1) => {
                    let below = own[at..][..length].iter().zip(&other[other_at..][..length]);
                    let terms = above.zip(below).map(|((z, up), (x, y))| *up * derivative(*z, *x, *y));
                    gradient[at..][..length].iter_mut().zip(terms).for_each(|(g, term)| *g += term);
                }
                (1, 0) => {
                    let (below, y) = (&own[at..][..length], other[other_at]);
                    let terms = above.zip(below).map(|((z, up), x)| *up * derivative(*z, *x, y));
                    gradient[at..][..length].iter_mut().zip(terms).for_each(|(g, term)| *g += term);
                }
                _ => {
                    let terms = above
                        .enumerate()
                        .map(|(i, (z, up))| *up * derivative(*z, own[at + i * step], other[other_at + i * other_step]));
                    if step == 0 {
                        gradient[at] += terms.sum();
                    } else {
                        terms.enumerate().for_each(|(i, term)| gradient[at + i * step] += term);
                    }
                }
            }
        });
    }
}

/// What the gradient of one of two operands is made of.
struct Chain<'c, T> {
    which: usize,
    inputs: &'c [&'c [T]],
    output: &'c [T],
    upstream: &'c [T],
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
