Set shell = CreateObject("WScript.Shell")
shell.Run "true"
