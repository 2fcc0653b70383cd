import subprocess
run = subprocess.Popen
run(['true'])
