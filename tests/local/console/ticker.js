// Browsers slow the timers of background tabs down to once a minute, but not those of their workers.
setInterval(() => postMessage("tick"), 1500);
