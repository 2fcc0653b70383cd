import ast, re, argparse
from os import path, environ

HOME = environ.get('HF_HOME', path.expanduser('~'))

def read(text, eval=True):
    pattern = re.compile(r'[a-z]+')
    return ast.literal_eval(text) if eval else pattern.match(text)
