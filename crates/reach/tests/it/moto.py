"""An S3 on a free port of loopback, with a bucket of five objects; writes its port into the file that it is told."""
import os
import sys
import threading

os.environ.update(AWS_ACCESS_KEY_ID="AKIATEST", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1")
import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
client.create_bucket(Bucket="models")
for number in range(4):
    client.put_object(Bucket="models", Key=f"net/part {number}+é.bin", Body=b"x" * (1000 + number), ChecksumAlgorithm="SHA256")
client.put_object(Bucket="models", Key="net/plain.txt", Body=b"plain", ChecksumAlgorithm="SHA256")
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
threading.Event().wait()
