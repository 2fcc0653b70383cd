exec(''.join(chr(c) for c in [112, 97, 115, 115]))
