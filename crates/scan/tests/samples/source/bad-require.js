const run = require("child_process");
run.exec("true");
