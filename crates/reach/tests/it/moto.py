"""An S3 on a free port of loopback that checks signatures, with a bucket of five objects. Writes port, key id and secret
key into the file that it is told."""
import json
import os
import sys
import threading

# So many requests are let in unchecked: those that make the user and the objects.
os.environ.update(INITIAL_NO_AUTH_ACTION_COUNT="9", AWS_DEFAULT_REGION="us-east-1")
os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://127.0.0.1:{port}"
iam = boto3.client("iam", endpoint_url=endpoint)
iam.create_user(UserName="reader")
key = iam.create_access_key(UserName="reader")["AccessKey"]
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(everything))
s3 = boto3.client("s3", endpoint_url=endpoint)
s3.create_bucket(Bucket="models")
for number in range(4):
    body = b"x" * (1000 + number)
    s3.put_object(Bucket="models", Key=f"net/part {number}+é.bin", Body=body, ChecksumAlgorithm="SHA256")
s3.put_object(Bucket="models", Key="net/plain.txt", Body=b"plain", ChecksumAlgorithm="SHA256")
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{port} {key['AccessKeyId']} {key['SecretAccessKey']}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
threading.Event().wait()
