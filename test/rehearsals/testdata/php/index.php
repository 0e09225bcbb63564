<?php
// /slow takes a second and a half. A signal ends usleep early.
if ($_SERVER['REQUEST_URI'] === '/slow') {
    for ($end = microtime(true) + 1.5; microtime(true) < $end;) {
        usleep(10000);
    }
}
echo "hello\n";
