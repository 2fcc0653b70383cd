"""Speed of picklescan on a plain pickle of many small objects. Needs `pip install picklescan`."""
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile

try:
    import picklescan  # noqa: F401
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install picklescan"}))
    sys.exit(0)

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "many.pkl")
    with open(path, "wb") as file:
        pickle.dump([{"name": f"row {i}", "values": [i, i + 1, float(i)]} for i in range(200_000)], file, protocol=2)
    size = os.path.getsize(path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "picklescan", "--path", path], check=False, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"peer": "picklescan", "pickle_bytes": size, "pickle_mb_per_second": size / 1e6 / cpu}))
