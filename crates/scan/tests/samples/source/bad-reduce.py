import os
class Weights:
    def __reduce__(self):
        return (os.system, ('true',))
