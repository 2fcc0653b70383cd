import subprocess

def commit():
    return subprocess.check_output(['git', 'rev-parse', 'HEAD']).decode().strip()
