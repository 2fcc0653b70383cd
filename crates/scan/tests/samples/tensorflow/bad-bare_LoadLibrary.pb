
LoadLibrary