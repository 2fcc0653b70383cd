//! Gradients of exported models against another framework's: `nn_gradients DIR`.
//!
//! For each `NAME.onnx` in the directory, `NAME.npz` holds `x`, labels `y`, and that framework's answers in double precision:
//! `gx64`, the gradient of the mean cross-entropy with respect to `x`, or, without one, `out64`, the output.
//! `xtask/peers/nn_models.py` makes such a directory. One line of JSON a model: the
//! largest error, and the share of examples within 1e-5. Where that share is below 1 in double precision, it is the exporter that
//! rounded (it folds BatchNorm in single precision): no reader of the file comes nearer.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring tool for developers")]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ringfence_format::npz;
use ringfence_nn::{Element, Model, Real, Tensor, Want};

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "/tmp/nn-models".to_owned());
    let wanted = std::env::args().nth(2).unwrap_or_default();
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
    names.retain(|path| path.to_string_lossy().contains(&wanted));
    names.sort();
    for path in names {
        println!("{}", line(&path));
    }
}

fn line(path: &Path) -> String {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let found = (|| -> Result<String, String> {
        let file = fs::read(path.with_extension("onnx")).map_err(|error| error.to_string())?;
        let model = Model::parse(&file).map_err(|error| error.to_string())?;
        let case = Case::read(path)?;
        let (double, single) = (case.error::<f64>(&model)?, case.error::<f32>(&model)?);
        let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
        let good = |errors: &[f64]| errors.iter().filter(|error| **error <= 1e-5).count() as f64 / errors.len() as f64;
        Ok(format!(
            r#""compared":"{}","f64":{:.1e},"f64_within_1e-5":{},"f32":{:.1e},"f32_within_1e-5":{}"#,
            case.what,
            worst(&double),
            good(&double),
            worst(&single),
            good(&single)
        ))
    })();
    let found = found.unwrap_or_else(|error| format!(r#""refused":{error:?}"#));
    format!(r#"{{"model":"{name}",{found}}}"#)
}

struct Case {
    x: Tensor<f64>,
    labels: Vec<usize>,
    reference: Tensor<f64>,
    what: &'static str,
}

impl Case {
    fn read(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let arrays = npz::read(&mut Cursor::new(bytes)).map_err(|error| error.to_string())?;
        let find = |name: &str| {
            let array = arrays.iter().find(|array| array.name == name)?;
            Tensor::new(array.shape.clone(), array.values.clone()).ok()
        };
        let labels = find("y").ok_or("no y")?.data;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels are small")]
        let labels = labels.iter().map(|label| *label as usize).collect();
        let x = find("x").ok_or("no x")?;
        match find("gx64") {
            Some(reference) => Ok(Self { x, labels, reference, what: "gradient" }),
            None => Ok(Self { x, labels, reference: find("out64").ok_or("no out64")?, what: "output" }),
        }
    }

    /// For each example max|Δ| / max|reference| of the whole batch's.
    fn error<T: Real>(&self, model: &Model) -> Result<Vec<f64>, String> {
        let x: Tensor<T> = self.x.cast();
        let count = self.labels.len() as f64;
        let found = if self.what == "gradient" && model.element() == Element::Float {
            let gradients = model.gradients(&x, &self.labels, Want::Input).map_err(|error| error.to_string())?;
            let mut input = gradients.input.ok_or("no gradient")?.cast::<f64>();
            input.data.iter_mut().for_each(|number| *number /= count);
            input
        } else {
            model.forward(&x).map_err(|error| error.to_string())?.cast::<f64>()
        };
        if found.shape != self.reference.shape {
            return Err(format!("shape {:?}, not {:?}", found.shape, self.reference.shape));
        }
        let size = self.reference.data.iter().fold(0f64, |size, number| size.max(number.abs()));
        let worst = |(a, b): (&[f64], &[f64])| {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0f64, |worst, gap| if gap.is_nan() { f64::INFINITY } else { worst.max(gap) })
        };
        Ok(found.rows().zip(self.reference.rows()).map(worst).map(|gap| gap / size).collect())
    }
}
