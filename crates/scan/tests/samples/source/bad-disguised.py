import os
𝓮𝔁𝓮𝓬('pass' + str(os.name))
