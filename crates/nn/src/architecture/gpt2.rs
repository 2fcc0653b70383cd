//! A small GPT: `GPT2LMHeadModel` of Hugging Face's transformers, its `config.json` and the names of its tensors (Radford et
//! al. 2019; transformers 5, `models/gpt2`). Its dense layers are stored `[in, out]`.

use ringfence_format::onnx::Dimension;
use ringfence_format::onnx::write::AttributeInput;

use super::chain::activate;
use super::error::ArchitectureError;
use super::fields::Fields;
use super::layer::Activation;
use super::network::{Dim, Network, int};
use super::transformer::{At, Heads, NEVER, Rows, depth, sequences};

/// The numbers of a configuration; what it leaves out has the value that transformers gives it.
#[derive(Debug, Clone)]
pub(super) struct Gpt2 {
    vocabulary: usize,
    positions: usize,
    hidden: usize,
    layers: usize,
    heads: Heads,
    inner: usize,
    activation: Activation,
    epsilon: f64,
    scaled: bool,
    scaled_by_layer: bool,
    tied: bool,
    length: Option<usize>,
}

impl Gpt2 {
    /// Reads a configuration; `length` fixes the sequence.
    pub(super) fn read(fields: &Fields<'_>, length: Option<usize>) -> Result<Self, ArchitectureError> {
        let hidden = fields.positive("n_embd", 768)?;
        let name = fields.text("activation_function")?.unwrap_or("gelu_new");
        let activation = Activation::of_transformers(name);
        let unknown = || fields.wrong("activation_function", &format!("is `{name}`, which is not known"));
        if fields.flag("add_cross_attention", false)? {
            return Err(fields.wrong("add_cross_attention", "is true: decoders of this kind are not read"));
        }
        let positions = fields.positive("n_positions", 1024)?;
        if length.is_some_and(|length| length > positions) {
            return Err(fields.wrong("sequence", &format!("is beyond the {positions} positions of the model")));
        }
        Ok(Self {
            vocabulary: fields.positive("vocab_size", 50_257)?,
            positions,
            hidden,
            layers: depth(fields, "n_layer", 12)?,
            heads: Heads::of(fields, "n_head", 12, hidden)?,
            inner: fields.positive("n_inner", hidden.saturating_mul(4))?,
            activation: activation.ok_or_else(unknown)?,
            epsilon: fields.epsilon("layer_norm_epsilon", 1e-5)?,
            scaled: fields.flag("scale_attn_weights", true)?,
            scaled_by_layer: fields.flag("scale_attn_by_inverse_layer_idx", false)?,
            tied: fields.flag("tie_word_embeddings", true)?,
            length,
        })
    }

    /// Writes the network: token ids in, logits of the next token at each place out.
    pub(super) fn write(&self, network: &mut Network<'_, '_>) -> Result<(String, Vec<Dim>), ArchitectureError> {
        network.input(IDS, true, &sequences(self.length));
        // The model alone, as it was first published, has no prefix.
        let prefix = if network.tensors.holds("wte.weight") { "" } else { "transformer." };
        let at = |name: &str| At(format!("{prefix}{name}"));
        let mut rows = Rows::new(network, IDS, self.hidden, self.heads);
        let square = rows.square();
        let mask = rows.network.upper_triangle("mask", &square, NEVER);
        let places = rows.places();
        let words = rows.embed(&at("wte"), IDS, self.vocabulary)?;
        let places = rows.embed(&at("wpe"), &places, self.positions)?;
        let sum = rows.add(&at("wpe"), &words, &places);
        let mut state = rows.flatten(&sum);
        for layer in 0..self.layers {
            state = self.block(&mut rows, (&at(&format!("h.{layer}")), layer), &state, &mask)?;
        }
        let state = rows.norm(&at("ln_f"), &state, self.epsilon)?;
        let words = at("wte").part("weight").0;
        let head = "lm_head.weight".to_owned();
        let table = if self.tied {
            rows.network.tensors.repeats("lm_head", &head, &words)?;
            words
        } else {
            rows.network.weight("lm_head", &head, &[Some(self.vocabulary), Some(self.hidden)])?;
            head
        };
        let turn = ("transB", AttributeInput::Int(1));
        let logits = rows.network.node("lm_head", "Gemm", &[&state, &table], &[turn]);
        let logits = rows.unflatten(&logits, self.vocabulary);
        let [batch, sequence] = sequences(self.length);
        Ok((logits, vec![batch, sequence, Dimension::Fixed(int(self.vocabulary))]))
    }

    fn block(
        &self,
        rows: &mut Rows<'_, '_, '_>,
        (at, number): (&At, usize),
        state: &str,
        mask: &str,
    ) -> Result<String, ArchitectureError> {
        let attention = at.part("attn");
        let normed = rows.norm(&at.part("ln_1"), state, self.epsilon)?;
        let all = rows.turned(&attention.part("c_attn"), &normed, [self.hidden, self.hidden.saturating_mul(3)])?;
        let [query, key, value] = rows.network.thirds(&attention.0, &all, int(self.hidden));
        let mixed = rows.attend(&attention, [&query, &key, &value], self.scale(number), mask);
        let mixed = rows.turned(&attention.part("c_proj"), &mixed, [self.hidden; 2])?;
        let state = rows.add(&attention, &mixed, state);
        let inner = at.part("mlp");
        let normed = rows.norm(&at.part("ln_2"), &state, self.epsilon)?;
        let wide = rows.turned(&inner.part("c_fc"), &normed, [self.hidden, self.inner])?;
        let wide = activate(rows.network, &inner.0, &wide, self.activation);
        let narrow = rows.turned(&inner.part("c_proj"), &wide, [self.inner, self.hidden])?;
        Ok(rows.add(&inner, &narrow, &state))
    }

    #[expect(clippy::cast_precision_loss, reason = "a width and a layer's number, far below 2^52")]
    fn scale(&self, layer: usize) -> f64 {
        let scale = if self.scaled { 1.0 / (self.heads.width as f64).sqrt() } else { 1.0 };
        if self.scaled_by_layer { scale / (layer + 1) as f64 } else { scale }
    }
}

const IDS: &str = "input_ids";
