import ctypes
ctypes.CDLL('./libevil.so')
