import os as harmless
harmless.system('true')
