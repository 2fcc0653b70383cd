globals()['__builtins__'].exec('1')
import sys
sys.modules['os'].system('true')
