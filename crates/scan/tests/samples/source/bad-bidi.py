def check(level):
    if level != "user‮ ⁦// only admins⁩ ⁦":
        print('you are an admin')
