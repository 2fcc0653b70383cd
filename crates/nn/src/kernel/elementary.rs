//! Functions of one number that come from the textbook, and those that are constant between their jumps.
//!
//! They are computed in `f64` and rounded: they are rare in networks, and the precision is then that of the reference.

use crate::real::Real;

/// A smooth function with a closed derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elementary {
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
}

impl Elementary {
    pub(super) fn value<T: Real>(self, x: T) -> T {
        let x = x.wide();
        T::of(match self {
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asinh => x.asinh(),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
        })
    }

    pub(super) fn derivative<T: Real>(self, x: T) -> T {
        let x = x.wide();
        T::of(match self {
            Self::Sin => x.cos(),
            Self::Cos => -x.sin(),
            Self::Tan => 1.0 + x.tan() * x.tan(),
            Self::Asin => 1.0 / (1.0 - x * x).sqrt(),
            Self::Acos => -1.0 / (1.0 - x * x).sqrt(),
            Self::Atan => 1.0 / (1.0 + x * x),
            Self::Sinh => x.cosh(),
            Self::Cosh => x.sinh(),
            Self::Asinh => 1.0 / (x * x + 1.0).sqrt(),
            Self::Acosh => 1.0 / (x * x - 1.0).sqrt(),
            Self::Atanh => 1.0 / (1.0 - x * x),
        })
    }
}

/// A function that is constant between its jumps: its derivative is 0 wherever it has one, and says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Floor,
    Ceil,
    /// To the nearest integer, halves to the even one.
    Round,
    Sign,
    /// Towards 0: what a cast to an integer does.
    Truncate,
    /// 1 where it is not 0: what a cast to a truth value does.
    Truth,
    Not,
    IsNan,
    /// 1 where it is an infinity of a sign that counts.
    IsInfinite {
        negative: bool,
        positive: bool,
    },
}

impl Step {
    pub(super) fn value<T: Real>(self, x: T) -> T {
        let x = x.wide();
        let truth = |yes: bool| if yes { 1.0 } else { 0.0 };
        T::of(match self {
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Sign if x == 0.0 || x.is_nan() => x,
            Self::Sign => x.signum(),
            Self::Truncate => x.trunc(),
            Self::Truth => truth(x != 0.0),
            Self::Not => truth(x == 0.0),
            Self::IsNan => truth(x.is_nan()),
            Self::IsInfinite { negative, positive } => {
                truth((positive && x == f64::INFINITY) || (negative && x == f64::NEG_INFINITY))
            }
        })
    }

    /// Whether its value stays near its argument, so that an identity can stand in for its derivative.
    pub(crate) fn rounds(self) -> bool {
        matches!(self, Self::Floor | Self::Ceil | Self::Round | Self::Truncate)
    }
}
