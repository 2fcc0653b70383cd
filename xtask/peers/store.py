"""CPU cost of restic on 256 MiB of new data. Needs `apt-get install restic`."""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

restic = shutil.which("restic")
if restic is None:
    print(json.dumps({"skipped": "no restic on PATH; apt-get install restic"}))
    sys.exit(0)


def cpu(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([restic, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


with tempfile.TemporaryDirectory() as folder:
    os.environ.update(RESTIC_REPOSITORY=os.path.join(folder, "repo"), RESTIC_PASSWORD="bench", XDG_CACHE_HOME=folder)
    data = os.path.join(folder, "data")
    os.mkdir(data)
    size = 256 << 20
    with open(os.path.join(data, "model.safetensors"), "wb") as file:
        for _ in range(256):
            file.write(os.urandom(1 << 20))
    cpu("init")
    put = cpu("backup", data)
    check = cpu("check", "--read-data")
    version = subprocess.run([restic, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
print(json.dumps({
    "peer": f"restic {version}",
    "put_unique_gb_per_cpu_second": size / 1e9 / put,
    "verify_gb_per_cpu_second": size / 1e9 / check,
}))
