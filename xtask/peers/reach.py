"""CPU and wall time of huggingface_hub for the same file from the same test Hub. Needs `pip install huggingface_hub`.

It downloads without hashing: what it spends is the transfer alone."""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

try:
    import huggingface_hub
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install huggingface_hub"}))
    sys.exit(0)

SIZE = 1 << 30
SCRIPT = "from huggingface_hub import hf_hub_download\nprint(hf_hub_download('bench/net', 'model.safetensors'))"
root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
serve = ["cargo", "run", "--quiet", "--release", "--locked", "--package", "ringfence-reach", "--example", "reach_bench"]


def download(endpoint, home, script):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1"}
    settings["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL, env=os.environ | settings)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


with tempfile.TemporaryDirectory() as folder:
    data = os.path.join(folder, "data")
    os.mkdir(data)
    with open(os.path.join(data, "model.safetensors"), "wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
    server = subprocess.Popen([*serve, "--", "serve", data], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        endpoint = "http://127.0.0.1:" + server.stdout.readline().split()[0].decode()
        # What the interpreter and its imports cost is taken off.
        idle = min(download(endpoint, os.path.join(folder, "none"), "import huggingface_hub.file_download") for _ in range(2))
        runs = [download(endpoint, os.path.join(folder, str(run)), SCRIPT) for run in range(2)]
    finally:
        server.stdin.close()
        server.wait()
    cpu, wall = min(run[0] for run in runs) - idle[0], min(run[1] for run in runs) - idle[1]
print(json.dumps({
    "peer": f"huggingface_hub {huggingface_hub.__version__}",
    "fetch_gb_per_cpu_second": SIZE / 1e9 / cpu,
    "fetch_gb_per_second": SIZE / 1e9 / wall,
}))
