import os

class A:
    def __init__(self):
        self.x = f'{{{os.getcwd()}}}'
        print(__import__('os').name)
