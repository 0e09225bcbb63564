<?php
// /slow takes a second and a half.
if ($_SERVER['REQUEST_URI'] === '/slow') {
    usleep(1500000);
}
echo "hello\n";
