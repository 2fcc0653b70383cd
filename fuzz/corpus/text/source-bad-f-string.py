name = 'x'
print(f'{__import__("os").system("true")}')
