exec('import os; os.system("true")')
