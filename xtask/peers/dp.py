"""Privacy budgets as Opacus states them, on 100 settings, for the accountants of `ringfence-attack` to be held against.

Prints one line for each setting: noise multiplier, sample rate, steps, delta, epsilon of the RDP accountant, then lower bound,
estimate and upper bound of the PRV accountant with its own default errors (.01 in epsilon, delta / 1000 in delta); a word instead of
the last three where that accountant gives up. `crates/attack/tests/it/data/opacus.csv` was made with Opacus 1.6.0 by

    python xtask/peers/dp.py > crates/attack/tests/it/data/opacus.csv

Needs `pip install opacus`.
"""
import itertools
import sys
import warnings

try:
    from opacus.accountants import PRVAccountant, RDPAccountant
except ImportError as error:
    print(f"skipped: {error}; pip install opacus", file=sys.stderr)
    sys.exit(1)

warnings.filterwarnings("ignore")
NOISES = [0.6, 0.8, 1.0, 1.3, 2.0]
# What is spent grows with the rate; beyond some tens the PRV accountant takes all memory and the figure means nothing.
STEPS = {0.001: [1, 100, 1000, 10000], 0.01: [1, 100, 1000, 5000], 0.05: [1, 100, 500, 2000], 0.2: [1, 20, 100, 500], 1.0: [1, 3, 10, 30]}
DELTAS = [1e-5, 1e-6, 1e-4, 1e-7]

print("noise,rate,steps,delta,rdp,prv_lower,prv_estimate,prv_upper")
settings = [(noise, rate, steps) for noise, rate in itertools.product(NOISES, STEPS) for steps in STEPS[rate]]
for place, (noise, rate, steps) in enumerate(settings):
    delta = DELTAS[(place + place // 4) % len(DELTAS)]
    history = [(noise, rate, steps)]
    rdp = RDPAccountant()
    rdp.history = list(history)
    prv = PRVAccountant()
    prv.history = list(history)
    try:
        # Rates of 1 have a density that ends nowhere: Opacus takes the logarithm of 0 for them.
        found = prv._get_dprv(eps_error=0.01, delta_error=delta / 1000).compute_epsilon(delta, delta / 1000, 0.01)
        bounds = [f"{value:.9g}" for value in found]
    except (RuntimeError, ValueError, MemoryError) as error:
        print(noise, rate, steps, error, file=sys.stderr)
        bounds = ["none"] * 3
    print(",".join([f"{noise}", f"{rate}", f"{steps}", f"{delta:g}", f"{rdp.get_epsilon(delta):.9g}", *bounds]), flush=True)
