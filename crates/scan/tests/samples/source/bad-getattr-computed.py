import os
name = input()
getattr(os, ''.join(['sys', name]))('true')
