"""CPU cost of OpenSSL's SHA-256 and of model-signing on 1 GiB in four files.

Needs `openssl` on PATH, and `pip install model-signing==1.1.1 pyOpenSSL` for the second part; RINGFENCE_MODEL_SIGNING_PYTHON
may name the Python that has it.
"""
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

FILES, SIZE, PASSES = 4, 256 << 20, 3
openssl = shutil.which("openssl")
if openssl is None:
    print(json.dumps({"skipped": "no openssl on PATH"}))
    sys.exit(0)
python = os.environ.get("RINGFENCE_MODEL_SIGNING_PYTHON", sys.executable)


def cpu(*arguments):
    best = float("inf")
    for _ in range(PASSES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


figures = {}
with tempfile.TemporaryDirectory(dir=".") as folder:
    folder = pathlib.Path(folder)
    model = folder / "model"
    model.mkdir()
    block = os.urandom(1 << 20)
    for index in range(FILES):
        with open(model / f"model-{index}.safetensors", "wb") as file:
            for _ in range(SIZE >> 20):
                file.write(block)
    version = subprocess.run([openssl, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    seconds = cpu(openssl, "dgst", "-sha256", str(model / "model-0.safetensors"))
    figures["peer"] = f"openssl {version}"
    figures["openssl_sha256_gb_per_cpu_second"] = SIZE / 1e9 / seconds
    key, signature = folder / "key.pem", folder / "model.sig"
    subprocess.run([openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run([openssl, "ec", "-in", key, "-pubout", "-out", folder / "pub.pem"], check=True, capture_output=True)
    tool = [python, "-m", "model_signing"]
    try:
        signing = cpu(*tool, "sign", "key", str(model), "--private_key", str(key), "--signature", str(signature))
        verifying = cpu(*tool, "verify", "key", str(model), "--public_key", str(folder / "pub.pem"), "--signature", str(signature))
        figures["peer"] += ", model-signing"
        figures["model_signing_sign_gb_per_cpu_second"] = FILES * SIZE / 1e9 / signing
        figures["model_signing_verify_gb_per_cpu_second"] = FILES * SIZE / 1e9 / verifying
    except subprocess.CalledProcessError:
        figures["model_signing"] = f"could not be run with {python}"
print(json.dumps(figures))
