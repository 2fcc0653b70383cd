//! Privacy tests on models whose memory is known: by construction, by heart, or none.

use ringfence_attack::{
    AttackError, Callback, Canary, Examples, LanguagePlan, PrivacyPlan, Reference, ReferencePlan, ReferenceSignals,
    Side, Signals, Spread, canary_exposure, extract, lira, membership, privacy, privacy_of_language, rmia,
};
use ringfence_nn::{Model, Tensor, builder::Builder, random::Random};
use ringfence_schema::{Digest, privacy::Leak};

use crate::models::{by_heart, digits, linear, mislabelled, numbers, part, trained};

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// Four examples, two of them members, before four references.
fn few() -> Signals {
    let reference = |confidence: [f64; 4], contains: [bool; 4]| ReferenceSignals {
        confidence: confidence.to_vec(),
        contains: contains.to_vec(),
    };
    Signals {
        target: vec![4.0, 1.0, 0.0, 2.0],
        member: vec![true, true, false, false],
        references: vec![
            reference([3.0, 0.0, 1.0, 2.0], [true, false, true, false]),
            reference([5.0, 2.0, -1.0, 4.0], [true, true, false, true]),
            reference([0.0, 1.0, 2.0, 1.0], [false, true, true, false]),
            reference([1.0, -1.0, 0.0, 3.0], [false, false, false, true]),
        ],
    }
}

#[test]
fn lira_is_the_ratio_of_two_normal_densities() {
    let signals = few();
    // Every pair of references lies 1 apart, but for the first example's inside: 3 and 5.
    let online = lira(&signals, Side::Online, Spread::Global).unwrap();
    // Inside: squared residuals 2 + .5 · 3 over 4 degrees of freedom; outside: .5 · 4 over 4.
    let (inside, outside) = ((3.5_f64 / 4.0).sqrt(), (2.0_f64 / 4.0).sqrt());
    let density = |x: f64, mean: f64, deviation: f64| -((x - mean) / deviation).powi(2) / 2.0 - deviation.ln();
    near(online[0], density(4.0, 4.0, inside) - density(4.0, 0.5, outside));
    near(online[3], density(2.0, 3.5, inside) - density(2.0, 1.5, outside));
    let offline = lira(&signals, Side::Offline, Spread::Global).unwrap();
    near(offline[0], 3.5 / outside);
    near(offline[2], 0.5 / outside);
    let own = lira(&signals, Side::Online, Spread::PerExample).unwrap();
    near(own[0], density(4.0, 4.0, 2.0_f64.sqrt()) - density(4.0, 0.5, 0.5_f64.sqrt()));
}

#[test]
fn rmia_counts_the_population_that_an_example_beats() {
    let signals = few();
    let p = |confidence: f64| 1.0 / (1.0 + (-confidence).exp());
    let ratio = |at: f64, pairs: [f64; 4]| p(at) / (pairs.into_iter().map(p).sum::<f64>() / 4.0);
    // Members beat a share of both non-members; a non-member of the other alone.
    let others = [ratio(0.0, [1.0, 2.0, -1.0, 0.0]), ratio(2.0, [4.0, 3.0, 2.0, 1.0])];
    let first = ratio(4.0, [3.0, 5.0, 0.0, 1.0]);
    let beaten = others.iter().filter(|other| **other <= first).count() as f64;
    let found = rmia(&signals, Side::Online).unwrap();
    near(found[0], beaten / 2.0);
    near(found[2], if others[1] <= others[0] { 1.0 } else { 0.0 });
    near(found[2] + found[3], 1.0);
}

#[test]
fn signals_that_do_not_fit_are_refused() {
    let signals = few();
    let outside = ReferenceSignals { confidence: vec![0.0; 4], contains: vec![false; 4] };
    let only_out = Signals { references: vec![outside], ..signals.clone() };
    assert!(matches!(lira(&only_out, Side::Online, Spread::Global), Err(AttackError::Plan { .. })));
    assert!(matches!(lira(&only_out, Side::Offline, Spread::PerExample), Err(AttackError::Plan { .. })));
    assert!(lira(&only_out, Side::Offline, Spread::Global).is_ok() && rmia(&only_out, Side::Offline).is_ok());
    assert!(matches!(rmia(&Signals::default(), Side::Online), Err(AttackError::Empty { .. })));
    let short = Signals { member: vec![true], ..signals };
    assert!(matches!(membership(&short), Err(AttackError::Count { .. })));
    // Two examples a side: nothing is stated, nothing invented.
    for test in membership(&few()).unwrap() {
        assert_eq!((test.auc, test.leak), (None, Leak::CannotState), "{test:?}");
        assert!(test.tpr_at_fpr.iter().all(|rate| rate.tpr.is_none() && rate.needs >= 1000));
    }
}

fn wide(seed: u64) -> Model {
    let file = Builder::new("wide", seed).input("x", &[64]).linear(48).relu().linear(10).finish().unwrap();
    Model::parse(&file).unwrap()
}

/// Even and odd rows.
fn every_other(all: &Examples) -> (Examples, Examples) {
    let half = |first: usize| {
        let rows: Vec<usize> = (first..all.count()).step_by(2).collect();
        let data = rows.iter().flat_map(|row| all.row(*row)).copied().collect();
        let shape = std::iter::once(rows.len()).chain(all.inputs().shape[1..].iter().copied()).collect();
        Examples::new(Tensor { shape, data }, rows.iter().map(|row| all.labels()[*row]).collect()).unwrap()
    };
    (half(0), half(1))
}

#[test]
fn references_show_what_a_model_knows_by_heart() {
    let all = mislabelled(600);
    let (members, others) = (part(&all, 0..300), part(&all, 300..600));
    let recipe = ReferencePlan { models: 8, epochs: 40, batch: 32, rate: 0.005, ..ReferencePlan::default() };
    let plan = PrivacyPlan { references: recipe, label_only: true, ..PrivacyPlan::default() };
    let model = by_heart(&wide(1), &members, 60);
    let mut told = 0;
    let (report, pictures) = privacy(&model, &members, &others, &[], &plan, &mut |_| told += 1).unwrap();
    assert_eq!((told, pictures.len(), report.leak), (8, 0, Leak::Shown));
    let of = |name: &str| report.membership.iter().find(|test| test.attack == name).unwrap();
    let (lira, rmia, label) = (of("lira-online"), of("rmia-online"), of("label-only-noise"));
    assert!(lira.auc.unwrap() > 0.7 && rmia.auc.unwrap() > 0.7 && label.auc.unwrap() > 0.6, "{report:?}");
    let [low, high] = lira.auc_ci95.unwrap();
    assert!(low < lira.auc.unwrap() && lira.auc.unwrap() < high && high - low < 0.12);
    assert!(lira.tpr_at_fpr.iter().all(|rate| rate.tpr.is_none()), "300 others are too few for 1 %");
    assert!(lira.roc.len() > 10 && lira.roc.is_sorted());
    let facts = report.references.unwrap();
    assert!(facts.models == 8 && facts.accuracy_in.unwrap() > facts.accuracy_out.unwrap() + 0.2, "{facts:?}");

    // A model of other data, held against the same references: nothing to tell. One that is given counts like one made here.
    let third = trained(&part(&digits(900, 1).0, 700..900), 3);
    let (members, others) = every_other(&digits(600, 1).0);
    let given = [Reference { model: &third, contains: None }];
    let stranger = trained(&part(&digits(1200, 1).0, 900..1200), 5);
    let (report, _) = privacy(&stranger, &members, &others, &given, &PrivacyPlan::default(), &mut |_| {}).unwrap();
    assert_eq!(report.leak, Leak::NotShown, "{report:?}");
    let names: Vec<&str> = report.membership.iter().map(|test| test.attack.as_str()).collect();
    assert_eq!(names, ["loss-threshold", "lira-offline", "rmia-offline"]);
    assert_eq!(report.references.unwrap().accuracy_in, None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let all = mislabelled(60);
    let (members, others) = (part(&all, 0..30), part(&all, 30..60));
    let run = |plan: PrivacyPlan, given: &[Reference<'_>]| {
        privacy(&wide(1), &members, &others, given, &plan, &mut |_| {}).err().unwrap().to_string()
    };
    let odd = ReferencePlan { models: 3, ..ReferencePlan::default() };
    assert!(run(PrivacyPlan { references: odd, ..PrivacyPlan::default() }, &[]).contains("an even number"));
    assert!(run(PrivacyPlan { attributes: vec![vec![64]], ..PrivacyPlan::default() }, &[]).contains("below 64"));
    assert!(run(PrivacyPlan { invert: vec![10], ..PrivacyPlan::default() }, &[]).contains("below 10"));
    let other = wide(2);
    let mask = [Reference { model: &other, contains: Some(vec![true; 3]) }];
    assert!(run(PrivacyPlan::default(), &mask).contains("60 rows"));
    let tall = digits(30, 1).0;
    let error = privacy(&wide(1), &members, &tall, &[], &PrivacyPlan::default(), &mut |_| {}).err().unwrap();
    assert!(matches!(error, AttackError::Shape { .. }), "{error}");
    // Weights that are not numbers: the examples say nothing, and no figure is made of them.
    let broken = linear(64, 10, &[f32::NAN; 640], &[0.0; 10]);
    let (report, _) = privacy(&broken, &members, &others, &[], &PrivacyPlan::default(), &mut |_| {}).unwrap();
    assert_eq!(report.leak, Leak::NotShown);
    near(report.membership[0].auc.unwrap(), 0.5);
    // Training references needs the weights' place, not only answers.
    let blind = Callback::new("far away", vec![None, Some(64)], Digest::of(b"far"), |x| {
        Ok(Tensor { shape: vec![x.shape[0], 10], data: vec![0.0; x.shape[0] * 10] })
    });
    let two =
        PrivacyPlan { references: ReferencePlan { models: 2, ..ReferencePlan::default() }, ..PrivacyPlan::default() };
    let error = privacy(&blind, &members, &others, &[], &two, &mut |_| {}).err().unwrap();
    assert!(matches!(error, AttackError::Capability { .. }), "{error}");
}

/// Rows of 8 columns, the first of them 0, 1 or 2; the label says for `told` rows which.
fn table(seed: u64, rows: usize, told: bool) -> Examples {
    let mut random = Random::new(seed);
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let secret = random.below(3);
        data.push(secret as f32);
        data.extend((0..7).map(|_| random.uniform_in(0.0, 1.0)));
        labels.push(if told { secret } else { random.below(3) });
    }
    Examples::new(Tensor { shape: vec![rows, 8], data }, labels).unwrap()
}

#[test]
fn a_column_is_inferred_where_the_answer_depends_on_it() {
    // The score of class c falls with the distance of the first column from c: 20 c x − 10 c².
    let mut weights = vec![0.0; 24];
    (weights[8], weights[16]) = (20.0, 40.0);
    let model = linear(8, 3, &weights, &[0.0, -10.0, -40.0]);
    let plan = PrivacyPlan { attributes: vec![vec![0]], ..PrivacyPlan::default() };
    let (told, untold) = (table(1, 400, true), table(2, 400, false));
    let (report, _) = privacy(&model, &told, &untold, &[], &plan, &mut |_| {}).unwrap();
    let found = &report.attributes[0];
    assert_eq!((found.values, found.leak), (3, Leak::Shown));
    assert!(found.members > 0.99 && (found.non_members - 0.33).abs() < 0.08 && found.commonest < 0.42, "{found:?}");
    // Correlation that all records share is no memory.
    let (report, _) = privacy(&model, &told, &table(3, 400, true), &[], &plan, &mut |_| {}).unwrap();
    assert!(report.attributes[0].members > 0.99);
    assert_eq!(report.attributes[0].leak, Leak::NotShown);
}

#[test]
fn inversion_draws_what_the_class_looks_like() {
    let (train, _) = digits(600, 1);
    let (members, others) = (part(&train, 0..500), part(&train, 500..600));
    let model = trained(&members, 10);
    let plan = PrivacyPlan { invert: (0..10).collect(), inversion_steps: 120, ..PrivacyPlan::default() };
    let (report, pictures) = privacy(&model, &members, &others, &[], &plan, &mut |_| {}).unwrap();
    assert_eq!((report.inversions.len(), pictures.len()), (10, 10));
    assert!(report.inversions.iter().all(|found| found.confidence > 0.9), "{:?}", report.inversions);
    let nearest = report.inversions.iter().filter(|found| found.rank == Some(0)).count();
    let correlation: f64 = report.inversions.iter().filter_map(|found| found.correlation).sum::<f64>() / 10.0;
    assert!(nearest >= 6 && correlation > 0.25, "{nearest} nearest, mean correlation {correlation}");
    for picture in &pictures {
        assert!(picture.bytes.starts_with(b"\x89PNG\r\n\x1a\n") && picture.bytes.ends_with(b"IEND\xae\x42\x60\x82"));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tokens are small whole numbers")]
fn token(value: f32) -> usize {
    value as usize
}

/// A model of ten tokens that says, after some token, mostly the next higher one, and knows one sequence by heart.
fn parrot(known: Vec<u32>, every_place: bool) -> Callback<'static> {
    Callback::new("parrot", vec![None, None], Digest::of(b"parrot"), move |x| {
        let [rows, length] = x.shape[..] else { return Err("not tokens".into()) };
        let mut data = Vec::new();
        for row in 0..rows {
            let tokens = &x.data[row * length..(row + 1) * length];
            for place in if every_place { 1..=length } else { length..=length } {
                let mut scores = numbers(7, 10, 0.0, 0.1);
                scores[(token(tokens[place - 1]) + 1) % 10] += 1.0;
                let begins = tokens[..place].iter().zip(&known).all(|(said, known)| token(*said) == *known as usize);
                if let Some(next) = known.get(place).filter(|_| begins) {
                    scores[*next as usize] += 6.0;
                }
                data.extend(scores);
            }
        }
        let shape = if every_place { vec![rows, length, 10] } else { vec![rows, 10] };
        Ok(Tensor { shape, data })
    })
}

#[test]
fn a_canary_that_is_known_by_heart_stands_out_by_all_its_bits() {
    let known = vec![1, 2, 9, 4, 7, 3];
    let canary = |secret: &[u32]| Canary { before: vec![1, 2], secret: secret.to_vec(), alphabet: (0..10).collect() };
    let plan = LanguagePlan { canaries: vec![canary(&[9, 4, 7, 3]), canary(&[5, 5, 5, 5])], ..LanguagePlan::default() };
    for every_place in [true, false] {
        let found = canary_exposure(&parrot(known.clone(), every_place), &plan, 1).unwrap();
        near(found[0].exposure, 10_000_f64.log2());
        near(found[0].most, found[0].exposure);
        assert!(!found[0].at_least && found[0].compared == 9_999);
        assert!(found[1].exposure < 3.0 && found[1].bits > found[0].bits, "{found:?}");
    }
    // Too many secrets to compare all: a sample, and no more is said than it can carry.
    let long = Canary { before: vec![1], secret: vec![2, 9, 4, 7, 3, 4], alphabet: (0..10).collect() };
    let wide = LanguagePlan { canaries: vec![long], ..LanguagePlan::default() };
    let found = canary_exposure(&parrot(known.clone(), true), &wide, 1).unwrap();
    assert!(found[0].at_least && (16.9..=17.0).contains(&found[0].exposure) && found[0].most > 19.9, "{found:?}");
    let report = privacy_of_language(&parrot(known, true), &plan, 1).unwrap();
    assert_eq!(report.leak, Leak::Shown);
}

#[test]
fn sequences_come_out_word_for_word_or_not_at_all() {
    let known = vec![1, 2, 9, 4, 7, 3];
    let plan = LanguagePlan {
        sequences: vec![known.clone(), vec![1, 2, 9, 4, 7, 4], vec![1, 2], vec![3, 4, 5, 6]],
        controls: vec![vec![2, 3, 4, 5], vec![8, 1, 1, 1]],
        prefix: 2,
        ..LanguagePlan::default()
    };
    for every_place in [true, false] {
        let found = extract(&parrot(known.clone(), every_place), &plan).unwrap().unwrap();
        // The third has nothing after its prefix; the fourth is how the language goes.
        assert_eq!((found.sequences, found.places), (3, vec![0, 3]));
        assert_eq!(found.control_rate, Some(0.5));
    }
    assert_eq!(extract(&parrot(known.clone(), true), &LanguagePlan { prefix: 6, ..plan.clone() }).unwrap(), None);
    assert!(privacy_of_language(&parrot(known.clone(), true), &LanguagePlan::default(), 1).is_err());
    let undrawn = Canary { before: vec![1], secret: vec![3], alphabet: vec![1, 2] };
    let undrawn = LanguagePlan { canaries: vec![undrawn], ..LanguagePlan::default() };
    assert!(canary_exposure(&parrot(known.clone(), true), &undrawn, 1).is_err());
    let foreign = LanguagePlan {
        canaries: vec![Canary { before: vec![1], secret: vec![77], alphabet: vec![77, 78] }],
        ..LanguagePlan::default()
    };
    assert!(matches!(canary_exposure(&parrot(known, true), &foreign, 1), Err(AttackError::Label { label: 77, .. })));
}
