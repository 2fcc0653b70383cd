import os
from setuptools import setup, find_packages

about = {}
with open('src/version.py') as file:
    exec(file.read(), about)
setup(name='x', version=about['v'], packages=find_packages(), long_description=open('README.md').read())
